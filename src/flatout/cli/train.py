"""`flatout train`: train a task and keep the run."""

from __future__ import annotations

import json
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flatout.cli import task_options as options
from flatout.cli.message import say
from flatout.errors import FlatoutError, NonFiniteLossError, TaskError, TrainingInterrupted

if TYPE_CHECKING:
    from flatout.training.run import Run

_RUN = "Run"


def train(
    task: options.TaskName = None,
    epochs: options.Epochs = None,
    steps: options.Steps = None,
    batch_size: options.BatchSize = None,
    lr: options.LearningRate = None,
    seed: options.Seed = None,
    clip_grad_norm: options.ClipGradNorm = None,
    validate_every: options.ValidateEvery = None,
    patience: options.Patience = None,
    target: options.Target = None,
    hidden: options.Hidden = None,
    regression: options.Regression = None,
    text: options.TextColumns = None,
    device: Annotated[
        str,
        typer.Option(help="cpu, cuda, cuda:1, mps, gpu; auto: where it is fastest.", rich_help_panel=_RUN),
    ] = "auto",
    plan: Annotated[
        str,
        typer.Option(
            help="How the steps are run: eager, native, ...; auto: the fastest.", rich_help_panel=_RUN
        ),
    ] = "auto",
    resume: Annotated[
        Path | None, typer.Option(help="Go on with the run in this folder.", rich_help_panel=_RUN)
    ] = None,
    runs_dir: Annotated[
        Path | None,
        typer.Option(help="Where the folder of the run is made: runs, unless given.", rich_help_panel=_RUN),
    ] = None,
    keep_going: Annotated[
        bool,
        typer.Option(
            "--keep-going", help="Record on where the loss is NaN or infinite.", rich_help_panel=_RUN
        ),
    ] = False,
    no_check: Annotated[
        bool,
        typer.Option(
            "--no-check", help="Leave out the replay of steps in eager now and then.", rich_help_panel=_RUN
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
    asked = options.task_options(locals())
    source = _with_recorded(asked, resume)
    run = fitted(source, plan, device, runs_dir, resume, keep_going, not no_check, quiet, as_json)
    report(run, quiet, as_json)


def _with_recorded(asked: dict[str, Any], resume: Path | None) -> dict[str, Any]:
    """What was asked for; for a resumed run, on top of what the run was made with."""
    given = asked
    if resume is None:
        return options.with_whole_path(given)
    from flatout.training.run_directory import read_document

    recorded = read_document(resume).get("source") or {}
    if "spec" not in recorded and "spec" not in given:
        raise TaskError(
            f"{resume} was not made by flatout train: name its task, flatout train TASK --resume {resume}"
        )
    if "epochs" in given or "steps" in given:
        recorded = {name: value for name, value in recorded.items() if name not in ("epochs", "steps")}
    return {**recorded, **given}


def fitted(
    source: dict[str, Any],
    plan: str,
    device: str,
    runs_dir: Path | None,
    resume: Path | None,
    keep_going: bool,
    check: bool,
    quiet: bool,
    as_json: bool,
) -> Run:
    """Train the task and return its run; where it ends early, say so and leave with the exit status."""
    from flatout.training.fit import fit

    task = options.loaded(source)
    if not quiet:
        options.print_notes(task)
    try:
        return fit(
            task,
            plan=plan,
            device=device,
            progress=not quiet,
            run_dir=Path("runs") if runs_dir is None and resume is None else runs_dir,
            resume=resume,
            keep_going=keep_going,
            check=check,
            source=source,
        )
    except NonFiniteLossError as stop:
        report(stop.run, quiet, as_json)
        raise
    except TrainingInterrupted as stop:
        report(stop.run, quiet, as_json)
        say(str(stop))
        raise typer.Exit(130) from stop
    except KeyboardInterrupt as stop:
        say("interrupted before the first step")
        raise typer.Exit(130) from stop
    except FlatoutError:
        raise
    except Exception as error:
        _show_own_error(error, source["spec"])
        raise typer.Exit(1) from error


def report(run: Run, quiet: bool, as_json: bool) -> None:
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
