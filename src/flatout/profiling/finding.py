"""A finding: one thing that costs time or memory in a script."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Finding:
    """One thing that costs time.

    Attributes:
        kind: one of `flatout.profiling.rules.KINDS`.
        file: of the user's code.
        line: in it.
        what: the kind in words.
        count: times a step.
        ms_per_step: milliseconds of a step it takes; None where it costs memory or correctness, not time.
        share: of the step, 0 to 1, or None.
        fix: what to do, in words.
        code: what to write, or "".
        gain_ms: milliseconds of a step the fix saves; None where that is not known.
        gain_low: the least it saves, or None.
        gain_high: the most it saves, or None.
    """

    kind: str
    file: str
    line: int
    what: str
    count: float
    ms_per_step: float | None
    share: float | None
    fix: str
    code: str
    gain_ms: float | None
    gain_low: float | None
    gain_high: float | None
