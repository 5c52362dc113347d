"""The lowerings of operators that pick elements by tensors of indices, or put them there."""

from __future__ import annotations

import math
from collections.abc import Callable

from torch import fx

from flatout.codegen.lower import (
    LOWERINGS,
    Lowerer,
    NotLoweredError,
    Operand,
    aten,
    describe,
    lowers,
    result_of,
)
from flatout.codegen.nest import FLOATS, Affine, Apply, Expr, IndexValue, Number, apply, convert, number
from flatout.codegen.operators import elementwise, reduced
from flatout.codegen.values import Index, Lazy, Value, broadcast, broadcast_axis

Kwargs = dict[str, Operand]

# Putting compares every element with every index; with more comparisons than this it would be slow.
_MOST_COMPARISONS = 1 << 22


@lowers(aten.index.Tensor)
def _index(low: Lowerer, node: fx.Node, args: list[Operand], kwargs: Kwargs) -> Operand:
    """Elements by tensors of indices; where those stand in a row, their axes come there, else first."""
    source, shape = low.value(args[0]), result_of(node)[0]
    chosen = {axis: low.value(i) for axis, i in enumerate(args[1]) if i is not None}
    if any(i.dtype == "bool" for i in chosen.values()):
        raise NotLoweredError(f"indexing by a mask, whose shape depends on the data, in {describe(node)}")
    axes = sorted(chosen)
    together = axes == list(range(axes[0], axes[-1] + 1))
    start = axes[0] if together else 0
    rank = max(len(i.shape) for i in chosen.values())

    def element(index: Index) -> Expr:
        inner, rest = index[start : start + rank], [*index[:start], *index[start + rank :]]
        moved: list[Affine] = []
        for axis, size in enumerate(source.shape):
            if axis not in chosen:
                moved.append(rest.pop(0))
                continue
            own = chosen[axis]
            at = [
                Affine() if extent == 1 else i
                for extent, i in zip(own.shape, inner[rank - len(own.shape) :], strict=True)
            ]
            moved.append(Affine.of(_from_end(own.at(at), size)))
        return source.at(moved)

    batch_axis = None
    for own in chosen.values():
        if own.batch_axis is not None:
            batch_axis = start + rank - len(own.shape) + own.batch_axis
    return Lazy(shape, source.dtype, element, cost=6, batch_axis=batch_axis)


def _from_end(index: Expr, size: int) -> Expr:
    """The index; a negative one counts from the end."""
    if isinstance(index, Number):
        return number(int(index.value) % size, "int64")
    if isinstance(index, IndexValue):
        return index
    zero, extent = number(0, index.dtype), number(size, index.dtype)
    negative = apply("lt", index, zero, dtype="bool")
    return Apply("where", (negative, apply("add", index, extent, dtype=index.dtype), index), index.dtype)


@lowers(aten.index_put.default)
def _index_put(low: Lowerer, node: fx.Node, args: list[Operand], kwargs: Kwargs) -> Operand:
    base, values = low.value(args[0]), low.value(args[2])
    accumulate = bool(args[3]) if len(args) > 3 else False
    first = args[1][0]
    if len(args[1]) == 1 and first is not None and low.value(first).dtype == "bool" and values.size == 1:
        return _masked(base, low.value(first), values)
    chosen = {axis: low.value(i) for axis, i in enumerate(args[1]) if i is not None}
    axes = sorted(chosen)
    if any(i.dtype == "bool" for i in chosen.values()) or axes != list(range(axes[0], axes[-1] + 1)):
        raise NotLoweredError(f"putting values by index in {describe(node)}")
    return _put(low, node, base, chosen, values, accumulate)


def _masked(base: Value, mask: Value, value: Value) -> Value:
    at = broadcast(value, base.shape)

    def element(index: Index) -> Expr:
        hit = mask.at(index[: len(mask.shape)])
        return apply("where", hit, convert(at(index), base.dtype), base.at(index), dtype=base.dtype)

    cost = 2 + sum(v.cost for v in (base, mask, value) if isinstance(v, Lazy))
    return Lazy(base.shape, base.dtype, element, cost=cost, batch_axis=base.batch_axis)


def _put(
    low: Lowerer, node: fx.Node, base: Value, chosen: dict[int, Value], values: Value, accumulate: bool
) -> Value:
    """Each element plus every value whose indices name it; or, not accumulated, the last of these values."""
    shape, dtype = result_of(node)
    first, count, lead = min(chosen), len(chosen), len(shape)
    rank = max(len(i.shape) for i in chosen.values())
    places = tuple(
        max(
            i.shape[axis - rank + len(i.shape)] if axis >= rank - len(i.shape) else 1 for i in chosen.values()
        )
        for axis in range(rank)
    )
    if math.prod(shape) * math.prod(places) > _MOST_COMPARISONS:
        raise NotLoweredError(f"putting so many values by index in {describe(node)}")
    readers = {axis: broadcast(i, places) for axis, i in chosen.items()}
    value_at = broadcast(values, (*shape[:first], *places, *shape[first + count :]))

    def value(index: Index, place: Index) -> Expr:
        return convert(value_at((*index[:first], *place, *index[first + count :])), dtype)

    def hit(index: Index) -> Expr:
        own, place = index[:lead], index[lead:]
        found: list[Expr] = []
        for axis, read in readers.items():
            there = _from_end(read(place), shape[axis])
            found.append(apply("eq", convert(IndexValue(own[axis]), there.dtype), there, dtype="bool"))
        both = found[0]
        for other in found[1:]:
            both = apply("and", both, other, dtype="bool")
        return both

    if accumulate:
        return _added(low, node, base, places, hit, value)
    return _replaced(low, node, base, places, hit, value)


def _added(
    low: Lowerer,
    node: fx.Node,
    base: Value,
    places: tuple[int, ...],
    hit: Callable[[Index], Expr],
    value: Callable[[Index, Index], Expr],
) -> Value:
    """The base plus, for each element, the values of the places that hit it."""
    shape, dtype = result_of(node)
    lead = len(shape)

    def term(index: Index) -> Expr:
        own, place = index[:lead], index[lead:]
        return apply("where", hit(index), value(own, place), number(0, dtype), dtype=dtype)

    terms = Lazy((*shape, *places), dtype, term, cost=4, batch_axis=None)
    axes = [lead + axis for axis in range(len(places))]
    total = reduced(low, node, node.name, terms, axes, "sum", False, dtype) if axes else terms
    cost = 1 + (base.cost if isinstance(base, Lazy) else 0)
    return Lazy(
        shape,
        dtype,
        lambda index: apply("add", base.at(index), total.at(index), dtype=dtype),
        cost=cost,
        batch_axis=None,
    )


def _replaced(
    low: Lowerer,
    node: fx.Node,
    base: Value,
    places: tuple[int, ...],
    hit: Callable[[Index], Expr],
    value: Callable[[Index, Index], Expr],
) -> Value:
    """The base, and for each element the value of the last place that hits it."""
    shape, dtype = result_of(node)
    lead = len(shape)
    counted = [axis for axis, size in enumerate(places) if size != 1]
    if len(counted) > 1:
        raise NotLoweredError(f"putting values by an index of {len(counted)} dimensions in {describe(node)}")

    def position(index: Index) -> Expr:
        place = IndexValue(index[lead + counted[0]]) if counted else number(0, "int64")
        return apply("where", hit(index), place, number(-1, "int64"), dtype="int64")

    positions = Lazy((*shape, *places), "int64", position, cost=4, batch_axis=None)
    axes = [lead + axis for axis in range(len(places))]
    last = low.stored(positions, node.name, describe(node)) if not axes else reduced(
        low, node, node.name, positions, axes, "max", False, "int64"
    )  # fmt: skip

    def element(index: Index) -> Expr:
        where = last.at(index)
        place = tuple(Affine.of(where) if axis in counted else Affine() for axis in range(len(places)))
        put = apply("ge", where, number(0, "int64"), dtype="bool")
        return apply("choose", put, value(index, place), base.at(index), dtype=dtype)

    cost = 4 + (base.cost if isinstance(base, Lazy) else 0)
    return Lazy(shape, dtype, element, cost=cost, batch_axis=None)


@lowers(aten.scatter_add.default)
def _scatter_add(low: Lowerer, node: fx.Node, args: list[Operand], kwargs: Kwargs) -> Operand:
    base, indices, source = low.value(args[0]), low.value(args[2]), low.value(args[3])
    shape, dtype = result_of(node)
    if not shape:
        return elementwise(low, node, [base, source], lambda x, y: apply("add", x, y, dtype=dtype))
    axis = args[1] % len(shape)
    count = indices.shape[axis]
    if any(a != axis and indices.shape[a] != shape[a] for a in range(len(shape))):
        raise NotLoweredError(f"aten.scatter_add of some of the rows in {describe(node)}")
    if math.prod(shape) * count > _MOST_COMPARISONS:
        raise NotLoweredError(f"adding so many values by index in {describe(node)}")

    def at(index: Index, place: Index) -> Index:
        return (*index[:axis], place[0], *index[axis + 1 :])

    def hit(index: Index) -> Expr:
        own, place = index[:-1], index[-1:]
        there = indices.at(at(own, place))
        return apply("eq", convert(IndexValue(own[axis]), there.dtype), there, dtype="bool")

    def value(index: Index, place: Index) -> Expr:
        return convert(source.at(at(index, place)), dtype)

    return _added(low, node, base, (count,), hit, value)


@lowers(aten.bucketize.Tensor, aten.searchsorted.Tensor)
def _bucket(low: Lowerer, node: fx.Node, args: list[Operand], kwargs: Kwargs) -> Operand:
    """How many of the sorted limits lie below; NaN lies above them all."""
    flipped = node.target is aten.searchsorted.Tensor
    limits, value = (low.value(a) for a in (args[:2] if flipped else args[1::-1]))
    shape, dtype = result_of(node)
    if len(limits.shape) != 1 or kwargs.get("sorter") is not None or limits.size > 4096:
        raise NotLoweredError(
            f"limits of {len(limits.shape)} dimensions or in another order in {describe(node)}"
        )
    right = bool(kwargs.get("right", False)) or kwargs.get("side") == "right"
    kind = value.dtype if value.dtype in FLOATS else limits.dtype

    def below(index: Index) -> Expr:
        limit, x = convert(limits.at(index[-1:]), kind), convert(value.at(index[:-1]), kind)
        above = apply("gt" if right else "ge", limit, x, dtype="bool")
        return convert(apply("not", above, dtype="bool"), dtype)

    terms = Lazy((*shape, limits.size), dtype, below, cost=3, batch_axis=value.batch_axis)
    return reduced(low, node, node.name, terms, [len(shape)], "sum", False, dtype)


@lowers(aten.scatter.src)
def _scatter(low: Lowerer, node: fx.Node, args: list[Operand], kwargs: Kwargs) -> Operand:
    base, indices, source = low.value(args[0]), low.value(args[2]), low.value(args[3])
    shape, dtype = result_of(node)
    axis = args[1] % len(shape)
    if indices.shape[axis] != 1 or any(a != axis and indices.shape[a] != shape[a] for a in range(len(shape))):
        raise NotLoweredError(f"aten.scatter of several values a row in {describe(node)}")

    def element(index: Index) -> Expr:
        at = [Affine() if a == axis else i for a, i in enumerate(index)]
        there = indices.at(at)
        hit = apply("eq", convert(IndexValue(index[axis]), there.dtype), there, dtype="bool")
        return apply("where", hit, convert(source.at(at), dtype), base.at(index), dtype=dtype)

    return Lazy(shape, dtype, element, cost=2, batch_axis=broadcast_axis([base, indices], shape))


@lowers(aten.as_strided.default)
def _as_strided(low: Lowerer, node: fx.Node, args: list[Operand], kwargs: Kwargs) -> Operand:
    """Only where it is a change of shape: the elements of a whole tensor, one after the other."""
    source = node.args[0].meta["val"]  # type: ignore[union-attr]
    result = node.meta["val"]
    whole = source.is_contiguous() and result.is_contiguous() and source.numel() == result.numel()
    if not whole or (len(args) > 3 and args[3]):
        raise NotLoweredError(f"a view of memory by strides in {describe(node)}")
    return LOWERINGS[aten.view.default](low, node, args[:1], {})


@lowers(aten.split_with_sizes.default)
def _split(low: Lowerer, node: fx.Node, args: list[Operand], kwargs: Kwargs) -> Operand:
    value = low.value(args[0])
    axis = (args[2] if len(args) > 2 else 0) % len(value.shape)
    parts, start = [], 0
    for size in args[1]:
        parts.append(_cut(value, axis, start, size))
        start += size
    return parts


def _cut(value: Value, axis: int, start: int, size: int) -> Value:
    shape = (*value.shape[:axis], size, *value.shape[axis + 1 :])
    cost = value.cost if isinstance(value, Lazy) else 0
    return Lazy(
        shape,
        value.dtype,
        lambda index: value.at([i + start if a == axis else i for a, i in enumerate(index)]),
        cost=cost,
        batch_axis=value.batch_axis if value.batch_axis != axis else None,
    )
