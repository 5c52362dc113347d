"""The lowerings of views, where the index is changed and no element is, and of joining and picking."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from torch import fx

from flatout.codegen.lower import (
    Lowerer,
    NotLoweredError,
    Operand,
    aten,
    describe,
    lowers,
    result_of,
)
from flatout.codegen.nest import (
    Affine,
    Expr,
    IndexValue,
    View,
    apply,
    convert,
    number,
)
from flatout.codegen.operators import constant
from flatout.codegen.values import (
    Index,
    Lazy,
    Stored,
    Value,
    broadcast_axis,
    reshaped_axis,
    reshaped_strides,
)


def _reindexed(
    value: Value,
    shape: Sequence[int],
    index_of: Callable[[Index], Sequence[Affine]],
    batch_axis: int | None,
) -> Value:
    cost = value.cost if isinstance(value, Lazy) else 0
    return Lazy(shape, value.dtype, lambda index: value.at(index_of(index)), cost=cost, batch_axis=batch_axis)


@lowers(aten.permute.default)
def _permute(low: Lowerer, node: fx.Node, args: list[Operand], kwargs: dict[str, Operand]) -> Operand:
    value, shape = low.value(args[0]), result_of(node)[0]
    order = [axis % len(shape) for axis in args[1]]
    batch_axis = None if value.batch_axis is None else order.index(value.batch_axis)
    if isinstance(value, Stored):
        strides = tuple(value.view.strides[axis] for axis in order)
        return Stored(View(value.view.buffer, shape, strides, value.view.offset), batch_axis)
    return _reindexed(
        value, shape, lambda index: [index[order.index(axis)] for axis in range(len(order))], batch_axis
    )


@lowers(aten.expand.default)
def _expand(low: Lowerer, node: fx.Node, args: list[Operand], kwargs: dict[str, Operand]) -> Operand:
    value, shape = low.value(args[0]), result_of(node)[0]
    batch_axis = low.likely_axis(shape, broadcast_axis([value], shape))
    return _reindexed(value, shape, lambda index: _read(value, shape, index), batch_axis)


def _read(value: Value, shape: Sequence[int], index: Index) -> list[Affine]:
    lead = len(shape) - len(value.shape)
    return [
        Affine() if size == 1 and shape[lead + axis] != 1 else index[lead + axis]
        for axis, size in enumerate(value.shape)
    ]


@lowers(
    aten.view.default,
    aten._unsafe_view.default,
    aten.reshape.default,
    aten.unsqueeze.default,
    aten.squeeze.dims,
    aten.squeeze.dim,
)
def _view(low: Lowerer, node: fx.Node, args: list[Operand], kwargs: dict[str, Operand]) -> Operand:
    value, shape = low.value(args[0]), result_of(node)[0]
    batch_axis = reshaped_axis(value, shape)
    kept = [axis for axis, size in enumerate(value.shape) if size != 1]
    new = [axis for axis, size in enumerate(shape) if size != 1]
    if [value.shape[a] for a in kept] == [shape[a] for a in new] and not isinstance(value, Stored):
        # Only axes of one element come or go.
        where = dict(zip(kept, new, strict=True))
        return _reindexed(
            value,
            shape,
            lambda index: [index[where[a]] if a in where else Affine() for a in range(len(value.shape))],
            batch_axis,
        )
    stored = low.operand_in_memory(node.args[0])  # type: ignore[arg-type]
    strides = reshaped_strides(stored.shape, stored.view.strides, shape)
    if strides is None:
        stored = _contiguous_copy(low, node, stored)
        strides = reshaped_strides(stored.shape, stored.view.strides, shape)
        assert strides is not None
    return Stored(View(stored.view.buffer, shape, strides, stored.view.offset), batch_axis)


def _contiguous_copy(low: Lowerer, node: fx.Node, value: Stored) -> Stored:
    plain = Lazy(value.shape, value.dtype, value.at, cost=1, batch_axis=None)
    return low.stored(plain, f"{node.name}_rows", describe(node))


@lowers(aten.select.int)
def _select(low: Lowerer, node: fx.Node, args: list[Operand], kwargs: dict[str, Operand]) -> Operand:
    value = low.value(args[0])
    axis = args[1] % len(value.shape)
    at = args[2] % value.shape[axis]
    shape = result_of(node)[0]
    batch_axis = None
    if value.batch_axis is not None and value.batch_axis != axis:
        batch_axis = value.batch_axis - (value.batch_axis > axis)
    if isinstance(value, Stored):
        view = value.view
        strides = view.strides[:axis] + view.strides[axis + 1 :]
        return Stored(View(view.buffer, shape, strides, view.offset + at * view.strides[axis]), batch_axis)
    return _reindexed(value, shape, lambda index: [*index[:axis], Affine((), at), *index[axis:]], batch_axis)


@lowers(aten.slice.Tensor)
def _slice(low: Lowerer, node: fx.Node, args: list[Operand], kwargs: dict[str, Operand]) -> Operand:
    value, shape = low.value(args[0]), result_of(node)[0]
    options: list[Any] = [*args[1:], *(0, None, None, 1)[len(args) - 1 :]]
    axis, start, _, step = options
    axis, step = axis % len(shape), 1 if step is None else step
    size = value.shape[axis]
    start = 0 if start is None else max(0, start + size if start < 0 else min(start, size))
    batch_axis = value.batch_axis
    if isinstance(value, Stored):
        view = value.view
        strides = tuple(s * step if a == axis else s for a, s in enumerate(view.strides))
        return Stored(View(view.buffer, shape, strides, view.offset + start * view.strides[axis]), batch_axis)
    return _reindexed(
        value,
        shape,
        lambda index: [i * step + start if a == axis else i for a, i in enumerate(index)],
        batch_axis,
    )


@lowers(aten.cat.default)
def _cat(low: Lowerer, node: fx.Node, args: list[Operand], kwargs: dict[str, Operand]) -> Operand:
    shape, dtype = result_of(node)
    axis = (args[1] if len(args) > 1 else kwargs.get("dim", 0)) % len(shape)
    parts = [low.value(part) for part in args[0]]
    if len(parts) > 64:
        raise NotLoweredError(f"aten.cat of {len(parts)} tensors in {describe(node)}")

    def element(index: Index) -> Expr:
        position = IndexValue(index[axis])
        start = shape[axis]
        result: Expr | None = None
        for part in reversed(parts):
            start -= part.shape[axis]
            moved = [i + (-start) if a == axis else i for a, i in enumerate(index)]
            value = convert(part.at(moved), dtype)
            if result is None:
                result = value
            else:
                inside = apply("lt", position, number(start + part.shape[axis], "int64"), dtype="bool")
                result = apply("choose", inside, value, result, dtype=dtype)
        assert result is not None
        return result

    return Lazy(shape, dtype, element, cost=3, batch_axis=broadcast_axis(parts, shape))


@lowers(aten.gather.default)
def _gather(low: Lowerer, node: fx.Node, args: list[Operand], kwargs: dict[str, Operand]) -> Operand:
    source, indices = low.value(args[0]), low.value(args[2])
    shape, dtype = result_of(node)
    axis = args[1] % len(shape)

    def element(index: Index) -> Expr:
        where = Affine.of(indices.at(index))
        return source.at([where if a == axis else i for a, i in enumerate(index)])

    return Lazy(shape, dtype, element, cost=4, batch_axis=indices.batch_axis)


@lowers(aten.scatter.value)
def _scatter(low: Lowerer, node: fx.Node, args: list[Operand], kwargs: dict[str, Operand]) -> Operand:
    base, indices, value = low.value(args[0]), low.value(args[2]), args[3]
    shape, dtype = result_of(node)
    axis = args[1] % len(shape)
    if indices.shape[axis] != 1 or any(a != axis and indices.shape[a] != shape[a] for a in range(len(shape))):
        raise NotLoweredError(f"aten.scatter of several values a row in {describe(node)}")

    def element(index: Index) -> Expr:
        there = indices.at([Affine() if a == axis else i for a, i in enumerate(index)])
        hit = apply("eq", convert(IndexValue(index[axis]), there.dtype), there, dtype="bool")
        return apply("where", hit, constant(value, dtype), base.at(index), dtype=dtype)

    return Lazy(shape, dtype, element, cost=2, batch_axis=broadcast_axis([base, indices], shape))
