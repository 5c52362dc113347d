"""What came of a predicted gain, in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from flatout.report import text

HEADS: Final = ("finding", "put in", "predicted a step", "measured", "")
_STATUS: Final = {
    "within": "as predicted",
    "outside": "not as predicted",
    "noise": "too small to tell from noise",
    "unpredicted": "no gain was predicted",
    "failed": "the script fails with it",
    "differs": "computes something else",
    "unused": "the fix changed nothing",
    "unmeasured": "not measured",
    "manual": "by hand: flatout cannot put it in",
}
_RESULTS: Final = {"rounded": "; losses differ by rounding", "unknown": "; losses differ from run to run"}


def cells(row: Mapping[str, Any]) -> tuple[str, str, str, str, str]:
    """A row in words: the finding, what was put in, predicted, measured, and what came of it.

    >>> cells({"file": "a.py", "line": 3, "kind": "data", "remedy": "2 workers", "predicted_ms": 0.2,
    ...        "predicted_low": 0.1, "predicted_high": 0.3, "measured_ms": 0.19, "low": 0.18, "high": 0.21,
    ...        "status": "within", "results": "same"})
    ('a.py:3 data', '2 workers', '200 µs (100 to 300)', '190 µs (180 to 210)', 'as predicted')
    """
    return (
        f"{row['file']}:{row['line']} {row['kind']}",
        row["remedy"] or text.UNKNOWN,
        interval(row["predicted_ms"], row["predicted_low"], row["predicted_high"]),
        interval(row["measured_ms"], row["low"], row["high"]),
        _STATUS[row["status"]] + _RESULTS.get(row["results"], ""),
    )


def interval(middle: float | None, low: float | None, high: float | None) -> str:
    """Milliseconds with their interval, all in the same unit.

    >>> interval(None, 0.0, 1.5), interval(0.0123, -0.001, 0.02), interval(None, None, None)
    ('0 to 1.5 ms', '12.3 µs (-1 to 20)', '–')
    """
    if low is None or high is None:
        return text.UNKNOWN
    largest = max(abs(value) for value in (middle or 0.0, low, high))
    unit, size = ("ms", 1.0) if largest >= 1 else ("µs", 1e-3)
    bounds = f"{low / size:.3g} to {high / size:.3g}"
    return f"{bounds} {unit}" if middle is None else f"{middle / size:.3g} {unit} ({bounds})"
