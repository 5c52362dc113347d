"""The options that say what to train, shared by the commands that need a task."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flatout.errors import TaskError

if TYPE_CHECKING:
    from flatout.task.task import Task

_TASK = "Task"
_CSV = "CSV files"

TaskName = Annotated[
    str | None,
    typer.Argument(
        help="iris, digits, wine, breast-cancer, diabetes; a file.csv; or a file.py with a Task in it "
        "(file.py:name picks one). Not needed with --resume.",
        show_default=False,
    ),
]
Epochs = Annotated[int | None, typer.Option(help="Passes over the data.", rich_help_panel=_TASK)]
Steps = Annotated[
    int | None, typer.Option(help="Optimizer updates, instead of epochs.", rich_help_panel=_TASK)
]
BatchSize = Annotated[int | None, typer.Option(help="Samples a step.", rich_help_panel=_TASK)]
LearningRate = Annotated[float | None, typer.Option(help="Learning rate.", rich_help_panel=_TASK)]
Seed = Annotated[
    int | None,
    typer.Option(help="Of the first weights and the order of samples.", rich_help_panel=_TASK),
]
ClipGradNorm = Annotated[
    float | None, typer.Option(help="Clip the norm of the gradients to this.", rich_help_panel=_TASK)
]
ValidateEvery = Annotated[
    int | None, typer.Option(help="Epochs between two validations.", rich_help_panel=_TASK)
]
Patience = Annotated[
    int | None,
    typer.Option(
        help="Stop after this many validations without a better one; keep the best weights.",
        rich_help_panel=_TASK,
    ),
]
Target = Annotated[str | None, typer.Option(help="The column to predict.", rich_help_panel=_CSV)]
Hidden = Annotated[
    str | None, typer.Option(help="Widths of the hidden layers, like 32,16.", rich_help_panel=_CSV)
]
Regression = Annotated[
    bool | None,
    typer.Option(
        "--regression/--classification",
        help="Predict a number or a class; decided from the target where not said.",
        rich_help_panel=_CSV,
        show_default=False,
    ),
]
TextColumns = Annotated[
    list[str] | None,
    typer.Option(help="A column to treat as text; may be given again.", rich_help_panel=_CSV),
]


def task_options(options: dict[str, Any]) -> dict[str, Any]:
    """What was asked of the task: the command's arguments (its `locals()`) by the names of `load_task`."""
    names = ("target", "regression", "seed", "lr", "epochs", "steps", "batch_size", "clip_grad_norm")
    asked = {name: options[name] for name in names}
    asked |= {name: options[name] for name in ("validate_every", "patience")}
    asked |= {"spec": options["task"], "hidden": _widths(options["hidden"])}
    asked |= {"text_columns": options["text"] or None}
    return {name: value for name, value in asked.items() if value is not None}


def with_whole_path(given: dict[str, Any]) -> dict[str, Any]:
    """The options with the whole path of a file, so that a resume from elsewhere finds it.

    Raises:
        TaskError: no task was named.
    """
    if "spec" not in given:
        raise TaskError("name a task, for example flatout train iris (flatout train --help lists more)")
    spec = Path(given["spec"])
    if spec.suffix or spec.is_absolute():
        return {**given, "spec": str(spec.absolute())}
    return given


def loaded(source: dict[str, Any]) -> Task:
    """The task that options describe."""
    from flatout.task.adjust import adjusted
    from flatout.task.source import load_task

    options = dict(source)
    loading = ("seed", "target", "hidden", "regression", "text_columns")
    given = {name: options.pop(name) for name in loading if name in options}
    return adjusted(load_task(options.pop("spec"), **given), seed=given.get("seed"), **options)


def print_notes(task: Task) -> None:
    """What was decided about the data, on standard error."""
    from rich.console import Console

    console = Console(stderr=True, highlight=False)
    for note in task.notes:
        console.print(f"  {note}", style="dim", markup=False)


def _widths(hidden: str | None) -> list[int] | None:
    if hidden is None:
        return None
    try:
        return [int(width) for width in hidden.split(",") if width.strip()]
    except ValueError:
        raise TaskError(
            f"--hidden takes widths with commas between them, like 32,16, but got {hidden!r}"
        ) from None
