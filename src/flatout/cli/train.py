"""`flatout train`: train a task and keep the run."""

from __future__ import annotations

import json
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flatout.cli.message import say
from flatout.errors import FlatoutError, NonFiniteLossError, TaskError, TrainingInterrupted

if TYPE_CHECKING:
    from flatout.task.task import Task
    from flatout.training.run import Run

_TASK = "Task"
_CSV = "CSV files"
_RUN = "Run"


def train(
    task: Annotated[
        str | None,
        typer.Argument(
            help="iris, digits, wine, breast-cancer, diabetes; a file.csv; or a file.py with a Task in it "
            "(file.py:name picks one). Not needed with --resume.",
            show_default=False,
        ),
    ] = None,
    epochs: Annotated[int | None, typer.Option(help="Passes over the data.", rich_help_panel=_TASK)] = None,
    steps: Annotated[
        int | None, typer.Option(help="Optimizer updates, instead of epochs.", rich_help_panel=_TASK)
    ] = None,
    batch_size: Annotated[int | None, typer.Option(help="Samples a step.", rich_help_panel=_TASK)] = None,
    lr: Annotated[float | None, typer.Option(help="Learning rate.", rich_help_panel=_TASK)] = None,
    seed: Annotated[
        int | None,
        typer.Option(help="Of the first weights and the order of samples.", rich_help_panel=_TASK),
    ] = None,
    clip_grad_norm: Annotated[
        float | None, typer.Option(help="Clip the norm of the gradients to this.", rich_help_panel=_TASK)
    ] = None,
    validate_every: Annotated[
        int | None, typer.Option(help="Epochs between two validations.", rich_help_panel=_TASK)
    ] = None,
    patience: Annotated[
        int | None,
        typer.Option(
            help="Stop after this many validations without a better one; keep the best weights.",
            rich_help_panel=_TASK,
        ),
    ] = None,
    target: Annotated[str | None, typer.Option(help="The column to predict.", rich_help_panel=_CSV)] = None,
    hidden: Annotated[
        str | None, typer.Option(help="Widths of the hidden layers, like 32,16.", rich_help_panel=_CSV)
    ] = None,
    regression: Annotated[
        bool | None,
        typer.Option(
            "--regression/--classification",
            help="Predict a number or a class; decided from the target where not said.",
            rich_help_panel=_CSV,
            show_default=False,
        ),
    ] = None,
    text: Annotated[
        list[str] | None,
        typer.Option(help="A column to treat as text; may be given again.", rich_help_panel=_CSV),
    ] = None,
    device: Annotated[
        str,
        typer.Option(help="cpu, cuda, cuda:1, mps, gpu; auto: where the model lies.", rich_help_panel=_RUN),
    ] = "auto",
    plan: Annotated[str, typer.Option(help="How the steps are run.", rich_help_panel=_RUN)] = "auto",
    resume: Annotated[
        Path | None, typer.Option(help="Go on with the run in this folder.", rich_help_panel=_RUN)
    ] = None,
    runs_dir: Annotated[
        Path, typer.Option(help="Where the folder of the run is made.", rich_help_panel=_RUN)
    ] = Path("runs"),
    keep_going: Annotated[
        bool,
        typer.Option(
            "--keep-going", help="Record on where the loss is NaN or infinite.", rich_help_panel=_RUN
        ),
    ] = False,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="Print errors only.", rich_help_panel=_RUN)
    ] = False,
    as_json: Annotated[
        bool,
        typer.Option("--json", help="End standard output with one JSON document.", rich_help_panel=_RUN),
    ] = False,
) -> None:
    """Train a task, show how it goes, and keep the run: losses, picture, weights, checkpoints."""
    asked = {
        "spec": task,
        "target": target,
        "hidden": _widths(hidden),
        "regression": regression,
        "text_columns": text or None,
        "seed": seed,
        "lr": lr,
        "epochs": epochs,
        "steps": steps,
        "batch_size": batch_size,
        "clip_grad_norm": clip_grad_norm,
        "validate_every": validate_every,
        "patience": patience,
    }
    source = _with_recorded(asked, resume)
    run = _fitted(source, plan, device, runs_dir, resume, keep_going, quiet, as_json)
    _report(run, quiet, as_json)


def _widths(hidden: str | None) -> list[int] | None:
    if hidden is None:
        return None
    try:
        return [int(width) for width in hidden.split(",") if width.strip()]
    except ValueError:
        raise TaskError(
            f"--hidden takes widths with commas between them, like 32,16, but got {hidden!r}"
        ) from None


def _with_recorded(asked: dict[str, Any], resume: Path | None) -> dict[str, Any]:
    """What was asked for; for a resumed run, on top of what the run was made with."""
    given = {name: value for name, value in asked.items() if value is not None}
    if resume is None:
        if "spec" not in given:
            raise TaskError(
                "name a task to train, for example flatout train iris (flatout train --help lists more)"
            )
        spec = Path(given["spec"])
        if spec.suffix or spec.is_absolute():
            given["spec"] = str(spec.absolute())  # so that a resume from elsewhere finds it
        return given
    from flatout.training.run_directory import read_document

    recorded = read_document(resume).get("source") or {}
    if "spec" not in recorded and "spec" not in given:
        raise TaskError(
            f"{resume} was not made by flatout train: name its task, flatout train TASK --resume {resume}"
        )
    if "epochs" in given or "steps" in given:
        recorded = {name: value for name, value in recorded.items() if name not in ("epochs", "steps")}
    return {**recorded, **given}


def _fitted(
    source: dict[str, Any],
    plan: str,
    device: str,
    runs_dir: Path,
    resume: Path | None,
    keep_going: bool,
    quiet: bool,
    as_json: bool,
) -> Run:
    from flatout.task.adjust import adjusted
    from flatout.task.source import load_task
    from flatout.training.fit import fit

    options = dict(source)
    loading = ("seed", "target", "hidden", "regression", "text_columns")
    given = {name: options.pop(name) for name in loading if name in options}
    task = adjusted(load_task(options.pop("spec"), **given), seed=given.get("seed"), **options)
    if not quiet:
        _print_notes(task)
    try:
        return fit(
            task,
            plan=plan,
            device=device,
            progress=not quiet,
            run_dir=runs_dir,
            resume=resume,
            keep_going=keep_going,
            source=source,
        )
    except NonFiniteLossError as stop:
        _report(stop.run, quiet, as_json)
        raise
    except TrainingInterrupted as stop:
        _report(stop.run, quiet, as_json)
        say(str(stop))
        raise typer.Exit(130) from stop
    except FlatoutError:
        raise
    except Exception as error:
        _show_own_error(error, source["spec"])
        raise typer.Exit(1) from error


def _print_notes(task: Task) -> None:
    from rich.console import Console

    console = Console(stderr=True, highlight=False)
    for note in task.notes:
        console.print(f"  {note}", style="dim", markup=False)


def _report(run: Run, quiet: bool, as_json: bool) -> None:
    """The summary for a person; with `--json` on standard error, and the document on standard output."""
    if not quiet:
        from rich.console import Console

        from flatout.report.tables import run_summary

        directory = run.directory
        verdict = "trained" if run.status == "finished" else run.status
        Console(stderr=as_json, highlight=False).print(
            run_summary(
                name=run.task,
                steps=run.steps,
                seconds=run.seconds,
                device=run.device,
                plan=run.plan,
                losses=run.losses.numpy(),
                metrics={name: value for name, value in run.metrics.items() if name != "loss"},
                verdict=verdict,
                picture=None if directory is None or not run.steps else directory / "loss.png",
                directory=directory,
            )
        )
    if as_json:
        typer.echo(json.dumps(run.document()))


def _show_own_error(error: Exception, spec: str) -> None:
    """The traceback of an error in the task's own code, shortened to its own lines where it has some."""
    from flatout.task.own_traceback import own_traceback

    folder = Path(spec.rpartition(".py")[0] or ".").absolute().parent
    typer.echo(own_traceback(error, folder) or "".join(traceback.format_exception(error)).rstrip(), err=True)
    say("the task's own code raised while training (its traceback is above)")
