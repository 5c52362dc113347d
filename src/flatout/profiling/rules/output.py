"""Printing, logging and saving at every step, or so often that it takes a part of the time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from flatout.profiling.evidence import Evidence, quantile
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
    steps = evidence.seen.steps
    for (kind, line), times in evidence.seen.calls.items():
        if kind not in OUTPUT or not evidence.often(times):
            continue
        what, fix, code = OUTPUT[kind]
        spent = [max(0.0, s - evidence.clock_s) for s in times]
        count, cost = len(spent) / steps, sum(spent) / steps
        share = cost / evidence.step_s
        spared = max(0.0, 1 - 1 / (_EVERY * count))
        low, high = 1e3 * spared * count * quantile(spent, 0.25), 1e3 * cost
        gain = 1e3 * spared * cost
        yield Finding(
            kind,
            line.file,
            line.line,
            what,
            count,
            1e3 * cost,
            share,
            fix,
            code,
            gain,
            min(low, gain),
            high,
        )
