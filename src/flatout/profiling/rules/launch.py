"""Steps that start much work and do little."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from flatout.profiling.evidence import AbstainError, Evidence
from flatout.profiling.finding import Finding

_MOST: Final = 0.5  # of a step, that goes into starting work
_LITTLE: Final = 0.5  # of that: the work itself
_WHAT: Final = "operators too small for what it takes to start them"
_FIX: Final = "one call for the whole step, torch.compile, or a larger batch"
_CODE: Final = "flatout.fit(model, data, ...)"


def find(evidence: Evidence) -> Iterator[Finding]:
    """A finding where starting operators takes most of a step, and twice as long as what they compute.

    What lines read, show and save is not the step's work: they are findings of their own, and left out here.
    """
    traced = evidence.traced
    split = traced.split
    if split is None:
        raise AbstainError(f"it needs the split of a step: {traced.reason}")
    if traced.line is None:
        raise AbstainError("it needs a line of the script that calls a model or backward; none was seen")
    lines = _on_lines(evidence)
    step, starting = split.step_us - lines, split.starting_us - lines
    computing = split.parts["compute"]
    if starting <= 0 or starting < _MOST * step or computing > _LITTLE * starting:
        return
    cost, line = 1e-3 * starting, traced.line
    yield Finding(
        "launch-bound",
        line.file,
        line.line,
        _WHAT,
        split.operators,
        cost,
        starting / split.step_us,
        _FIX,
        _CODE,
        None,
        0.0,
        cost,
    )


def _on_lines(evidence: Evidence) -> float:
    """Microseconds that lines read, show and save; on a GPU they wait, which is in no start."""
    if not evidence.on_cpu:
        return 0.0
    costs = [evidence.cost(times) for times in evidence.seen.calls.values()]
    return 1e6 * sum(cost.seconds for cost in costs if cost is not None)
