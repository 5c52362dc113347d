"""The window of lines: what lines of the user do with tensors, data and output, and how long it takes.

Only calls that come from outside of torch count: what an optimizer reads by itself is no line of the user's.
"""

from __future__ import annotations

import sys
from threading import get_ident
from time import perf_counter
from typing import Any

from flatout.profiling.module_call import wrap_module_call
from flatout.profiling.patches import Function, Patches
from flatout.profiling.user_lines import outside, user_line, user_modules
from flatout.profiling.watch.calls import Calls
from flatout.profiling.watch.loaders import Loaders
from flatout.profiling.watch.losses import Losses
from flatout.profiling.watch.output import watch_output
from flatout.profiling.watch.passes import Passes
from flatout.profiling.watch.seen import Seen
from flatout.profiling.watch.tensors import watch_tensors


class Lines:
    """Watches the user's lines between `install` and `remove`; what it sees adds up in `seen`.

    Args:
        passes: sees the calls of models.
    """

    def __init__(self, passes: Passes) -> None:
        self.times: list[float] = []
        self.seen = Seen()
        self._passes = passes
        self._patches = Patches()
        self._calls = Calls(self.seen)
        self._losses = Losses(self.seen)
        self._loaders = Loaders(self.seen.loaders)
        self._thread = 0
        self._in_model = False

    def install(self, thread: int) -> None:
        """Begin to watch what runs in this thread."""
        import torch

        self._thread = self._calls.thread = self._losses.thread = self._loaders.thread = thread
        self._calls.prepare()
        watch_tensors(self._patches, self._calls, self.seen, lambda: self._in_model)
        watch_output(self._patches, self._calls)
        self._patches.wrap_by_name(user_modules())
        self._losses.watch(self._patches)
        self._loaders.watch(self._patches)
        wrap_module_call(self._patches, self._model)
        for owner in (torch.nn.Module, torch.optim.Optimizer):
            self._patches.wrap(owner, "zero_grad", self._zero_grad)

    def remove(self) -> None:
        """Leave torch as it was."""
        self._patches.restore()
        self._losses.forget()
        self._calls.forget()

    def begin(self) -> None:
        """A step begins."""

    def end(self, seconds: float, *, settled: bool) -> None:
        """The step has ended."""
        if settled:
            self.times.append(seconds)
        self.seen.steps += 1
        self._calls.end_step()
        self._losses.end_step()
        self._passes.end_step(seconds)

    def _model(self, original: Function) -> Function:
        from torch.compiler import is_compiling

        def call(*args: Any, **kwargs: Any) -> Any:
            if self._in_model or get_ident() != self._thread or is_compiling():
                return original(*args, **kwargs)
            self._in_model = True
            began = perf_counter()
            try:
                result = original(*args, **kwargs)
            finally:
                took = perf_counter() - began
                self._in_model = False
            self._passes.look(args, result, outside(sys._getframe(1)), took)
            return result

        return call

    def _zero_grad(self, original: Function) -> Function:
        def zero_grad(owner: Any, set_to_none: bool = True) -> None:
            if not set_to_none and get_ident() == self._thread:
                line = user_line(sys._getframe(1))
                self.seen.zeroed[line] = self.seen.zeroed.get(line, 0) + 1
            original(owner, set_to_none)

        return zero_grad
