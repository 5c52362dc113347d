"""How long the operators of a step compute, on a CPU.

While a step runs, each of its ATen operators is timed by itself, over and over on the same tensors: once as
it is, and once on tensors of a single element. Both pay the same for being started from here; the difference
is the arithmetic. What the caches hold from the run before makes it, if anything, too small. An operator that
is quicker on one thread than on all spends the difference on threads that wait for each other, as they do for
little work or on a busy machine.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import median
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode

_REPEATS = 10
_HOST_READS = (torch.ops.aten._local_scalar_dense.default, torch.ops.aten.item.default)


@dataclass(frozen=True)
class TimedOperator:
    """An operator of a step.

    Attributes:
        name: for example "aten.addmm.default".
        whole: seconds a call takes.
        start: seconds the same call takes on single elements.
        alone: seconds it takes on one thread.
    """

    name: str
    whole: float
    start: float
    alone: float

    @property
    def compute(self) -> float:
        """Seconds of arithmetic."""
        return max(0.0, min(self.whole, self.alone) - self.start)

    @property
    def waiting(self) -> float:
        """Seconds in which threads wait for each other."""
        return max(0.0, self.whole - max(self.alone, self.start))


def timed_operators(run: Callable[[int], object], budget: float) -> list[TimedOperator]:
    """The operators of one step that start work, in the order they ran.

    Args:
        run: runs so many steps; the model's state may be anything afterwards.
        budget: seconds to spend, about; once they are over, an operator is timed once.
    """
    with _Timer(time.perf_counter() + budget) as timer:
        run(1)
    known = [start for _, _, start, _ in timer.rows if start is not None]
    usual = median(known) if known else 0.0
    return [
        TimedOperator(name, whole, usual if start is None else start, alone)
        for name, whole, start, alone in timer.rows
    ]


class _Timer(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Times each operator that passes; None for a start that could not be timed."""

    def __init__(self, until: float) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.rows: list[tuple[str, float, float | None, float]] = []
        self._until = until
        self._seen: dict[object, tuple[float, float | None, float]] = {}

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func.is_view or func in _HOST_READS:
            return func(*args, **kwargs)
        key = func, _layout((args, kwargs))
        if key not in self._seen:
            self._seen[key] = self._timed(func, args, kwargs)
        self.rows.append((str(func), *self._seen[key]))
        return func(*args, **kwargs)

    def _timed(
        self, func: Any, args: Sequence[Any], kwargs: dict[str, Any]
    ) -> tuple[float, float | None, float]:
        if func._schema.is_mutable:  # it writes to copies: the step itself still has to run
            args, kwargs = pytree.tree_map_only(Tensor, torch.clone, (args, kwargs))
        whole = self._least(func, args, kwargs)
        with _one_thread() as fewer:
            alone = self._least(func, args, kwargs) if fewer else whole
        try:
            return whole, self._least(func, *_single_elements(func, args, kwargs)), alone
        except Exception:  # noqa: BLE001
            return whole, None, alone  # an operator that insists on its sizes

    def _least(self, func: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> float:
        least = float("inf")
        for _ in range(_REPEATS):
            begun = time.perf_counter()
            func(*args, **kwargs)
            now = time.perf_counter()
            least = min(least, now - begun)
            if now > self._until:
                break
        return least


@contextmanager
def _one_thread() -> Iterator[bool]:
    """One thread instead of all; gives whether that is fewer."""
    threads = torch.get_num_threads()
    if threads == 1:
        yield False
        return
    torch.set_num_threads(1)
    try:
        yield True
    finally:
        torch.set_num_threads(threads)


def _layout(arguments: Any) -> str:
    """What makes two calls take the same time."""
    leaves = pytree.tree_leaves(arguments)
    return repr([(x.shape, x.stride(), x.dtype) if isinstance(x, Tensor) else x for x in leaves])


def _single_elements(
    func: Any, args: Sequence[Any], kwargs: dict[str, Any]
) -> tuple[list[Any], dict[str, Any]]:
    """The arguments with every tensor, and every size that is asked for, cut down to one element."""
    names = [argument.name for argument in func._schema.arguments]
    small = [_small(name, value) for name, value in zip(names, args, strict=False)]
    return small, {name: _small(name, value) for name, value in kwargs.items()}


def _small(name: str, value: Any) -> Any:
    is_sizes = isinstance(value, (list, tuple)) and value and all(type(size) is int for size in value)
    if is_sizes and ("size" in name or "shape" in name):
        return [1] * len(value)
    return pytree.tree_map_only(Tensor, _one_element, value)


def _one_element(tensor: Tensor) -> Tensor:
    element = tensor[(slice(0, 1),) * tensor.dim()].clone()
    is_index = not (element.is_floating_point() or element.is_complex() or element.dtype == torch.bool)
    return torch.zeros_like(element) if is_index else element
