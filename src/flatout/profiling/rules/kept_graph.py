"""Losses that live on with their graph, and all tensors it holds."""

from __future__ import annotations

from collections.abc import Iterator

from flatout.profiling.evidence import Evidence
from flatout.profiling.finding import Finding
from flatout.profiling.source import line_that_keeps


def find(evidence: Evidence) -> Iterator[Finding]:
    """A finding where losses are kept, or else at their backward; it costs memory, not time."""
    what = "a loss that is kept with its graph"
    fix = "keep losses without their graph"
    code = "losses.append(loss.detach()); total += loss.detach()"
    for backward, count in evidence.seen.kept.items():
        line = line_that_keeps(backward)
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
