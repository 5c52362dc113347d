"""The window of lines: which line of the user reads a tensor, moves one or makes one, and how long it takes.

Only calls that come from outside of torch count: what an optimizer reads by itself is no line of the user's.
"""

from __future__ import annotations

import sys
import weakref
from collections.abc import Callable
from dataclasses import dataclass, field
from statistics import median
from threading import get_ident
from time import perf_counter
from typing import Any, Final

from flatout.profiling.patches import Function, Patches
from flatout.profiling.user_lines import Line, of_torch, user_line

# Methods of a tensor that read its values into Python, and what the user writes to get there.
_READS: Final = {
    "item": "item",
    "tolist": "tolist",
    "numpy": "numpy",
    "__array__": "numpy",
    "__float__": "float",
    "__int__": "int",
    "__index__": "int",
    "__bool__": "bool",
    "__format__": "format",
    "__repr__": "print",
}
_MOVES: Final = ("to", "cpu", "cuda")
_KEPT_AFTER: Final = 3  # steps: a loop holds its last loss until the next


@dataclass
class Loader:
    """A DataLoader as a line of the user iterates over it.

    Attributes:
        workers: its worker processes.
        index_s: where it takes samples one by one from a TensorDataset, the seconds that indexing the tensors
            with a whole batch takes instead; else None.
        batches: how many it gave.
    """

    workers: int
    index_s: float | None
    batches: int = 0


@dataclass
class Seen:
    """What the windows saw.

    Attributes:
        steps: the steps they lasted.
        calls: the seconds of each call, by what was called and where.
        loaders: the DataLoaders, by line.
        kept: losses still alive with their graph steps after their backward, by the line of the backward.
    """

    steps: int = 0
    calls: dict[tuple[str, Line], list[float]] = field(default_factory=dict)
    loaders: dict[Line, Loader] = field(default_factory=dict)
    kept: dict[Line, int] = field(default_factory=dict)


class Lines:
    """Watches the user's lines between `install` and `remove`; what it sees adds up in `seen`."""

    def __init__(self) -> None:
        self.times: list[float] = []
        self.seen = Seen()
        self._patches = Patches()
        self._thread = 0
        self._inside = False
        self._losses: list[tuple[int, Line, weakref.ref[Any]]] = []
        self._now: list[tuple[tuple[str, Line], float]] = []  # of the step that runs

    def install(self, thread: int) -> None:
        """Begin to watch what runs in this thread."""
        import torch
        from torch.utils.data import dataloader

        self._thread = thread
        wrap = self._patches.wrap
        for method, kind in _READS.items():
            wrap(torch.Tensor, method, self._timed(kind))
        for method in _MOVES:
            wrap(torch.Tensor, method, self._timed("move", counts=_moved))
        wrap(torch, "tensor", self._timed("tensor"))
        wrap(torch.Tensor, "backward", self._backward)
        wrap(dataloader._BaseDataLoaderIter, "__next__", self._next)

    def remove(self) -> None:
        """Leave torch as it was."""
        self._patches.restore()
        self._losses.clear()
        self._now.clear()  # what came after the last step belongs to none

    def begin(self) -> None:
        """A step begins."""

    def end(self, seconds: float, *, settled: bool) -> None:
        """The step has ended."""
        if settled:
            self.times.append(seconds)
        self.seen.steps += 1
        for call, took in self._now:
            self.seen.calls.setdefault(call, []).append(took)
        self._now.clear()
        young = []
        for step, line, loss in self._losses:
            if self.seen.steps - step < _KEPT_AFTER:
                young.append((step, line, loss))
            elif (kept := loss()) is not None and kept.grad_fn is not None:
                self.seen.kept[line] = self.seen.kept.get(line, 0) + 1
        self._losses = young

    def _timed(
        self, kind: str, counts: Callable[[Any, tuple[Any, ...]], bool] | None = None
    ) -> Callable[[Function], Function]:
        from torch.compiler import is_compiling

        def make(original: Function) -> Function:
            def timed(*args: Any, **kwargs: Any) -> Any:
                if is_compiling() or self._inside or get_ident() != self._thread:
                    return original(*args, **kwargs)
                caller = sys._getframe(1)
                if of_torch(caller.f_code.co_filename):
                    return original(*args, **kwargs)
                self._inside = True
                began = perf_counter()
                try:
                    result = original(*args, **kwargs)
                finally:
                    took = perf_counter() - began
                    self._inside = False
                if counts is None or counts(result, args):
                    self._now.append(((kind, user_line(caller)), took))
                return result

            return timed

        return make

    def _backward(self, original: Function) -> Function:
        def backward(loss: Any, *args: Any, **kwargs: Any) -> Any:
            if get_ident() == self._thread:
                entry = (self.seen.steps, user_line(sys._getframe(1)), weakref.ref(loss))
                self._losses.append(entry)
            return original(loss, *args, **kwargs)

        return backward

    def _next(self, original: Function) -> Function:
        def following(iterator: Any) -> Any:
            batch = original(iterator)
            if get_ident() == self._thread:
                line = user_line(sys._getframe(1))
                if line not in self.seen.loaders:
                    self.seen.loaders[line] = Loader(iterator._num_workers, _index_seconds(iterator))
                self.seen.loaders[line].batches += 1
            return batch

        return following


def _moved(result: Any, args: tuple[Any, ...]) -> bool:
    return bool(result.device != args[0].device)


def _index_seconds(iterator: Any) -> float | None:
    """The time of `[tensor[indices] for tensor in tensors]` for one batch; draws no random number."""
    import torch
    from torch.utils.data import TensorDataset, default_collate

    dataset = iterator._dataset
    size = getattr(iterator._index_sampler, "batch_size", None)
    plain = type(dataset) is TensorDataset and iterator._collate_fn is default_collate
    if not plain or size is None or not len(dataset):
        return None
    count = min(int(size), len(dataset))
    indices = torch.arange(count) * (len(dataset) // count)
    times = []
    for _ in range(9):
        began = perf_counter()
        for tensor in dataset.tensors:
            tensor[indices]
        times.append(perf_counter() - began)
    return median(times)
