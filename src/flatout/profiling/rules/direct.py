"""Lines that call `forward` of a model, and not the model."""

from __future__ import annotations

from collections.abc import Iterator

from flatout.profiling.evidence import Evidence
from flatout.profiling.finding import Finding


def find(evidence: Evidence) -> Iterator[Finding]:
    """A finding for each such line; it costs correctness, not time."""
    what = "model.forward(...), which runs no hooks"
    fix = "call the model: hooks, and wrappers such as DDP and torch.compile, work only so"
    for line, calls in evidence.passes.direct.items():
        count = calls / max(1, evidence.passes.steps)
        yield Finding(
            "direct-forward", line.file, line.line, what, count, None, None, fix, "model(x)", None, None, None
        )
