"""Printing, logging and saving at every step, or so often that it takes a part of the time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from flatout.profiling.evidence import Evidence
from flatout.profiling.finding import Finding

_EVERY: Final = 100  # steps between two times, in the fixes

# What is done: (in words, the fix, its code).
OUTPUT: Final = {
    "log": (
        "printing or logging",
        f"do it every {_EVERY} steps",
        f"if step % {_EVERY} == 0: ...",
    ),
    "save": ("saving to a file", f"save every {_EVERY} steps or more", f"if step % {_EVERY} == 0: ..."),
}


def find(evidence: Evidence) -> Iterator[Finding]:
    """A finding for each line that writes more often than every hundred steps, and so often that it matters.

    The fix saves all but what is still written.
    """
    for (kind, line), times in evidence.seen.calls.items():
        if kind not in OUTPUT or (cost := evidence.cost(times)) is None:
            continue
        what, fix, code = OUTPUT[kind]
        spared = max(0.0, 1 - 1 / (_EVERY * cost.count))
        ms, gain = 1e3 * cost.seconds, 1e3 * spared * cost.seconds
        low = min(gain, 1e3 * spared * cost.low)
        share = cost.seconds / evidence.step_s
        yield Finding(kind, line.file, line.line, what, cost.count, ms, share, fix, code, gain, low, ms)
