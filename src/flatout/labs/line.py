"""Times against size: the line a + b·x through them, and where one curve falls below another.

Sizes and times span decades, so the line is fitted to their ratios: what is minimised is the logarithm of
measured over fitted, squared where that is within a tenth and by its size beyond (Huber), so that one curve
with a bend in it does not bend the line everywhere. Intervals come from drawing the rounds again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from flatout.labs.paired import Interval

Floats = npt.NDArray[np.float64]

LEVEL = 0.95
"""Of the intervals of this file."""

_TENTH = 0.1
_ITERATIONS = 40
_DRAWS = 400
_BETWEEN = 16  # places from one size to the next where curves are compared
_FAR_BELOW = 12.0  # in the logarithm: a share of the time that nobody could measure


@dataclass(frozen=True)
class Line:
    """Seconds a step takes: fixed + slope · x.

    Attributes:
        fixed: what every step costs.
        slope: what a unit of size costs.
        balance: the size at which both cost the same.
        off: the largest factor between a measured time and the line.
    """

    fixed: Interval
    slope: Interval
    balance: Interval
    off: float

    def at(self, x: float) -> float:
        """The seconds at a size."""
        return self.fixed.estimate + self.slope.estimate * x


def line_of(x: Sequence[float], times: Floats, seed: int = 0) -> Line:
    """The line through the medians of measured times.

    Args:
        x: the sizes, [sizes], rising.
        times: seconds, [rounds, sizes].
        seed: of the draws.

    Example:
        >>> sizes = [1.0, 10.0, 100.0, 1000.0]
        >>> line = line_of(sizes, np.array([[3.0, 12.0, 102.0, 1002.0]] * 8))
        >>> round(line.fixed.estimate, 6), round(line.slope.estimate, 6), round(line.balance.estimate, 6)
        (2.0, 1.0, 2.0)
    """
    sizes = np.asarray(x, dtype=np.float64)
    middle = np.median(times, axis=0)
    fixed, slope = _fit(sizes, np.concatenate([middle[None], medians_of_draws(times, seed)]))
    off = np.exp(np.max(np.abs(np.log(middle / (fixed[0] + slope[0] * sizes)))))
    balance = fixed / slope
    return Line(_interval(fixed), _interval(slope), _interval(balance), float(off))


def medians_of_draws(times: Floats, seed: int = 0) -> Floats:
    """Medians of the rounds, each time of as many rounds drawn from them: [draws, sizes].

    Args:
        times: [rounds, sizes].
        seed: of the draws; the same for two curves keeps their rounds together.
    """
    rounds = len(times)
    draws = np.random.default_rng(seed).integers(rounds, size=(_DRAWS, rounds))
    medians: Floats = np.median(times[draws], axis=1)
    return medians


def crossing_of(x: Sequence[float], first: Floats, second: Floats, seed: int = 0) -> Interval:
    """The size from which on the second is faster than the first.

    Each curve is its line, bent so that it goes through what was measured: the factor between the two is
    interpolated from size to size. 0: the second is faster at every size; infinity: not yet at the largest.

    Args:
        x: the sizes, [sizes], rising.
        first, second: seconds, [rounds, sizes], measured in the same rounds.
        seed: of the draws.

    Example:
        >>> flat, rising = np.full((8, 3), 10.0), np.array([[1.0, 10.0, 100.0]] * 8)
        >>> round(crossing_of([1, 10, 100], rising, flat).estimate, 6)
        10.0
    """
    sizes = np.asarray(x, dtype=np.float64)
    fine = np.exp(
        np.interp(np.arange(_BETWEEN * (len(sizes) - 1) + 1) / _BETWEEN, range(len(sizes)), np.log(sizes))
    )
    ahead = _bent(sizes, first, fine, seed) - _bent(sizes, second, fine, seed)
    return _interval(_crossings(fine, ahead))


def _bent(sizes: Floats, times: Floats, fine: Floats, seed: int) -> Floats:
    """Logarithms of the seconds at fine sizes, of the medians and of each draw's: [1 + draws, fine]."""
    medians = np.concatenate([np.median(times, axis=0)[None], medians_of_draws(times, seed)])
    fixed, slope = (part[:, None] for part in _fit(sizes, medians))
    away = np.log(medians / (fixed + slope * sizes))
    places = np.log(sizes)
    hats = np.array([np.interp(np.log(fine), places, row) for row in np.eye(len(sizes))])
    bent: Floats = np.log(fixed + slope * fine) + away @ hats
    return bent


def _crossings(sizes: Floats, ahead: Floats) -> Floats:
    """For each row where the second curve falls below the first for good: from there on it is ahead (> 0)."""
    found = np.empty(len(ahead))
    for row, gain in enumerate(ahead):
        behind = np.flatnonzero(gain <= 0)
        if not behind.size:
            found[row] = 0.0
        elif (last := int(behind[-1])) == len(sizes) - 1:
            found[row] = np.inf
        else:
            share = -gain[last] / (gain[last + 1] - gain[last])
            low, high = np.log(sizes[last : last + 2])
            found[row] = np.exp(low + share * (high - low))
    return found


def _fit(x: Floats, seconds: Floats) -> tuple[Floats, Floats]:
    """Fixed and slope of each row of seconds [rows, sizes], by Gauss and Newton on their logarithms."""
    measured = np.log(seconds)
    least = measured.min(axis=1)
    lowest = np.stack([least - _FAR_BELOW, least - np.log(x[-1]) - _FAR_BELOW])
    found = np.stack([least, measured[:, -1] - np.log(x[-1])])
    for _ in range(_ITERATIONS):
        fixed, slope = np.exp(found)
        fitted = fixed[:, None] + slope[:, None] * x
        away = measured - np.log(fitted)
        weight = _TENTH / np.maximum(np.abs(away), _TENTH)
        share = fixed[:, None] / fitted  # the derivatives: share, and what it leaves of 1
        ff = (weight * share**2).sum(axis=1) + 1e-9
        ss = (weight * (1 - share) ** 2).sum(axis=1) + 1e-9
        fs = (weight * share * (1 - share)).sum(axis=1)
        pull_f = (weight * share * away).sum(axis=1)
        pull_s = (weight * (1 - share) * away).sum(axis=1)
        det = ff * ss - fs**2
        step = np.stack([(ss * pull_f - fs * pull_s) / det, (ff * pull_s - fs * pull_f) / det])
        found = np.maximum(found + np.clip(step, -1.0, 1.0), lowest)
    return np.exp(found[0]), np.exp(found[1])


def _interval(values: Floats) -> Interval:
    """The first value, between the bounds that hold most of the others."""
    tail = (1 - LEVEL) / 2
    # One of the values, not a mean of two: infinity is among them where there is no crossing.
    low, high = np.quantile(values[1:], [tail, 1 - tail], method="nearest")
    return Interval(float(values[0]), float(min(low, values[0])), float(max(high, values[0])))
