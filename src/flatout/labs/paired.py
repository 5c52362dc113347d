"""What paired measurements say: the difference, how sure it is, and whether it is more than noise.

The interval is that of Wilcoxon's signed-rank test (F. Wilcoxon, 1945; J. L. Hodges and E. L. Lehmann, 1963).
It holds for noise of any size and shape, as long as a difference that is nothing is as likely above zero as
below. In rounds whose order is drawn anew each time, it is.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

LEVEL = 0.99
"""Of all intervals here: they miss the truth in one of a hundred cases."""


@dataclass(frozen=True)
class Interval:
    """An estimate and between what bounds it lies, in the unit of the measurements."""

    estimate: float
    low: float
    high: float

    @property
    def has_zero(self) -> bool:
        """Whether nothing at all would explain the measurements as well: it is only noise."""
        return self.low <= 0 <= self.high

    def times(self, factor: float) -> Interval:
        """In another unit.

        >>> Interval(2.0, 1.0, 4.0).times(0.5)
        Interval(estimate=1.0, low=0.5, high=2.0)
        """
        return Interval(self.estimate * factor, self.low * factor, self.high * factor)


def interval_of(differences: Sequence[float], level: float = LEVEL) -> Interval:
    """Where the middle of paired differences lies.

    The estimate is the median of the means of all pairs (Hodges and Lehmann), which a few disturbed rounds
    do not move.

    Args:
        differences: one a round, at least `least_rounds(level)`.
        level: how often such an interval holds the truth.

    Raises:
        ValueError: there are too few for this level.

    Example:
        >>> interval_of([1.0, 1.2, 0.9, 1.1, 1.0, 1.3, 0.8, 9.0])
        Interval(estimate=1.1, low=0.8, high=9.0)
    """
    values = np.asarray(differences, dtype=np.float64)
    n = len(values)
    if n < least_rounds(level):
        raise ValueError(f"an interval of {level:g} needs {least_rounds(level)} rounds, and there are {n}")
    first, second = np.triu_indices(n)
    means = np.sort((values[first] + values[second]) / 2)
    outside = _outside(n, level)
    low, high = means[outside], means[len(means) - 1 - outside]
    return Interval(float(np.median(means)), float(low), float(high))


def slope_of(x: Sequence[float], measured: npt.NDArray[np.float64], level: float = LEVEL) -> Interval:
    """How much longer each unit of x takes, from arms that differ in x only.

    In every round the arm with the largest x makes a line with each other arm; the estimate is the median of
    the slopes of all lines of all rounds. Where x costs nothing, that arm is as likely to be the fastest of
    its round as the second fastest, and so on: the bounds come from that, and hold for noise of any shape. (A
    least-squares slope does not do: a single arm beside the mean of several is off zero where noise only
    ever makes slower.)

    Args:
        x: of each arm, the largest in the first; arms as large as that are left out.
        measured: [rounds, arms].
        level: how often such an interval holds the truth.

    Example:
        >>> slope_of([2, 1, 0], np.array([[14.0, 12.0, 10.0]] * 8))
        Interval(estimate=2.0, low=2.0, high=2.0)
    """
    counts = np.asarray(x, dtype=np.float64)
    fewer = counts < counts[0]
    slopes = np.sort(((measured[:, :1] - measured[:, fewer]) / (counts[0] - counts[fewer])).ravel())
    rounds, arms = len(measured), 1 + int(fewer.sum())
    chances = np.ones(1)
    for _ in range(rounds):  # how many of the others an arm that is like them is slower than
        chances = np.convolve(chances, np.full(arms, 1 / arms))
    outside = _tail(chances, level)
    if outside < 0:
        raise ValueError(f"an interval of {level:g} needs more than {rounds} rounds of {arms} arms")
    return Interval(
        float(np.median(slopes)), float(slopes[outside]), float(slopes[len(slopes) - 1 - outside])
    )


def least_rounds(level: float = LEVEL) -> int:
    """How many rounds an interval needs.

    >>> least_rounds(0.99), least_rounds(0.95)
    (8, 6)
    """
    return math.ceil(math.log2(2 / (1 - level)) - 1e-9)


@lru_cache
def _outside(n: int, level: float) -> int:
    """How many of the sorted means lie outside of the interval on each side; -1 where n is too small.

    The sum of the ranks of what is above zero is that of a random subset of 1 … n where there is no
    difference: its distribution, a rank at a time.
    """
    chances = np.zeros(n * (n + 1) // 2 + 1)
    chances[0] = 1.0
    for rank in range(1, n + 1):
        chances[rank:] = (chances[rank:] + chances[:-rank]) / 2
        chances[:rank] /= 2
    return _tail(chances, level)


def _tail(chances: npt.NDArray[np.float64], level: float) -> int:
    """The largest count that, with all below it, has half the chance the level leaves; -1 where none has.

    Args:
        chances: of the counts 0, 1, ….
        level: of the interval.
    """
    return int(np.searchsorted(np.cumsum(chances), (1 - level) / 2 + 1e-12, side="right")) - 1
