"""Two ways of the same work, timed turn by turn, so that noise meets both.

The interval of a median is exact for any distribution: how many of n independent values lie below the median
is a toss of n coins, so the k-th smallest and the k-th largest value enclose it with a known probability.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median
from time import perf_counter
from typing import Final

from flatout.profiling.evidence import AbstainError

# Runs so many steps; the seconds a step.
Work = Callable[[int], float]

_LONG_ENOUGH: Final = 10e-3  # seconds: a change of caches and threads no longer shows
_LEAST: Final = 6  # pairs: all of six values enclose the median with a probability of 97 %
_MOST: Final = 21
_HOPELESS: Final = 3  # pairs that all lose
_NOTHING: Final = 0.03  # of the work: no pair of six gains more
_COLD: Final = 0.04  # seconds of a pair in which cold caches no longer show
_SURE: Final = 0.95


@dataclass(frozen=True)
class Pairs:
    """Seconds of a step, median of all pairs; what a pair gains, with the bounds of its median."""

    before: float
    after: float
    gain: float
    low: float
    high: float
    count: int


def compare(
    before: Work, after: Work, *, budget: float, most: float, clock: Callable[[], float] = perf_counter
) -> Pairs:
    """Time both in turn for about `budget` seconds.

    Args:
        before, after: the work.
        budget: seconds, of which fewer are used where all is clear.
        most: seconds it may take at the very most.
        clock: tells the seconds.

    Raises:
        AbstainError: even six pairs would take longer than `most`.
    """
    began = clock()
    before(1), after(1)  # memory, and the state of optimizers
    once = clock()
    before(1), after(1)
    pair = max(clock() - once, 1e-9)
    steps = max(1, min(200, math.ceil(2 * _LONG_ENOUGH / pair)))
    warms_up = pair < _COLD
    whole = pair * (steps + warms_up)
    if _LEAST * whole > most - (clock() - began):
        raise AbstainError(
            f"it needs {_LEAST * whole:.1f} s, and {max(0.0, most - (clock() - began)):.1f} s are left for it"
        )

    def run(work: Work) -> float:
        if warms_up:
            work(1)  # finds the caches full of the other's data
        return work(steps)

    taken: list[tuple[float, float]] = []
    while len(taken) < _LEAST or (len(taken) < _MOST and clock() - began + whole < budget):
        if len(taken) % 2:
            b, a = run(after), run(before)
            taken.append((a, b))
        else:
            taken.append((run(before), run(after)))
        if _settled(taken):
            break
    gains = [a - b for a, b in taken]
    low, high = median_bounds(gains)
    return Pairs(
        median(a for a, _ in taken), median(b for _, b in taken), median(gains), low, high, len(taken)
    )


def _settled(taken: Sequence[tuple[float, float]]) -> bool:
    """Whether it is clear that there is nothing to gain."""
    if len(taken) == _HOPELESS:
        return all(before <= after for before, after in taken)
    return len(taken) == _LEAST and all(before - after < _NOTHING * before for before, after in taken)


def median_bounds(values: Sequence[float]) -> tuple[float, float]:
    """The values that enclose the median of their distribution with a probability of 95 % or more.

    Of five or fewer these are the least and the largest, with the probability that they have.

    >>> median_bounds([5.0, 1.0, 4.0, 2.0, 3.0, 6.0])
    (1.0, 6.0)
    >>> median_bounds([float(n) for n in range(1, 31)])
    (10.0, 21.0)
    """
    ordered = sorted(values)
    count = len(ordered)
    outside, below = 0, 0  # how many values are left out at each end; of 2^n tosses, those with fewer heads
    for k in range(count // 2):
        below += math.comb(count, k)
        if 1 - 2 * below / 2**count < _SURE:
            break
        outside = k
    return ordered[outside], ordered[count - 1 - outside]
