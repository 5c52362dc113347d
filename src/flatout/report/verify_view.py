"""Predicted gains beside measured ones, for the terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table

from flatout.report import text
from flatout.report.words import Words

STATUS: Final = {
    "within": "as predicted",
    "outside": "not as predicted",
    "unpredicted": "no gain was predicted",
    "failed": "fails with it",
    "differs": "computes something else",
    "unused": "the fix changed nothing",
    "unmeasured": "not measured",
    "manual": "by hand: flatout cannot put it in",
}
RESULTS: Final = {
    "same": "the same bit for bit",
    "rounded": "the same but for rounding",
    "other": "something else",
    "unknown": "not told: it differs from run to run",
}


def verify_view(rows: Sequence[Mapping[str, Any]]) -> RenderableType:
    """The table of `flatout profile --verify`.

    Args:
        rows: a profile's "verified".
    """
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    for name, justify in (("finding", "left"), ("put in", "left"), ("predicted a step", "right")):
        table.add_column(name, justify=justify)  # type: ignore[arg-type]
    table.add_column("measured", justify="right")
    table.add_column("")
    for row in rows:
        table.add_row(*(cell for cell in cells(row)))
    reasons = [
        Words(f"{row['file']}:{row['line']}  {row['why']}", "yellow") for row in rows if row.get("why")
    ]
    return Group("", table, *reasons)


def cells(row: Mapping[str, Any]) -> tuple[str, str, str, str, str]:
    """A row in words: the finding, what was put in, predicted, measured, and what came of it.

    >>> cells({"file": "a.py", "line": 3, "kind": "data", "remedy": "2 workers", "predicted_ms": 0.2,
    ...        "predicted_low": 0.1, "predicted_high": 0.3, "measured_ms": 0.19, "low": 0.18, "high": 0.21,
    ...        "status": "within", "results": "same"})
    ('a.py:3 data', '2 workers', '200 µs (100 to 300)', '190 µs (180 to 210)', 'as predicted')
    """
    status = STATUS[row["status"]]
    if row["results"] == "rounded":
        status += ", but for rounding the same losses"
    return (
        f"{row['file']}:{row['line']} {row['kind']}",
        row["remedy"] or text.UNKNOWN,
        _interval(row["predicted_ms"], row["predicted_low"], row["predicted_high"]),
        _interval(row["measured_ms"], row["low"], row["high"]),
        status,
    )


def _interval(middle: float | None, low: float | None, high: float | None) -> str:
    """A time with its interval in the same unit."""
    if low is None or high is None:
        return text.UNKNOWN
    largest = max(abs(value) for value in (middle or 0.0, low, high))
    unit, size = ("ms", 1.0) if largest >= 1 else ("µs", 1e-3)
    first = f"{middle / size:.3g} {unit} " if middle is not None else f"{unit} "
    return f"{first}({low / size:.3g} to {high / size:.3g})"
