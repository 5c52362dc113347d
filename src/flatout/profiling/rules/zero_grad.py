"""Gradients that are filled with zeros, and then added to."""

from __future__ import annotations

from collections.abc import Iterator

from flatout.profiling.evidence import Evidence
from flatout.profiling.finding import Finding
from flatout.profiling.rules.measured import from_trial


def find(evidence: Evidence) -> Iterator[Finding]:
    """At the line that clears them most often."""
    zeroed = evidence.seen.zeroed
    if not zeroed:
        return
    line, count = max(zeroed.items(), key=lambda item: item[1])
    yield from from_trial(
        evidence,
        "zero-grad",
        "zero-grad",
        "zero_grad(set_to_none=False)",
        "let the gradients go: backward then stores them instead of adding to zeros",
        line=line,
        count=count / evidence.seen.steps,
    )
