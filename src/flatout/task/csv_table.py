"""A CSV file as a table of text: encoding, delimiter, header and row lengths are checked here."""

from __future__ import annotations

import csv
import difflib
import io
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flatout.errors import DataError, TaskError

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

_DELIMITERS = {",": "comma", ";": "semicolon", "\t": "tab", "|": "bar"}
_MIN_ROWS = 5


def read_table(path: Path) -> tuple[pd.DataFrame, str]:
    """All cells as stripped strings, the index being the line each row begins on; and a note on it."""
    try:
        import pandas as pd
    except ImportError as error:
        raise TaskError(
            f"CSV files need pandas, and it cannot be imported ({error}). "
            'Install it: pip install "flatout[tasks]"'
        ) from error
    text = _read_text(path)
    delimiter = _sniff(text)
    names, rows, lines = _read_rows(path, text, delimiter)
    table = pd.DataFrame(rows, columns=pd.Index(names, dtype=object), index=lines, dtype=object)
    size = f"{len(rows)} rows of {len(names)} columns"
    return table, f"{path.name}: {size}, separated by {_DELIMITERS[delimiter]}"


def _read_text(path: Path) -> str:
    if path.is_dir():
        raise DataError(f"{path} is a folder, and a CSV file is needed: give the path of a file in it")
    if not path.exists():
        near = difflib.get_close_matches(path.name, [p.name for p in path.parent.glob("*.?sv")], n=1)
        hint = f"did you mean {path.parent / near[0]}?" if near else "check the path"
        raise DataError(f"there is no file {path}: {hint}")
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}") from error
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = content[: error.start].split(b"\n")
        raise DataError(
            f"{path}, line {len(before)}, after {before[-1][-20:].decode('utf-8', 'replace')!r}: "
            f"found the byte 0x{content[error.start]:02x}, which is not UTF-8: save the file as UTF-8 "
            "(in a spreadsheet: 'CSV UTF-8')"
        ) from error
    if not text.strip():
        raise DataError(
            f"{path} is empty: it needs a line of column names and at least {_MIN_ROWS} rows of values"
        )
    return text


def _sniff(text: str) -> str:
    """The delimiter that splits the first lines most evenly: most rows as wide as the header."""
    sample = list(islice(io.StringIO(text, newline=""), 100))

    def evenness(delimiter: str) -> tuple[bool, float, int]:
        try:
            rows = [row for row in csv.reader(sample, delimiter=delimiter, skipinitialspace=True) if row]
        except csv.Error:
            return False, 0.0, 0
        width = len(rows[0])
        return width > 1, sum(len(row) == width for row in rows) / len(rows), width

    return max(_DELIMITERS, key=evenness)


def _read_rows(path: Path, text: str, delimiter: str) -> tuple[list[str], list[list[str]], list[int]]:
    """Column names, rows of cells, and the line on which each row begins; every row as wide as the header."""
    reader = csv.reader(
        io.StringIO(text, newline=""), delimiter=delimiter, skipinitialspace=True, strict=True
    )
    names: list[str] = []
    rows, lines = [], []
    line = 1
    try:
        for cells in reader:
            row = [cell.strip() for cell in cells]
            if not names:
                names = _checked_names(path, row, line) if len(row) > 1 or any(row) else []
            elif len(row) == len(names) or any(row):  # otherwise: a blank line
                _check_width(path, row, names, line)
                rows.append(row)
                lines.append(line)
            line = reader.line_num + 1
    except csv.Error as error:
        raise DataError(
            f'{path}, line {line}: this row cannot be read ({error}): check the quotes (") in it and after it'
        ) from error
    if not rows:
        raise DataError(
            f"{path} has a line of column names and no rows: at least {_MIN_ROWS} rows of values are needed"
        )
    return names, rows, lines


def _check_width(path: Path, row: list[str], names: list[str], line: int) -> None:
    if len(row) != len(names):
        raise DataError(
            f"{path}, line {line}: expected {len(names)} values, as in the line of column names, "
            f"got {len(row)}: {listed(row, most=6)}. Correct the line, or put values that contain "
            'the delimiter in quotes (")'
        )


def _checked_names(path: Path, names: list[str], line: int) -> list[str]:
    if len(names) == 1:
        raise DataError(
            f"{path}, line {line}: found the one column name {names[0]!r}, and a target and at least one "
            f"feature are needed. Columns must be separated by {', '.join(_DELIMITERS.values())}"
        )
    for number, name in enumerate(names, start=1):
        if not name:
            raise DataError(
                f"{path}, line {line}: column {number} of {len(names)} has no name: give it one, or remove "
                "the column (pandas writes such a column unless to_csv(..., index=False) is used)"
            )
        if names.index(name) != number - 1:
            raise DataError(
                f"{path}, line {line}: the column name {name!r} stands twice, at columns "
                f"{names.index(name) + 1} and {number}: rename or remove one of them"
            )
    return names


def listed(values: Sequence[Any] | NDArray[Any], most: int = 20) -> str:
    """The values separated by commas, cut after `most`."""
    more = f", and {len(values) - most} more" if len(values) > most else ""
    return ", ".join(str(value) for value in values[:most]) + more
