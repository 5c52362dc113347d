"""End a script from within, also one that catches everything."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, Final, NoReturn

from flatout.profiling.module_call import wrap_module_call
from flatout.profiling.patches import Function, Patches

_PATIENCE: Final = 5  # a script may catch what ends it so often, and clean up


class Stopped(BaseException):
    """Ends a script that is to end with the measuring."""


class Stop:
    """Raises `Stopped`, and does so again at each use of torch that follows: it was caught.

    Args:
        enough: ends the process; called where it was caught too often.

    Attributes:
        wanted: the script is to end.
    """

    def __init__(self, enough: Callable[[], None]) -> None:
        self.wanted = False
        self._enough = enough
        self._times = 0
        self._patches = Patches()
        self._handle: Any = None

    def now(self) -> NoReturn:
        """End the script."""
        if not self.wanted:
            self.wanted = True
            self._watch()
        self._times += 1
        if self._times > _PATIENCE:
            self._enough()
        if threading.current_thread() is threading.main_thread():
            raise Stopped
        raise SystemExit  # it ends a thread without a word

    def remove(self) -> None:
        """Leave torch as it was."""
        self._patches.restore()
        if self._handle is not None:
            self._handle.remove()
            self._handle = None

    def _watch(self) -> None:
        import torch
        from torch.optim import optimizer
        from torch.utils.data import dataloader

        wrap_module_call(self._patches, self._again)
        self._patches.wrap(torch.autograd, "backward", self._again)
        self._patches.wrap(dataloader._BaseDataLoaderIter, "__next__", self._again)
        self._handle = optimizer.register_optimizer_step_pre_hook(lambda *_: self.now())

    def _again(self, original: Function) -> Function:
        def again(*args: Any, **kwargs: Any) -> Any:
            self.now()

        return again
