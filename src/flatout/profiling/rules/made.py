"""Tensors that `forward` makes anew at every call, though they are always the same."""

from __future__ import annotations

from collections.abc import Iterator

from flatout.profiling.evidence import Evidence
from flatout.profiling.finding import Finding


def find(evidence: Evidence) -> Iterator[Finding]:
    """A finding for each line of a forward that makes one often.

    On a CPU the fix saves what it takes; on a GPU, where the host may be ahead, from nothing to that.
    """
    fix = "make it once, in __init__, as large as it has to be"
    code = 'self.register_buffer("name", torch.arange(n), persistent=False)'
    for (kind, line), times in evidence.seen.calls.items():
        if kind != "made-in-forward" or (cost := evidence.cost(times)) is None:
            continue
        ms, gain, low = 1e3 * cost.seconds, None, 0.0
        if evidence.on_cpu:
            gain, low = ms, min(ms, 1e3 * cost.low)
        what, share = "a tensor made in forward", cost.seconds / evidence.step_s
        yield Finding(kind, line.file, line.line, what, cost.count, ms, share, fix, code, gain, low, ms)
