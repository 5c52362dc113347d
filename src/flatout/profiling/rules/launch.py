"""Steps that start much work and do little."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from flatout.profiling.evidence import AbstainError, Evidence
from flatout.profiling.finding import Finding

_MOST: Final = 0.5  # of a step, that goes into starting work
_LITTLE: Final = 0.5  # of that: the work itself
_WHAT: Final = "operators too small for what it takes to start them"
_FIX: Final = "one call for the whole step, torch.compile, or a larger batch"
_CODE: Final = "flatout.fit(model, data, ...)"


def find(evidence: Evidence) -> Iterator[Finding]:
    """A finding where starting operators takes most of a step, and twice as long as what they compute."""
    traced = evidence.traced
    split = traced.split
    if split is None:
        raise AbstainError(f"it needs the split of a step: {traced.reason}")
    if traced.line is None:
        raise AbstainError("it needs a line of the script that calls a model or backward; none was seen")
    step, starting = split.step_us, split.starting_us
    computing = split.parts["compute"]
    if starting < _MOST * step or computing > _LITTLE * starting:
        return
    cost, line = 1e-3 * starting, traced.line
    yield Finding(
        "launch-bound",
        line.file,
        line.line,
        _WHAT,
        split.operators,
        cost,
        starting / step,
        _FIX,
        _CODE,
        None,
        0.0,
        cost,
    )


def launch_verdict(findings: Iterable[Mapping[str, Any]], split: Mapping[str, Any] | None) -> str:
    """The verdict that a step only starts work, or "" where that is not so, or something else matters more.

    A gain that is known counts for more than one that is not: it need only be half as large.

    Args:
        findings: of the document.
        split: of the document.
    """
    found = list(findings)
    launch = next((one for one in found if one.get("kind") == "launch-bound"), None)
    known = max((one["gain_ms"] or 0.0 for one in found), default=0.0)
    if launch is None or split is None or 2 * known > launch["ms_per_step"]:
        return ""
    shares = {name: part["share"] for name, part in split["parts"].items()}
    return (
        f"{100 * launch['share']:.0f} % of a step starts work and {100 * shares['compute']:.0f} % does it "
        f"({launch['file']}:{launch['line']})"
    )
