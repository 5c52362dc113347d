"""Steps that wait for their data."""

from __future__ import annotations

from collections.abc import Iterator
from statistics import fmean
from typing import Final

from flatout.profiling.evidence import Evidence, quantile
from flatout.profiling.finding import Finding

_STARVES: Final = 0.1  # of a step


def find(evidence: Evidence) -> Iterator[Finding]:
    """The DataLoader that steps wait for, where the wait is a tenth of a step or more."""
    times = [time.data for time in evidence.bare]
    loaders = evidence.seen.loaders
    cost = fmean(times)
    share = cost / evidence.step_s
    if not loaders or share < _STARVES:
        return
    line, loader = max(loaders.items(), key=lambda item: item[1].batches)
    gain, low, high = None, 0.0, 1e3 * cost
    code = ""
    if loader.workers:
        fix = "the workers do not keep up: more of them, persistent_workers=True, or resident data"
    elif loader.index_s is None:
        fix = "let workers load while the step computes"
        code = "DataLoader(..., num_workers=2, persistent_workers=True)"
    else:
        fix = "index the tensors with whole batches, or train with flatout.fit(model, (X, y), ...)"
        code = "for rows in torch.randperm(len(X)).split(batch_size): loss = step(X[rows], y[rows])"
        if len(loaders) == 1:  # of several, nobody knows which took how much
            gain = 1e3 * max(0.0, cost - loader.index_s)
            low = min(gain, 1e3 * max(0.0, quantile(times, 0.25) - 2 * loader.index_s))
            high = max(gain, 1e3 * quantile(times, 0.75))
    what = "waiting for a DataLoader" if loader.index_s is None else "a DataLoader over a TensorDataset"
    yield Finding("data", line.file, line.line, what, 1.0, 1e3 * cost, share, fix, code, gain, low, high)
