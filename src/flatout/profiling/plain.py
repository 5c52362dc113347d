"""Steps that nobody stamps, and what the stamps of the others add to a step."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median
from typing import Final

_ENOUGH: Final = 20  # steps of either kind
_NEAR: Final = 50  # steps: before and after, what a machine does is much the same


class Plain:
    """A window in which only the ends of steps are heard of.

    Attributes:
        times: seconds of each step, without those that settle.
        numbers: which step of the script each one was, counted from 1.
    """

    def __init__(self) -> None:
        self.times: list[float] = []
        self.numbers: list[int] = []

    def install(self, thread: int) -> None:
        """Nothing is wrapped."""

    def remove(self) -> None:
        """Nothing was."""

    def begin(self) -> None:
        """A step begins."""

    def end(self, seconds: float, *, settled: bool) -> None:
        """The step has ended."""
        if settled:
            self.times.append(seconds)


def stamps_distortion(plain: Plain, stamped: Sequence[float], numbers: Sequence[int]) -> float:
    """How many times as long a step takes for being stamped; 1 where that is not known, or cannot be told.

    Args:
        plain: the steps without stamps.
        stamped: the seconds of those with.
        numbers: which step of the script each of these was.

    >>> plain = Plain()
    >>> plain.times, plain.numbers = [1.0] * 30, list(range(30, 60))
    >>> stamps_distortion(plain, [1.25] * 30 + [9.0] * 100, [*range(30), *range(200, 300)])
    1.25
    >>> stamps_distortion(Plain(), [1.25] * 30, list(range(30)))
    1.0
    """
    if not plain.numbers:
        return 1.0
    first, last = plain.numbers[0] - _NEAR, plain.numbers[-1] + _NEAR
    near = [seconds for seconds, number in zip(stamped, numbers, strict=False) if first <= number <= last]
    if min(len(plain.times), len(near)) < _ENOUGH:
        return 1.0
    return max(1.0, median(near) / median(plain.times))
