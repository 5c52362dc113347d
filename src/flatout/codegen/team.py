"""How many threads run the steps: one or all, whichever is faster at the moment."""

from __future__ import annotations

import math

_TRIALS = 2  # of each
_TRIAL_SECONDS = 5e-3  # long beside the start of a thread and the waking of a core
_LOOK_AGAIN = 0.5  # seconds of steps, after which another program may have taken the cores, or left them


class Team:
    """Tells how many threads take the next steps, and learns from how long they took.

    What steps compute does not depend on it, so it may change at any time.

    Args:
        threads: how many there are at most.
    """

    def __init__(self, threads: int) -> None:
        self.threads = threads
        self._pending: list[int] = []
        self._best = threads
        self._seconds: dict[int, float] = {}
        self._left = 0.0
        self._count = 4

    def next(self, steps: int) -> tuple[int, int]:
        """How many threads take how many of the next `steps` steps."""
        if self.threads == 1:
            return 1, steps
        if not self._pending and self._left <= 0:
            self._pending = [1, self.threads] * _TRIALS
            self._seconds = {}
        if self._pending:
            return self._pending[0], min(steps, self._count)
        fastest = self._seconds[self._best]
        return self._best, min(steps, max(1, math.ceil(self._left / fastest)))

    def note(self, threads: int, steps: int, seconds: float) -> None:
        """Learn that `threads` threads took so many seconds for so many steps."""
        if self.threads == 1:
            return
        if not self._pending:
            self._left -= seconds
            return
        self._pending.pop(0)
        each = max(seconds / steps, 1e-9)
        self._seconds[threads] = min(each, self._seconds.get(threads, math.inf))
        self._count = max(1, math.ceil(_TRIAL_SECONDS / each))
        if not self._pending:
            self._best = min(self._seconds, key=self._seconds.__getitem__)
            self._left = _LOOK_AGAIN
