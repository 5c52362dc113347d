"""Tensors that `forward` makes anew at every call, though they are always the same."""

from __future__ import annotations

from collections.abc import Iterator

from flatout.profiling.evidence import Evidence, quantile
from flatout.profiling.finding import Finding


def find(evidence: Evidence) -> Iterator[Finding]:
    """A finding for each line of a forward that makes one often.

    On a CPU the fix saves what it takes; on a GPU, where the host may be ahead, from nothing to that.
    """
    steps = evidence.seen.steps
    for (kind, line), times in evidence.seen.calls.items():
        if kind != "made-in-forward" or not evidence.often(times):
            continue
        spent = [max(0.0, s - evidence.clock_s) for s in times]
        count, cost = len(spent) / steps, sum(spent) / steps
        low = 1e3 * count * quantile(spent, 0.25) if evidence.on_cpu else 0.0
        yield Finding(
            kind,
            line.file,
            line.line,
            "a tensor made in forward",
            count,
            1e3 * cost,
            cost / evidence.step_s,
            "make it once, in __init__, the largest that is needed",
            'self.register_buffer("name", torch.arange(n), persistent=False)',
            1e3 * cost if evidence.on_cpu else None,
            min(low, 1e3 * cost),
            1e3 * cost,
        )
