"""The bare window: time stamps around data, forward, backward and optimizer, and nothing else."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from threading import get_ident
from time import perf_counter
from types import FrameType
from typing import Any, Final

from flatout.profiling.module_call import wrap_module_call
from flatout.profiling.patches import Function, Patches
from flatout.profiling.user_lines import outside, user_modules
from flatout.profiling.watch.passes import Passes

After = Callable[[tuple[Any, ...], Any, FrameType, float], None]
"""Looks at the arguments, the result, the caller and the seconds of a call that has ended."""

PARTS: Final = ("data", "forward", "backward", "optimizer", "rest")


@dataclass(frozen=True)
class StepTime:
    """The seconds of one step; the parts add up to it, since the rest is what no other part took.

    Attributes:
        started: a DataLoader started workers in it.
    """

    total: float
    data: float
    forward: float
    backward: float
    optimizer: float
    started: bool = False

    def without(self, times: float) -> StepTime:
        """The step as it is where nothing makes it so many times as long."""
        return StepTime(
            self.total / times,
            self.data / times,
            self.forward / times,
            self.backward / times,
            self.optimizer / times,
            self.started,
        )

    @property
    def rest(self) -> float:
        """What passes between the parts: Python, and tensors worked on outside of any module."""
        return self.total - self.data - self.forward - self.backward - self.optimizer


class Stamps:
    """Adds up the time of the parts since `begin`.

    The outermost part counts: a forward that a checkpoint repeats within backward is backward. Only an
    optimizer leaves to its closure what is the closure's.

    Args:
        passes: sees the calls of models.

    Attributes:
        steps: the settled steps; one that ends within a part is left out, for the part belongs to two.
    """

    def __init__(self, passes: Passes) -> None:
        self.times: list[float] = []
        self._passes = passes
        self.steps: list[StepTime] = []
        self._patches = Patches()
        self._thread = 0
        self.open = False  # a part is running
        self._seconds = {"data": 0.0, "forward": 0.0, "backward": 0.0}
        self._optimizer = 0.0
        self._optimizer_began: float | None = None
        self._before_optimizer = 0.0
        self._started = False

    def install(self, thread: int) -> None:
        """Begin to stamp what runs in this thread."""
        import torch
        from torch.utils.data import dataloader

        self._thread = thread
        wrap = self._patches.wrap
        wrap_module_call(self._patches, self._timed("forward", self._passes.look))
        wrap(torch.autograd, "backward", self._timed("backward"))
        wrap(torch.autograd, "grad", self._timed("backward"))
        wrap(dataloader.DataLoader, "__iter__", self._timed("data", self._epoch))
        wrap(dataloader._BaseDataLoaderIter, "__next__", self._timed("data"))
        self._patches.wrap_by_name(user_modules())

    def remove(self) -> None:
        """Leave torch as it was."""
        self._patches.restore()
        self._optimizer_began = None

    def begin(self) -> None:
        """A step begins."""
        self._seconds.update(data=0.0, forward=0.0, backward=0.0)
        self._optimizer = 0.0
        self._started = False

    def end(self, seconds: float, *, settled: bool) -> None:
        """The step has ended."""
        self._passes.end_step(seconds)
        if settled and not self.open:
            self.times.append(seconds)
            self.steps.append(
                StepTime(seconds, optimizer=self._optimizer, started=self._started, **self._seconds)
            )

    def optimizer_begins(self) -> None:
        """An optimizer begins its step."""
        self._before_optimizer = sum(self._seconds.values())
        self._optimizer_began = None if self.open else perf_counter()

    def optimizer_ends(self, now: float) -> None:
        """It has ended it."""
        if self._optimizer_began is not None:
            nested = sum(self._seconds.values()) - self._before_optimizer
            self._optimizer += now - self._optimizer_began - nested
            self._optimizer_began = None

    def _epoch(self, args: tuple[Any, ...], result: Any, caller: FrameType, seconds: float) -> None:
        loader = args[0]
        self._started |= loader.num_workers > 0 and not loader.persistent_workers

    def _timed(self, part: str, after: After | None = None) -> Callable[[Function], Function]:
        from torch.compiler import is_compiling

        seconds = self._seconds

        def make(original: Function) -> Function:
            def timed(*args: Any, **kwargs: Any) -> Any:
                # The most frequent first: a module within a module.
                if self.open or get_ident() != self._thread or is_compiling():
                    return original(*args, **kwargs)
                self.open = True
                began = perf_counter()
                try:
                    result = original(*args, **kwargs)
                finally:
                    took = perf_counter() - began
                    seconds[part] += took
                    self.open = False
                if after is not None:
                    after(args, result, outside(sys._getframe(1)), took)
                return result

            return timed

        return make
