"""Marks in the profiler's trace: which part of a step runs, and which layer.

A mark is a range of its own among the profiler's events. A layer is a call of a module; it is named by its
path within the outermost module that was called.
"""

from __future__ import annotations

import sys
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from threading import get_ident
from typing import Any, Final

from flatout.profiling.module_call import wrap_module_call
from flatout.profiling.patches import Function, Patches
from flatout.profiling.user_lines import Line, user_line

MARK: Final = "flatout: "
STEP: Final = MARK + "step"
DATA: Final = MARK + "data"
BACKWARD: Final = MARK + "backward"
LAYER: Final = MARK + "layer "  # and its number among Marks.layers


@dataclass(frozen=True)
class Layer:
    """A module as the script calls it.

    Attributes:
        path: within the outermost module; "" for that one itself.
        kind: the name of its class.
        root: the number of the outermost module among Marks.layers.
        line: of the user's that calls the outermost module.
    """

    path: str
    kind: str
    root: int
    line: Line


class Marks:
    """Marks what runs between `install` and `remove`.

    Attributes:
        layers: all that were called.
        backward_line: a line of the user's that calls `backward`, or None.
    """

    def __init__(self) -> None:
        self.layers: list[Layer] = []
        self.backward_line: Line | None = None
        self._patches = Patches()
        self._thread = 0
        self._depth = 0
        self._root = 0  # the number of the outermost module that runs
        self._numbers: dict[int, tuple[weakref.ref[Any], int, str]] = {}  # of modules, by their id

    def install(self, thread: int) -> None:
        """Begin to mark what runs in this thread."""
        import torch
        from torch.utils.data import dataloader

        self._thread, self._depth = thread, 0
        wrap = self._patches.wrap
        wrap_module_call(self._patches, self._layers)
        for name in ("backward", "grad"):
            wrap(torch.autograd, name, self._marked(BACKWARD, self._at_backward))
        wrap(dataloader.DataLoader, "__iter__", self._marked(DATA))
        wrap(dataloader._BaseDataLoaderIter, "__next__", self._marked(DATA))

    def remove(self) -> None:
        """Leave torch as it was."""
        self._patches.restore()

    def _at_backward(self) -> None:
        if self.backward_line is None:
            self.backward_line = user_line(sys._getframe(2))

    def _marked(self, mark: str, first: Callable[[], None] | None = None) -> Callable[[Function], Function]:
        from torch._C._profiler import _RecordFunctionFast as Range
        from torch.compiler import is_compiling

        def make(original: Function) -> Function:
            def marked(*args: Any, **kwargs: Any) -> Any:
                if get_ident() != self._thread or is_compiling():
                    return original(*args, **kwargs)
                if first is not None:
                    first()
                with Range(mark):
                    return original(*args, **kwargs)

            return marked

        return make

    def _layers(self, original: Function) -> Function:
        # torch.profiler.record_function takes several times as long as the range it is made of.
        from torch._C._profiler import _RecordFunctionFast as Range
        from torch.compiler import is_compiling

        numbers = self._numbers

        def called(module: Any, *args: Any, **kwargs: Any) -> Any:
            if get_ident() != self._thread or is_compiling():
                return original(module, *args, **kwargs)
            known = numbers.get(id(module))
            if known is None or known[0]() is not module:
                known = self._learn(module, sys._getframe(1))
            if not self._depth:
                self._root = self.layers[known[1]].root
            self._depth += 1
            try:
                with Range(known[2]):
                    return original(module, *args, **kwargs)
            finally:
                self._depth -= 1

        return called

    def _learn(self, module: Any, frame: Any) -> tuple[weakref.ref[Any], int, str]:
        """Number a module, and all within it where it is the outermost one."""
        if self._depth:  # it belongs to no module, or was made after the outermost one was called
            self._add(module, f"({type(module).__name__})", self._root, self.layers[self._root].line)
        else:
            root, line = len(self.layers), user_line(frame)
            for path, inner in module.named_modules():
                self._add(inner, path, root, line)
        return self._numbers[id(module)]

    def _add(self, module: Any, path: str, root: int, line: Line) -> None:
        number = len(self.layers)
        self._numbers[id(module)] = weakref.ref(module), number, f"{LAYER}{number}"
        self.layers.append(Layer(path, type(module).__name__, root, line))
