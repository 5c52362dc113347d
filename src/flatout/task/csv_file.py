"""A CSV file as a task: structure and types are checked, columns become features, an MLP is built.

Everything that is decided on the way (columns left out, missing values filled, classes) is said in
`Task.notes`; everything that cannot be decided is a `DataError` with file, line and column.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from flatout.errors import DataError, TaskError
from flatout.task.csv_table import listed, read_table
from flatout.task.task import Task

if TYPE_CHECKING:
    import os

    import pandas as pd

MISSING = ("", "NA", "N/A", "NaN", "nan", "NAN", "null", "NULL", "None", "?", "#N/A")
"""What counts as a missing value, in number and text columns alike."""

_MIN_ROWS = 5
_MAX_INTEGER_CLASSES = 10
_MAX_CATEGORIES = 1000  # a text column with more would need too many inputs
_MISSING_CATEGORY = "(missing)"


def load_csv(
    path: str | os.PathLike[str],
    *,
    target: str | None = None,
    hidden: Sequence[int] = (32,),
    regression: bool | None = None,
    text_columns: Sequence[str] = (),
    seed: int = 0,
    lr: float = 1e-3,
    batch_size: int | Literal["auto"] | None = "auto",
    epochs: int = 100,
) -> Task:
    """Read a CSV file with a header line and make a task that predicts one of its columns.

    The delimiter is found among comma, semicolon, tab and bar. Number columns are standardised with
    mean and standard deviation of the training rows, text columns become one input per category.
    20 % of the rows are held out for validation. Features are float32 [rows, inputs], classes int64
    [rows], a regression target is standardised float32 [rows, 1].

    Args:
        path: the file, in UTF-8.
        target: the column to predict.
        hidden: widths of the hidden layers; empty: a linear model.
        regression: True: predict a number, False: a class; None: decide from the target.
        text_columns: columns to treat as text even where they hold numbers.
        seed: of the held-out rows, of the first weights and of the order of the samples.
        lr: learning rate of Adam.
        batch_size: samples a step; "auto": 64 or all training rows where they are fewer; None: all.
        epochs: passes over the training rows.

    Raises:
        DataError: the file cannot be trained on; the message says where and what to do.
        TaskError: a hidden width below 1, or pandas is missing.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "points.csv"
        >>> _ = path.write_text("x,colour\\n" + "1,red\\n2,red\\n8,blue\\n9,blue\\n" * 5)
        >>> task = load_csv(path, target="colour")
        >>> task.data[0].shape, task.data[1].shape
        (torch.Size([16, 1]), torch.Size([16]))
    """
    path = Path(path)
    for width in hidden:
        if width < 1:
            raise TaskError(f"a hidden layer must be at least 1 wide, got hidden={tuple(hidden)}")
    table, opening = read_table(path)
    _check_columns(path, table, target, text_columns)
    table, notes = _with_target(path, table, str(target))
    train, test = _split(len(table), seed)
    answers = _Target.read(path, table[target], regression, train, target in text_columns)
    X, feature_notes = _features(path, table.drop(columns=[target]), train, text_columns)
    if batch_size == "auto":
        batch_size = min(64, len(train))

    torch.manual_seed(seed)
    model = _mlp(X.shape[1], hidden, answers.outputs)
    return Task(
        model=model,
        data=(X[train], answers.values[train]),
        validation=(X[test], answers.values[test]),
        optimizer=torch.optim.Adam(model.parameters(), lr=lr),
        loss=answers.loss,
        epochs=epochs,
        batch_size=batch_size,
        seed=seed,
        name=path.stem,
        notes=[
            opening,
            *notes,
            *answers.notes,
            *feature_notes,
            f"{len(train)} rows to train on, {len(test)} held out for validation (seed {seed})",
        ],
    )


def _check_columns(path: Path, table: pd.DataFrame, target: str | None, text_columns: Sequence[str]) -> None:
    """The target and the text columns are there."""
    names = list(table.columns)
    if target is None:
        raise DataError(
            f"{path}: say which column to predict, with --target NAME. The columns are: {', '.join(names)}"
        )
    for name, role in [(target, "target"), *((name, "text column") for name in text_columns)]:
        if name not in names:
            near = _nearest(name, names)
            guess = f"did you mean {near!r}? " if near else ""
            # A first line of numbers is more likely a row than a line of names.
            row = sum(n.replace(".", "").lstrip("-").isdigit() for n in names) * 2 > len(names)
            hint = ". The first line must hold the column names, and it looks like a row" if row else ""
            raise DataError(
                f"{path}: there is no column {name!r} to use as {role}; {guess}"
                f"The columns are: {', '.join(names)}{hint}"
            )


def _nearest(name: str, names: Sequence[str]) -> str | None:
    lowered = {other.lower(): other for other in names}
    near = difflib.get_close_matches(name.lower(), lowered, n=1)
    return lowered[near[0]] if near else None


def _with_target(path: Path, table: pd.DataFrame, target: str) -> tuple[pd.DataFrame, list[str]]:
    """The rows that have a target; there must be enough of them."""
    missing = table[target].isin(MISSING)
    kept, dropped = table[~missing], int(missing.sum())
    if len(kept) < _MIN_ROWS:
        lost = f" ({dropped} more have no value in column {target!r})" if dropped else ""
        raise DataError(
            f"{path}: expected at least {_MIN_ROWS} rows with a value in the target {target!r}, "
            f"got {len(kept)}{lost}: add rows"
        )
    if not dropped:
        return kept, []
    first = table.index[missing][0]
    return kept, [f"{_count(dropped, 'row')} left out: no value in target {target!r} (first: line {first})"]


def _split(rows: int, seed: int) -> tuple[Tensor, Tensor]:
    """Positions of the rows to train on and of the 20 % held out, each in the order of the file."""
    order = torch.randperm(rows, generator=torch.Generator().manual_seed(seed))
    held_out = max(1, round(rows * 0.2))
    return order[held_out:].sort().values, order[:held_out].sort().values


# --- columns ----------------------------------------------------------------------------------------


def _numbers(path: Path, column: pd.Series[str], as_text: bool) -> NDArray[np.float64] | None:
    """The column as numbers [rows], NaN where missing; None where it holds text.

    A column in which most values are numbers must hold nothing else.
    """
    import pandas as pd

    if as_text:
        return None
    present = column[~column.isin(MISSING)]
    numbers = pd.to_numeric(present, errors="coerce").astype(float)
    text = present[numbers.isna()]
    if len(text):
        # 1,5 and 1,234 are meant as numbers, too.
        meant = pd.to_numeric(present.str.replace(",", ""), errors="coerce").notna()
        if meant.mean() < 0.8:
            return None
        comma = " (numbers need a decimal point, and no comma between thousands)"
        raise DataError(
            f"{_place(path, text)}: found {text.iloc[0]!r} in a column of numbers"
            f"{comma if ',' in text.iloc[0] else ''}: correct it, leave it empty if it is unknown, or use "
            f"--text {column.name} to treat the column as text"
        )
    infinite = present[numbers.abs() > np.finfo(np.float32).max]
    if len(infinite):
        raise DataError(
            f"{_place(path, infinite)}: found {infinite.iloc[0]!r}, and numbers must be finite "
            "(below 3e38): correct it, or leave it empty if it is unknown"
        )
    every: NDArray[np.float64] = np.asarray(numbers.reindex(column.index), dtype=np.float64)
    return every


def _place(path: Path, values: pd.Series[str]) -> str:
    """Where the first of `values` stands."""
    return f"{path}, line {values.index[0]}, column {values.name!r}"


def _features(
    path: Path, table: pd.DataFrame, train: Tensor, text_columns: Sequence[str]
) -> tuple[Tensor, list[str]]:
    """Inputs float32 [rows, inputs] of all columns of `table`, and what was decided about them.

    Only the training rows decide: medians, means, standard deviations and categories are theirs.
    """
    inputs: list[NDArray[np.float64]] = []
    used, notes = [], []
    for name in table.columns:
        column = table[name]
        numbers = _numbers(path, column, name in text_columns)
        if numbers is None:
            encoded, note = _one_hot(column, train.numpy())
        else:
            encoded, note = _standardised(numbers, str(name), train.numpy())
        if encoded is not None:
            inputs.append(encoded)
            used.append(str(name))
        if note:
            notes.append(note)
    if not inputs:
        raise DataError(
            f"{path}: no column is left to learn from: {'; '.join(notes)}. Add columns that differ from row "
            "to row"
        )
    X = np.concatenate(inputs, axis=1)
    first = f"{_count(len(used), 'feature column')}, {_count(X.shape[1], 'input')}: {listed(used)}"
    return torch.from_numpy(X).float(), [
        f"{first}; numbers were standardised with mean and standard deviation of the training rows",
        *notes,
    ]


def _standardised(
    numbers: NDArray[np.float64], name: str, train: NDArray[np.int64]
) -> tuple[NDArray[np.float64] | None, str]:
    """Numbers [rows] as one input [rows, 1] with mean 0 and deviation 1 in the training rows; and a note."""
    missing = np.isnan(numbers)
    if missing[train].all():
        return None, f"column {name!r} was left out: it has no value in the training rows"
    median = float(np.median(numbers[train][~missing[train]]))
    filled = np.where(missing, median, numbers)
    mean, std = float(filled[train].mean()), float(filled[train].std())
    if std <= 1e-12 * float(np.abs(filled[train]).max()):
        return None, f"column {name!r} was left out: it is constant ({median:g}) in the training rows"
    note = ""
    if missing.any():
        count = _count(int(missing.sum()), "missing value")
        note = f"column {name!r}: {count} filled with {median:g}, the median of the training rows"
    return ((filled - mean) / std)[:, None], note


def _one_hot(column: pd.Series[str], train: NDArray[np.int64]) -> tuple[NDArray[np.float64] | None, str]:
    """Text [rows] as one input per category of the training rows [rows, categories]; and a note."""
    values = column.where(~column.isin(MISSING), _MISSING_CATEGORY).to_numpy(dtype=object)
    different = len(set(values))
    if (different > 50 and different * 2 > len(values)) or different > _MAX_CATEGORIES:
        kind = f"text with {different} different values in {len(values)} rows"
        return None, f"column {column.name!r} was left out: {kind} names rows, it does not group them"
    categories = np.array(sorted(set(values[train])), dtype=object)
    if len(categories) == 1:
        return (
            None,
            f"column {column.name!r} was left out: it is constant ({categories[0]}) in the training rows",
        )
    encoded = (values[:, None] == categories[None, :]).astype(np.float64)
    unseen = int((encoded.sum(axis=1) == 0).sum())
    note = f"text column {column.name!r}: one input for each of {listed(categories)}"
    if unseen:
        note += f"; {_count(unseen, 'held-out row')} with a value unseen in training have 0 in all of them"
    return encoded, note


# --- the target -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Target:
    """The target as it is trained on, and what fits it."""

    values: Tensor  # int64 [rows] classes or float32 [rows, 1] standardised numbers
    outputs: int
    loss: nn.Module
    notes: list[str]

    @classmethod
    def read(
        cls, path: Path, column: pd.Series[str], regression: bool | None, train: Tensor, as_text: bool
    ) -> _Target:
        numbers = _numbers(path, column, as_text)
        if regression is None:
            regression = numbers is not None and not _few_integers(numbers)
        if not regression:
            return cls._classes(path, column, numbers, train)
        if numbers is None:
            raise DataError(
                f"{_place(path, column)}: regression needs a target of numbers, and this one is text "
                f"({column.iloc[0]!r}): choose another target, or classification"
            )
        return cls._measured(path, column, numbers, train)

    @classmethod
    def _measured(
        cls, path: Path, column: pd.Series[str], numbers: NDArray[np.float64], train: Tensor
    ) -> _Target:
        if numbers.min() == numbers.max():
            raise DataError(
                f"{path}, column {column.name!r}: the target is {column.iloc[0]} in every row, so there is "
                "nothing to learn: choose another target"
            )
        known = numbers[train.numpy()]
        mean, std = float(known.mean()), float(known.std()) or 1.0
        values = torch.from_numpy((numbers - mean) / std).float().unsqueeze(1)
        note = (
            f"target {column.name!r}: regression, standardised with the training rows: mean {mean:.6g}, "
            f"standard deviation {std:.6g}; multiply an output by {std:.6g} and add {mean:.6g} to get the "
            "original unit"
        )
        return cls(values, 1, nn.MSELoss(), [note])

    @classmethod
    def _classes(
        cls, path: Path, column: pd.Series[str], numbers: NDArray[np.float64] | None, train: Tensor
    ) -> _Target:
        found = column.to_numpy(dtype=object) if numbers is None else numbers
        classes, codes = np.unique(found.astype(str) if numbers is None else found, return_inverse=True)
        labels = [f"{label:.15g}" if numbers is not None else str(label) for label in classes]
        where = f"{path}, column {column.name!r}"
        if len(classes) == 1:
            raise DataError(
                f"{where}: the target has one class only, {labels[0]!r} in every row, so there is nothing to "
                "learn: choose another target"
            )
        if len(classes) == len(found):
            raise DataError(
                f"{where}: classification needs classes that repeat, and each of the {len(found)} rows has "
                "its own value: choose another target" + (", or regression" if numbers is not None else "")
            )
        counted = ", ".join(f"{i} = {label}" for i, label in enumerate(labels[:20]))
        more = f", and {len(labels) - 20} more" if len(labels) > 20 else ""
        notes = [f"target {column.name!r}: classification, {len(labels)} classes: {counted}{more}"]
        values = torch.from_numpy(codes.astype(np.int64))
        absent = sorted(set(range(len(labels))) - set(values[train].tolist()))
        if absent:
            notes.append(f"no training row is of class {listed([labels[i] for i in absent])}")
        return cls(values, len(labels), nn.CrossEntropyLoss(), notes)


def _few_integers(numbers: NDArray[np.float64]) -> bool:
    """Whether these numbers [rows] look like class labels: few different integers, each often."""
    different = len(np.unique(numbers))
    integers = bool((numbers == np.floor(numbers)).all())
    return integers and different <= _MAX_INTEGER_CLASSES and different * 2 < len(numbers)


def _mlp(inputs: int, hidden: Sequence[int], outputs: int) -> nn.Sequential:
    widths = [inputs, *hidden, outputs]
    layers: list[nn.Module] = []
    for before, after in pairwise(widths):
        layers += [nn.Linear(before, after), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"
