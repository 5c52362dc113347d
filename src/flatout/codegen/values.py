"""What a node is while it is lowered: stored in a buffer, or a formula that is put where it is used."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence

from flatout.codegen.nest import Affine, Expr, View

Index = tuple[Affine, ...]


class Value(ABC):
    """A tensor.

    Attributes:
        shape: its sizes.
        dtype: its element type.
        batch_axis: which axis counts the samples, or None. In buffers it is the one that varies fastest.
    """

    shape: tuple[int, ...]
    dtype: str
    batch_axis: int | None

    @abstractmethod
    def at(self, index: Sequence[Affine]) -> Expr:
        """The element at `index`."""

    @property
    def size(self) -> int:
        """How many elements."""
        return math.prod(self.shape)


class Stored(Value):
    """A tensor that lies in a buffer."""

    def __init__(self, view: View, batch_axis: int | None) -> None:
        self.view = view
        self.shape = view.shape
        self.dtype = view.buffer.dtype
        self.batch_axis = batch_axis

    def at(self, index: Sequence[Affine]) -> Expr:
        return self.view.load(index)


class Lazy(Value):
    """A tensor that is a formula of its index; the same element gives the same expression.

    `cost` is a rough count of operations an element takes.
    """

    def __init__(
        self,
        shape: Sequence[int],
        dtype: str,
        formula: Callable[[Index], Expr],
        *,
        cost: int,
        batch_axis: int | None,
    ) -> None:
        self.shape = tuple(shape)
        self.dtype = dtype
        self.cost = cost
        self.batch_axis = batch_axis
        self._formula = formula
        self._known: dict[tuple[object, ...], Expr] = {}

    def at(self, index: Sequence[Affine]) -> Expr:
        key = tuple(i.key() for i in index)
        if key not in self._known:
            self._known[key] = self._formula(tuple(index))
        return self._known[key]


def broadcast(value: Value, shape: Sequence[int]) -> Callable[[Index], Expr]:
    """The elements of `value` by an index into the larger `shape`."""
    lead = len(shape) - len(value.shape)
    fixed = [size == 1 and shape[lead + axis] != 1 for axis, size in enumerate(value.shape)]

    def at(index: Index) -> Expr:
        return value.at([Affine() if f else i for f, i in zip(fixed, index[lead:], strict=True)])

    return at


def broadcast_axis(values: Sequence[Value], shape: Sequence[int]) -> int | None:
    """The axis of `shape` that counts the samples, from the values that are broadcast to it."""
    for value in values:
        if value.batch_axis is not None:
            axis = value.batch_axis + len(shape) - len(value.shape)
            if shape[axis] == value.shape[value.batch_axis]:
                return axis
    return None


def reshaped_axis(value: Value, shape: Sequence[int]) -> int | None:
    """Where the axis of the samples is after a reshape; None where it is merged with another."""
    axis = value.batch_axis
    if axis is None:
        return None
    before, size = math.prod(value.shape[:axis]), value.shape[axis]
    product = 1
    for position, extent in enumerate(shape):
        if product == before and extent == size:
            return position
        product *= extent
    return None


def reshaped_strides(
    shape: Sequence[int], strides: Sequence[int], target: Sequence[int]
) -> tuple[int, ...] | None:
    """Strides with which the same elements have the shape `target`; None where there are none.

    The rule is that of `torch.Tensor.view`: runs of axes that lie behind each other can be cut anew.
    """
    kept = [(size, stride) for size, stride in zip(shape, strides, strict=True) if size != 1]
    result: list[int] = []
    position = 0
    pending: list[int] = []

    runs: list[tuple[int, int]] = []  # merged (size, innermost stride)
    for size, stride in kept:
        if runs and runs[-1][1] == size * stride:
            runs[-1] = (runs[-1][0] * size, stride)
        else:
            runs.append((size, stride))
    for size in target:
        if size == 1:
            pending.append(len(result))
            result.append(0)
            continue
        if position >= len(runs):
            return None
        whole, stride = runs[position]
        if whole % size:
            return None
        rest = whole // size
        result.append(stride * rest)
        if rest == 1:
            position += 1
        else:
            runs[position] = (rest, stride)
    return tuple(result) if position == len(runs) else None
