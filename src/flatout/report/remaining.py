"""How long a training will still take."""

from __future__ import annotations

from collections import deque
from statistics import median_low
from typing import Final

_CHUNKS_REMEMBERED: Final = 50


class RemainingTime:
    """Estimates the seconds left from the time a step took in the last 50 chunks.

    A step is taken to last the median of those chunks' times per step, so that one slow chunk (a
    warm-up, a checkpoint, a busy machine) does not move the estimate. Of two middle values the lower
    counts: after two chunks that is already the one without the warm-up. Every chunk has one vote
    whatever its number of steps; otherwise one long, slow chunk could outvote the others.
    What happens only in a few chunks, such as a validation now and then, is therefore not counted.

    Args:
        total_steps: the steps of the whole training, or None where nobody knows.

    >>> remaining = RemainingTime(total_steps=1000)
    >>> remaining.add(steps=100, seconds=0.5)
    >>> remaining.seconds(done_steps=100)
    4.5
    """

    def __init__(self, total_steps: int | None) -> None:
        self.total_steps = total_steps
        self._step_times: deque[float] = deque(maxlen=_CHUNKS_REMEMBERED)

    def add(self, steps: int, seconds: float) -> None:
        """Count a chunk of `steps` that took `seconds`; one without steps tells nothing about speed."""
        if steps > 0:
            self._step_times.append(seconds / steps)

    @property
    def step_seconds(self) -> float | None:
        """The seconds a step takes, or None before the first chunk."""
        return median_low(self._step_times) if self._step_times else None

    def seconds(self, done_steps: int) -> float | None:
        """The seconds left after `done_steps`, or None where the total or the speed is unknown."""
        if self.total_steps is None or self.step_seconds is None:
            return None
        return max(0, self.total_steps - done_steps) * self.step_seconds
