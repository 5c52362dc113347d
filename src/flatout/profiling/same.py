"""Whether a script computes the same with a fix: its losses first, then what it prints."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any, Final

SAME: Final = ("same", "rounded")
ENDED: Final = ("finished", "stopped", "exited")  # how a script ends that can be run again
_EARLY: Final = 10  # losses; in later ones rounding has grown
_ROUNDING: Final = 1e-3


@dataclass(frozen=True)
class Ran:
    """One run of a script.

    Attributes:
        seconds: it took.
        measured: what `rerun` wrote, or None where it wrote nothing.
        output: what the script printed.
        why: the last line of what it said to stderr.
    """

    seconds: float
    measured: dict[str, Any] | None
    output: bytes
    why: str

    @property
    def ended(self) -> bool:
        """Whether it came to its end."""
        return self.measured is not None and self.measured["outcome"] in ENDED

    @property
    def status(self) -> int | None:
        return None if self.measured is None else int(self.measured["status"])

    @property
    def applied(self) -> int:
        """How often the fix changed something."""
        return 0 if self.measured is None else int(self.measured["applied"])

    @property
    def losses(self) -> list[float]:
        return [] if self.measured is None else list(self.measured["losses"])

    @property
    def mean_us(self) -> float | None:
        """The mean of all steps, also those out of the ordinary."""
        spread = None if self.measured is None else self.measured["step_times_us"]
        return None if spread is None else float(spread["mean"])

    @property
    def median_us(self) -> float | None:
        """The median of the medians of its blocks of steps."""
        spread = None if self.measured is None else self.measured["step_times_us"]
        if spread is None:
            return None
        return float(median(spread["blocks"] or [spread["quartiles"][1]]))


def same_results(without: Sequence[Ran], with_it: Sequence[Ran]) -> str:
    """Whether runs with a fix compute what those without do.

    Returns:
        "same": the same losses bit for bit, and the same lines printed, but for those that differ between two
        runs as it is, too; "rounded": the first losses differ by no more than rounding does; "other"; or
        "unknown", where runs as it is differ, or have no losses and print nothing.
    """
    plain, fixed = without[0], with_it[0]
    if any(not _alike(ran.losses, plain.losses) for ran in without):
        return "unknown"
    if not plain.losses and not plain.output:
        return "unknown"
    if _alike(fixed.losses, plain.losses):
        return "same" if _printed_alike(without, fixed) else "other"
    return "rounded" if _rounded(fixed.losses, plain.losses) else "other"


def _alike(ones: Sequence[float], others: Sequence[float]) -> bool:
    return len(ones) == len(others) and all(
        one == other or (math.isnan(one) and math.isnan(other))
        for one, other in zip(ones, others, strict=True)
    )


def _rounded(ones: Sequence[float], others: Sequence[float]) -> bool:
    pairs = list(zip(ones[:_EARLY], others[:_EARLY], strict=False))
    return len(ones) == len(others) and all(
        math.isclose(one, other, rel_tol=_ROUNDING, abs_tol=1e-7) for one, other in pairs
    )


def _printed_alike(without: Sequence[Ran], fixed: Ran) -> bool:
    """Lines that are not the same in all runs as it is (times, dates) are passed over."""
    plain = [ran.output.splitlines() for ran in without]
    lines = fixed.output.splitlines()
    if len({len(one) for one in plain}) > 1:
        return True  # how much it prints differs from run to run
    return len(lines) == len(plain[0]) and all(
        line == first or len(set(others)) > 1
        for line, first, others in zip(lines, plain[0], zip(*plain, strict=True), strict=True)
    )
