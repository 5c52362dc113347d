"""An optimizer that starts a few operators for every parameter."""

from __future__ import annotations

from collections.abc import Iterator

from flatout.profiling.evidence import AbstainError, Evidence
from flatout.profiling.finding import Finding
from flatout.profiling.rules.measured import from_trial


def find(evidence: Evidence) -> Iterator[Finding]:
    """Where it steps; of fused and foreach the one that gains more."""
    found, missing = [], []
    for name in ("fused", "foreach"):
        try:
            if evidence.trial(name) is None or evidence.subject is None or evidence.subject.optimizer is None:
                continue
            seen = evidence.subject.optimizer
            one = from_trial(
                evidence,
                name,
                "optimizer",
                seen.line,
                f"{seen.type.__name__} without {name}=True",
                f"update all parameters at once: pass {name}=True",
            )
            found += [one] if one else []
        except AbstainError as why:
            missing.append(why)
    if found:
        yield max(found, key=lambda one: one.gain_ms or 0.0)
    elif missing:
        raise missing[0]
