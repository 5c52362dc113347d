"""An optimizer that starts a few operators for every parameter."""

from __future__ import annotations

from collections.abc import Iterator

from flatout.profiling.evidence import Evidence
from flatout.profiling.finding import Finding
from flatout.profiling.rules.measured import best_of, from_trial


def find(evidence: Evidence) -> Iterator[Finding]:
    """Where it steps; of fused and foreach the one that gains more."""
    optimizer = evidence.subject.optimizer if evidence.subject else None
    ways = (
        from_trial(
            evidence,
            name,
            "optimizer",
            f"{optimizer.type.__name__ if optimizer else 'the optimizer'} without {name}=True",
            f"update all parameters at once: pass {name}=True",
            line=optimizer.line if optimizer else None,
        )
        for name in ("fused", "foreach")
    )
    yield from best_of(ways)
