"""How the times of steps are spread, and how they go on over the run.

Steps that follow each other are no independent measurements: a busy machine slows many in a row. So the
median of each block of them is kept, too; a block is a run of steps that nothing came between.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from statistics import fmean, median
from typing import Any, Final

from flatout.profiling.evidence import quantile

_BINS: Final = 48  # of the run, at most
_BARS: Final = 32
_USUAL: Final = 0.95  # what of the steps the bars show; the others are counted
_BLOCK: Final = 5  # the fewest steps of a block


def spread(seconds: Sequence[float], numbers: Sequence[int]) -> dict[str, Any] | None:
    """The spread of the times of steps, in µs; None where there are none.

    Args:
        seconds: of each step.
        numbers: which step of the script each was, ascending.

    Returns:
        "low", "quartiles" (three), "high" (5 % are below low, and 5 % above high), "mean" and "most";
        "blocks": their medians; "over_the_run": of each share of the run [first step, last step, low,
        median, high]; "histogram": "from", "width" of a bar, "counts", and how many lie "above".

    >>> seen = spread([1e-6] * 5 + [3e-6] * 5, [1, 2, 3, 4, 5, 21, 22, 23, 24, 25])
    >>> seen["blocks"], seen["quartiles"], seen["most"]
    ([1.0, 3.0], [1.0, 1.0, 3.0], 3.0)
    """
    if not seconds:
        return None
    times = [1e6 * value for value in seconds]
    return {
        "low": _short(quantile(times, 0.05)),
        "mean": _short(fmean(times)),
        "quartiles": [_short(quantile(times, part)) for part in (0.25, 0.5, 0.75)],
        "high": _short(quantile(times, 0.95)),
        "most": _short(max(times)),
        "blocks": [_short(median(block)) for block in _blocks(times, numbers)],
        "over_the_run": _over_the_run(times, numbers),
        "histogram": _histogram(times),
    }


def _blocks(times: Sequence[float], numbers: Sequence[int]) -> list[list[float]]:
    ends = [i + 1 for i, (one, following) in enumerate(pairwise(numbers)) if following != one + 1]
    cuts = [0, *ends, len(times)]
    return [list(times[a:b]) for a, b in pairwise(cuts) if b - a >= _BLOCK]


def _over_the_run(times: Sequence[float], numbers: Sequence[int]) -> list[list[float]]:
    bins = min(_BINS, len(times))
    cuts = [round(i * len(times) / bins) for i in range(bins + 1)]
    rows: list[list[float]] = []
    for a, b in pairwise(cuts):
        within = times[a:b]
        spreads = (_short(quantile(within, part)) for part in (0.1, 0.5, 0.9))
        rows.append([numbers[a], numbers[b - 1], *spreads])
    return rows


def _histogram(times: Sequence[float]) -> dict[str, Any]:
    least, most = min(times), quantile(times, _USUAL)
    width = (most - least) / _BARS or least / 100
    counts = [0] * _BARS
    above = 0
    for value in times:
        if value > most:
            above += 1
        else:
            counts[min(_BARS - 1, int((value - least) / width))] += 1
    return {"from": _short(least), "width": _short(width), "counts": counts, "above": above}


def _short(value: float) -> float:
    return float(f"{value:.4g}")
