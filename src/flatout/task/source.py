"""From what a person types to a task: `iris`, `table.csv`, `train.py` or `train.py:small`."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from flatout.errors import TaskError

if TYPE_CHECKING:
    from flatout.task.task import Task

# The last ".py", with or without ":name". The colon of a drive (C:\\train.py) stands before it.
_PYTHON = re.compile(r"(?P<path>.*\.py)(?::(?P<name>[^/\\]*))?", re.IGNORECASE | re.DOTALL)


def load_task(
    spec: str,
    *,
    seed: int | None = None,
    target: str | None = None,
    hidden: Sequence[int] | None = None,
    regression: bool | None = None,
    text_columns: Sequence[str] = (),
) -> Task:
    """The task that `spec` names.

    Args:
        spec: a built-in name (`iris`), a CSV file (`table.csv`, `table.tsv`), or a Python file, with the
            name of its task where it has several (`train.py:small`).
        seed: of the first weights and of the order of the samples; None: 0.
        target: the column of a CSV file to predict.
        hidden: widths of the hidden layers for a CSV file; None: one of 32.
        regression: for a CSV file, True: predict a number, False: a class, None: decide from the target.
        text_columns: columns of a CSV file to treat as text.

    Raises:
        TaskError: nothing has this name, an option does not fit, or the task cannot be made.

    Example:
        >>> load_task("iris").name
        'iris'
    """
    options = {"--target": target, "--hidden": hidden, "--regression": regression}
    given = [flag for flag, value in options.items() if value is not None]
    given += ["--text"] if text_columns else []
    seed = 0 if seed is None else seed
    spec = spec.strip()

    if Path(spec).suffix.lower() in (".csv", ".tsv"):
        from flatout.task.csv_file import load_csv

        widths = (32,) if hidden is None else tuple(hidden)
        return load_csv(
            spec, target=target, hidden=widths, regression=regression, text_columns=text_columns, seed=seed
        )
    if python := _PYTHON.fullmatch(spec):
        _refuse_options(given, f"{spec} is a Python file")
        if python["name"] == "":
            raise TaskError(f"a name must follow the colon of {spec!r}: {python['path']}:NAME")
        from flatout.task.python_file import load_python_file

        return load_python_file(python["path"], name=python["name"], seed=seed)

    from flatout.task.builtin import BUILTIN

    if spec not in BUILTIN:
        raise TaskError(_unknown(spec, list(BUILTIN)))
    _refuse_options(given, f"{spec} is a built-in task")
    return BUILTIN[spec](seed=seed)


def _refuse_options(given: list[str], reason: str) -> None:
    if given:
        raise TaskError(f"{' and '.join(given)} can be used with CSV files only, and {reason}: leave it out")


def _unknown(spec: str, names: list[str]) -> str:
    near = difflib.get_close_matches(spec.lower(), names, n=1)
    path = Path(spec).expanduser()
    if near:
        hint = f"did you mean {near[0]!r}? "
    elif path.is_file():
        hint = "there is such a file, but its name ends with none of .csv, .tsv, .py: rename it. "
    elif path.is_dir():
        hint = "there is such a folder: give the path of a file in it. "
    else:
        hint = ""
    return (
        f"there is no task {spec!r}; {hint}Give a built-in task ({', '.join(names)}), a CSV file "
        "(table.csv), or a Python file that makes a Task (train.py, or train.py:NAME)"
    )
