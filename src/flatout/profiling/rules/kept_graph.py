"""Losses that live on with their graph, and all tensors it holds."""

from __future__ import annotations

from collections.abc import Iterator

from flatout.profiling.evidence import Evidence
from flatout.profiling.finding import Finding


def find(evidence: Evidence) -> Iterator[Finding]:
    """A finding at the line of each backward whose losses are kept; it costs memory, not time."""
    what = "a loss that is kept with its graph"
    fix = "keep losses without their graph"
    code = "losses.append(loss.detach())"
    for line, count in evidence.seen.kept.items():
        yield Finding(
            "kept-graph",
            line.file,
            line.line,
            what,
            count / evidence.seen.steps,
            None,
            None,
            fix,
            code,
            None,
            None,
            None,
        )
