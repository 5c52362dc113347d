"""Lets the windows follow each other while a script makes its steps: bare, lines, trace, bare, lines, …

A window is what watches some steps (`Window`); `boundaries` says where they end. No two windows are ever open
at once, and torch is as it was when all have closed, but for what waits for a better boundary.
"""

from __future__ import annotations

import os
import sys
import weakref
from collections.abc import Callable, Iterator
from itertools import count
from threading import get_ident
from time import perf_counter, time
from typing import Final, Protocol

from flatout.errors import FlatoutError
from flatout.profiling.boundaries import OPTIMIZER, Boundaries
from flatout.profiling.lines import Lines
from flatout.profiling.plain import Plain
from flatout.profiling.stamps import Stamps
from flatout.profiling.stopping import Stop
from flatout.profiling.subject import SubjectWindow
from flatout.profiling.tracing.window import STEPS, Trace
from flatout.profiling.watch.passes import Passes

WARM_UP: Final = 3
SETTLING: Final = 2  # steps: Python specialises its code anew when functions of torch have been replaced
_SUBJECT: Final = 2  # steps: what experiments copy is of the last one; first within the warm-up
_FIRST: Final = (7, 6)  # steps of the first windows, bare and lines: 20 steps are enough for both
_LATER: Final = (31, 17)  # of those that follow; primes, so as not to keep time with what the script does
_PLAIN: Final = 19  # of a window without stamps, which
_PLAIN_IN: Final = (1, 2, 3)  # these rounds have: what happens seldom is seen only by the others
_TRACED: Final = (0, 2)  # the rounds of bare and lines that a trace follows: to start a profiler takes time


_at_work: list[Recorder] = []  # one, or none


Order = Callable[[], Iterator[tuple[str, int]]]


class Window(Protocol):
    """Watches the steps between `install` and `remove`; it may be installed again and again.

    Attributes:
        times: seconds of each step it watched, without those that settle.
    """

    times: list[float]

    def install(self, thread: int) -> None:
        """Begin to watch what runs in this thread."""

    def remove(self) -> None:
        """Leave torch as it was."""

    def begin(self) -> None:
        """A step begins."""

    def end(self, seconds: float, *, settled: bool) -> None:
        """The step that began took so long; it counts where it is settled."""


class Recorder:
    """Measures a script while it runs.

    Args:
        limit: measuring ends after so many steps.
        stop: ends the script then, or None.
        windows: their names and how many steps each lasts, in order.

    Attributes:
        steps: the steps seen.
        bare: time stamps. All times of the report come from here, less what `plain` tells that stamps take.
        plain: steps without stamps.
        lines: which lines of the user do what with tensors.
        subject: what experiments need of the script.
        trace: what the profiler records of a few steps.
        numbers: which step of the script each one of `bare.steps` was, counted from 1.
        passes: how models were called, in every window.
        warm_at, ended_at: when the warm-up and the measuring ended, by `time.time`.
        boundaries: where steps end.
        backwards: calls of backward in each step; `in_closure` of all of them ran within the optimizer.
        profilers: others that were seen at work.
    """

    def __init__(self, limit: int, *, stop: Stop | None = None, windows: Order | None = None) -> None:
        self._windows_in_order = windows or _order
        self._limit, self._stop = limit, stop
        self._thread: int | None = None
        self._process = os.getpid()
        self.boundaries = Boundaries(self)
        self._start()
        at_fork = weakref.WeakMethod(self.close)
        os.register_at_fork(after_in_child=lambda: (close := at_fork()) and close())

    def _start(self) -> None:
        """Nothing was measured."""
        self.steps = 0
        self.backwards: list[int] = []
        self.in_closure = 0
        self.profilers: set[str] = set()
        self.warm_at = self.ended_at = 0.0
        self.passes = Passes()
        self.bare, self.lines, self.trace = Stamps(self.passes), Lines(self.passes), Trace()
        self.subject, self.plain = SubjectWindow(), Plain()
        self.numbers: list[int] = []
        self._windows: dict[str, Window] = {
            "bare": self.bare,
            "lines": self.lines,
            "trace": self.trace,
            "subject": self.subject,
            "plain": self.plain,
        }
        self._began: float | None = None
        self._order = self._windows_in_order()
        self._window: Window | None = None
        self._left = WARM_UP - _SUBJECT
        self._settling = 0
        self._done = False

    @property
    def here(self) -> bool:
        """Whether this is the process it was made in, and not a fork of it."""
        return os.getpid() == self._process

    @property
    def device(self) -> str | None:
        """The type of the device where the model lies, or None."""
        return self.boundaries.device

    def install(self) -> None:
        """Hear of the steps; torch must be loaded.

        Raises:
            FlatoutError: another recorder is at work in this process.
        """
        if _at_work:
            raise FlatoutError(
                "another profile runs in this process, and two would measure each other; end it first, or "
                "run the script without flatout profile"
            )
        _at_work.append(self)
        self.boundaries.install()
        self.trace.watch()

    def close(self) -> None:
        """End all measuring and leave torch as it was."""
        self.ended_at = self.ended_at or time()
        self._done = True
        self.boundaries.remove()
        self._close_window()
        self.trace.unwatch()
        if self in _at_work:
            _at_work.remove(self)
        if self._stop is not None:
            self._stop.remove()

    def optimizer_begins(self) -> None:
        if not self._done:
            self.bare.optimizer_begins()

    def optimizer_ends(self, now: float) -> None:
        self.bare.optimizer_ends(now)

    def starts_over(self) -> None:
        self.boundaries.lift()
        self._close_window()
        self.trace.unwatch()
        self._start()
        self.trace.watch()
        self.boundaries.lay()

    def leader_changes(self) -> None:
        self._began = None
        if self._window is not None and self._thread != self.boundaries.thread:
            self._switch()

    def step_ends(self, now: float) -> None:
        self.steps += 1
        if self._began is not None:
            self._record(now - self._began)
        self.boundaries.backwards = self.boundaries.in_closure = 0
        self._settling = max(0, self._settling - 1)
        self._left -= 1
        if self.steps >= self._limit:
            self._end()
        elif self._left == 0:
            self._switch()
        if self._window is not None:
            self._window.begin()
        self._began = perf_counter()  # nothing of the above is in the next step

    def _record(self, seconds: float) -> None:
        if self._window is not self.plain:
            self.backwards.append(self.boundaries.backwards)
            self.in_closure += self.boundaries.in_closure
        if self._window is not None:
            self._window.end(seconds, settled=not self._settling)
            if len(self.bare.steps) > len(self.numbers):
                self.numbers.append(self.steps)
            if len(self.plain.times) > len(self.plain.numbers):
                self.plain.numbers.append(self.steps)

    def _end(self) -> None:
        """A better boundary may still come, and all begins anew."""
        self.ended_at = time()
        self._done = True
        self.boundaries.lift()
        self._close_window()
        self.boundaries.rest()
        if self._stop is not None and not self.boundaries.better_may_come():
            self._stop.now()

    def _switch(self) -> None:
        self.boundaries.lift()
        self._close_window()
        self.warm_at = self.warm_at or time()
        self.profilers |= _profilers()
        name, self._left = next(self._order)
        self._settling = SETTLING
        window = self._windows[name]
        self._thread = self.boundaries.thread or get_ident()
        window.install(self._thread)
        self._window = window
        if name != "plain" or self.boundaries.kind != OPTIMIZER:
            self.boundaries.lay()

    def _close_window(self) -> None:
        if self._window is not None:
            self._window.remove()
            self._window = None


def _profilers() -> set[str]:
    """The profilers and tracers that run in this thread."""
    import torch

    at_work = {
        "sys.setprofile": sys.getprofile() is not None,
        "sys.settrace": sys.gettrace() is not None,
        "torch.profiler": torch._C._autograd._profiler_enabled(),
    }
    return {name for name, works in at_work.items() if works}


def _order() -> Iterator[tuple[str, int]]:
    """The windows and their steps; the first of them ends the warm-up."""
    bare, lines = _FIRST
    for round_ in count():
        yield "subject", _SUBJECT
        yield "bare", bare
        if round_ in _PLAIN_IN:
            yield "plain", _PLAIN
        yield "lines", lines
        if round_ in _TRACED:
            yield "trace", STEPS
        bare, lines = _LATER
