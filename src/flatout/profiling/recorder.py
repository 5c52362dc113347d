"""Tells the steps of a script apart, and lets the windows follow each other: bare, lines, bare, lines, …

A window is what watches some steps (`Window`).

A step ends where the leading optimizer has stepped: the first that does, until it is silent while others
make eight steps. No two windows are ever open at once, and torch is as it was when all have closed.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from threading import get_ident
from time import perf_counter
from typing import Any, Final, Protocol

from flatout.profiling.lines import Lines
from flatout.profiling.stamps import Stamps

WARM_UP: Final = 3
SETTLING: Final = 2  # steps: Python specialises its code anew when functions of torch have been replaced
_FIRST: Final = (10, 7)  # steps of the first windows, bare and lines
_LATER: Final = (31, 17)  # of those that follow; primes, so as not to keep time with what the script does
_SILENT: Final = 8


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


class Stopped(BaseException):
    """Ends a script that is to end with the measuring."""


class Recorder:
    """Measures a script while it runs.

    Args:
        limit: measuring ends after so many steps.
        stop: the script ends then.

    Attributes:
        steps: the steps seen.
        bare: time stamps. All times of the report come from here.
        lines: which lines of the user do what with tensors.
        optimizers: the class names of the optimizers that stepped.
        numbers: which step of the script each one of `bare.steps` was, counted from 1.
        device: where the parameters of the leading optimizer lie, or None.
    """

    def __init__(self, limit: int, *, stop: bool) -> None:
        self.steps = 0
        self.optimizers: dict[int, str] = {}
        self.device: str | None = None
        self._limit, self._stop = limit, stop
        self.bare, self.lines = Stamps(), Lines()
        self.numbers: list[int] = []
        self._windows: dict[str, Window] = {"bare": self.bare, "lines": self.lines}
        self._handles: list[Any] = []
        self._done = False
        self._process = os.getpid()
        self._thread: int | None = None
        self._leader: int | None = None
        self._silent = 0
        self._began: float | None = None
        self._order = _order()
        self._window: Window | None = None
        self._left = WARM_UP
        self._settling = 0

    @property
    def here(self) -> bool:
        """Whether this is the process it was made in, and not a fork of it."""
        return os.getpid() == self._process

    def install(self) -> None:
        """Hear of the steps of every optimizer; torch must be loaded."""
        from torch.optim import optimizer

        self._handles = [
            optimizer.register_optimizer_step_pre_hook(self._before),
            optimizer.register_optimizer_step_post_hook(self._after),
        ]

    def close(self) -> None:
        """End all measuring and leave torch as it was."""
        self._end()
        for handle in self._handles:
            handle.remove()
        self._handles.clear()

    def _end(self) -> None:
        """The hooks stay, for torch goes through them at this moment; they do nothing more."""
        self._done = True
        self._close_window()

    def _before(self, optimizer: Any, args: Any, kwargs: Any) -> None:
        if not self._done and get_ident() == self._thread:
            self.bare.optimizer_begins()

    def _after(self, optimizer: Any, args: Any, kwargs: Any) -> None:
        now = perf_counter()
        if self._done:
            return
        if self._thread is None:
            self._thread = get_ident()
        if get_ident() != self._thread or not self.here:
            return
        self.bare.optimizer_ends(now)
        if self._leads(optimizer):
            self._step(now)
            if self.steps >= self._limit and self._stop:
                raise Stopped

    def _leads(self, optimizer: Any) -> bool:
        self.optimizers.setdefault(id(optimizer), type(optimizer).__name__)
        if self._leader is not None and id(optimizer) != self._leader and self._silent < _SILENT:
            self._silent += 1
            return False
        if id(optimizer) != self._leader:
            self._began = None  # what has passed is no step of the new leader's
            self._leader = id(optimizer)
            self.device = _device(optimizer)
        self._silent = 0
        return True

    def _step(self, now: float) -> None:
        self.steps += 1
        if self._began is not None:
            self._record(now - self._began)
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
        if self._window is not None:
            self._window.end(seconds, settled=not self._settling)
            if len(self.bare.steps) > len(self.numbers):
                self.numbers.append(self.steps)

    def _switch(self) -> None:
        self._close_window()
        name, self._left = next(self._order)
        self._settling = SETTLING
        window = self._windows[name]
        window.install(self._thread or get_ident())
        self._window = window

    def _close_window(self) -> None:
        if self._window is not None:
            self._window.remove()
            self._window = None


def _order() -> Iterator[tuple[str, int]]:
    """The windows and their steps, after the warm-up."""
    bare, lines = _FIRST
    while True:
        yield "bare", bare
        yield "lines", lines
        bare, lines = _LATER


def _device(optimizer: Any) -> str | None:
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            return str(parameter.device.type)
    return None
