"""The lowerings of reductions that are not sums, and of products of stacked matrices."""

from __future__ import annotations

import math

from torch import fx

from flatout.codegen.lower import Lowerer, NotLoweredError, Operand, aten, describe, lowers, result_of
from flatout.codegen.nest import Affine, Expr, IndexValue, MatMul, View, apply, convert, number
from flatout.codegen.operators import elementwise, reduced
from flatout.codegen.values import Index, Lazy, Stored, Value, broadcast

Kwargs = dict[str, Operand]


@lowers(aten.max.default, aten.min.default)
def _largest(low: Lowerer, node: fx.Node, args: list[Operand], kwargs: Kwargs) -> Operand:
    op = "max" if node.target is aten.max.default else "min"
    value = low.value(args[0])
    return reduced(low, node, node.name, value, [], op, False, value.dtype)


@lowers(aten.any.default, aten.any.dim, aten.any.dims)
def _any(low: Lowerer, node: fx.Node, args: list[Operand], kwargs: Kwargs) -> Operand:
    value = low.value(args[0])
    zero = number(0, value.dtype)
    hits = Lazy(
        value.shape,
        "int64",
        lambda index: convert(apply("ne", value.at(index), zero, dtype="bool"), "int64"),
        cost=2,
        batch_axis=value.batch_axis,
    )
    axes = args[1] if len(args) > 1 and args[1] is not None else []
    axes = [axes] if isinstance(axes, int) else axes
    total = reduced(
        low, node, node.name, hits, axes, "sum", bool(args[2]) if len(args) > 2 else False, "int64"
    )
    nothing = number(0, "int64")
    return elementwise(
        low, node, [total], lambda x: apply("ne", x, nothing, dtype="bool"), compute="int64", cost=1
    )


@lowers(aten.max.dim, aten.min.dim)
def _largest_along(low: Lowerer, node: fx.Node, args: list[Operand], kwargs: Kwargs) -> Operand:
    op = "max" if node.target is aten.max.dim else "min"
    keepdim = bool(args[2]) if len(args) > 2 else False
    value: Value = low.operand_in_memory(node.args[0])  # type: ignore[arg-type]
    return list(_with_place(low, node, value, args[1], op, keepdim))


@lowers(aten.argmax.default, aten.argmin.default)
def _place(low: Lowerer, node: fx.Node, args: list[Operand], kwargs: Kwargs) -> Operand:
    op = "max" if node.target is aten.argmax.default else "min"
    if len(args) < 2 or args[1] is None:
        return _place_of_all(low, node, op)
    keepdim = bool(args[2]) if len(args) > 2 else False
    value: Value = low.operand_in_memory(node.args[0])  # type: ignore[arg-type]
    return _with_place(low, node, value, args[1], op, keepdim)[1]


def _with_place(
    low: Lowerer, node: fx.Node, value: Value, axis: int, op: str, keepdim: bool
) -> tuple[Stored, Stored]:
    """The largest or smallest along an axis, and where it is first; NaN is the largest and the smallest."""
    axis %= len(value.shape)
    best = reduced(low, node, f"{node.name}_{op}", value, [axis], op, True, value.dtype)
    there = broadcast(best, value.shape)
    last = number(value.shape[axis] - 1, "int64")

    def place(index: Index) -> Expr:
        x = value.at(index)
        hit = apply("eq", x, there(index), dtype="bool")
        if value.dtype.startswith("float"):
            hit = apply("or", hit, apply("ne", x, x, dtype="bool"), dtype="bool")
        return apply("where", hit, IndexValue(index[axis]), last, dtype="int64")

    places = Lazy(value.shape, "int64", place, cost=3, batch_axis=value.batch_axis)
    found = reduced(low, node, f"{node.name}_at", places, [axis], "min", keepdim, "int64")
    return (best if keepdim else _without(best, axis)), found


def _place_of_all(low: Lowerer, node: fx.Node, op: str) -> Stored:
    """Where the largest or smallest of all elements is first, counted through."""
    value: Value = low.operand_in_memory(node.args[0])  # type: ignore[arg-type]
    best = reduced(low, node, f"{node.name}_{op}", value, [], op, False, value.dtype)
    last = number(value.size - 1, "int64")

    def place(index: Index) -> Expr:
        x, where, step = value.at(index), Affine(), 1
        for i, size in zip(reversed(index), reversed(value.shape), strict=True):
            where, step = where + i * step, step * size
        hit = apply("eq", x, best.at([]), dtype="bool")
        if value.dtype.startswith("float"):
            hit = apply("or", hit, apply("ne", x, x, dtype="bool"), dtype="bool")
        return apply("where", hit, IndexValue(where), last, dtype="int64")

    places = Lazy(value.shape, "int64", place, cost=3, batch_axis=value.batch_axis)
    return reduced(low, node, f"{node.name}_at", places, [], "min", False, "int64")


def _without(value: Stored, axis: int) -> Stored:
    view = value.view
    batch = value.batch_axis
    shape, strides = (t[:axis] + t[axis + 1 :] for t in (view.shape, view.strides))
    return Stored(
        View(view.buffer, shape, strides, view.offset), None if batch is None else batch - (batch > axis)
    )


@lowers(aten.bmm.default)
def _bmm(low: Lowerer, node: fx.Node, args: list[Operand], kwargs: Kwargs) -> Operand:
    """A small one as one reduction over all of it, a large one as a product for each matrix."""
    shape, dtype = result_of(node)
    left, right = low.value(args[0]), low.value(args[1])
    inner = left.shape[2]
    if shape[0] <= 16 and math.prod(shape[1:]) * inner >= 4096:
        a = low.operand_in_memory(node.args[0])  # type: ignore[arg-type]
        b = low.operand_in_memory(node.args[1])  # type: ignore[arg-type]
        out = low.temporary(node.name, shape, dtype, None)
        for i in range(shape[0]):
            product, x, y = (_matrix(view, i) for view in (out, a.view, b.view))
            low.program.kernels.append(MatMul(product, x, y, comment=describe(node)))
        return Stored(out, None)

    def element(index: Index) -> Expr:
        batch, m, n, k = index
        return apply("mul", left.at([batch, m, k]), right.at([batch, k, n]), dtype=dtype)

    batch_axis = 0 if 0 in (left.batch_axis, right.batch_axis) else None
    terms = Lazy((*shape, inner), dtype, element, cost=4, batch_axis=batch_axis)
    return reduced(low, node, node.name, terms, [3], "sum", False, dtype)


def _matrix(view: View, i: int) -> View:
    return View(view.buffer, view.shape[1:], view.strides[1:], view.offset + i * view.strides[0])


@lowers(aten.cumsum.default, aten.cumprod.default)
def _cumulated(low: Lowerer, node: fx.Node, args: list[Operand], kwargs: Kwargs) -> Operand:
    """Each sum or product by itself: rows are short in what this is for."""
    shape, dtype = result_of(node)
    if not shape:
        return low.value(args[0])
    op, nothing = ("sum", 0) if node.target is aten.cumsum.default else ("prod", 1)
    axis = args[1] % len(shape)
    if shape[axis] > 256:
        raise NotLoweredError(f"a cumulative {op} of {shape[axis]} elements in {describe(node)}")
    value: Value = low.operand_in_memory(node.args[0])  # type: ignore[arg-type]

    def element(index: Index) -> Expr:
        own, term = index[axis], index[-1]
        x = convert(value.at([term if a == axis else i for a, i in enumerate(index[:-1])]), dtype)
        counted = apply("le", IndexValue(term), IndexValue(own), dtype="bool")
        return apply("where", counted, x, number(nothing, dtype), dtype=dtype)

    terms = Lazy((*shape, shape[axis]), dtype, element, cost=3, batch_axis=value.batch_axis)
    return reduced(low, node, node.name, terms, [len(shape)], op, False, dtype)


@lowers(aten.prod.dim_int)
def _prod(low: Lowerer, node: fx.Node, args: list[Operand], kwargs: Kwargs) -> Operand:
    keepdim = bool(args[2]) if len(args) > 2 else False
    return reduced(low, node, node.name, low.value(args[0]), [args[1]], "prod", keepdim, result_of(node)[1])
