"""The lowerings of single operators."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from torch import fx

from flatout.codegen.lower import (
    Lowerer,
    Operand,
    aten,
    describe,
    loops,
    lowers,
    result_of,
)
from flatout.codegen.nest import (
    FLOATS,
    Affine,
    Expr,
    IndexValue,
    Number,
    Reduction,
    Var,
    View,
    apply,
    convert,
    number,
)
from flatout.codegen.values import (
    Index,
    Lazy,
    Stored,
    Value,
    broadcast,
    broadcast_axis,
)

Formula = Callable[..., Expr]

# What operations cost against an addition.
_COST = {
    "exp": 8,
    "log": 8,
    "tanh": 10,
    "sigmoid": 9,
    "erf": 10,
    "pow": 20,
    "sqrt": 3,
    "div": 3,
    "rsqrt": 4,
    "sin": 12,
    "cos": 12,
}


def elementwise(
    low: Lowerer,
    node: fx.Node,
    operands: Sequence[Operand],
    formula: Formula,
    compute: str | None = None,
    cost: int = 1,
) -> Operand:
    """A formula over operands that are broadcast to the shape of the result.

    Args:
        low, node: as in a lowering.
        operands: tensors, scalars and numbers.
        formula: from the elements, all of type `compute`, to the element of the result.
        compute: the type to compute in; None: that of the result.
        cost: operations an element takes.
    """
    shape, dtype = result_of(node)
    compute = compute or dtype
    values = [o for o in operands if isinstance(o, Value)]
    readers = [_reader(operand, shape, compute) for operand in operands]

    def element(index: Index) -> Expr:
        return convert(formula(*(read(index) for read in readers)), dtype)

    total = cost + sum(v.cost for v in values if isinstance(v, Lazy))
    return Lazy(shape, dtype, element, cost=total, batch_axis=broadcast_axis(values, shape))


def _reader(operand: Operand, shape: Sequence[int], dtype: str) -> Callable[[Index], Expr]:
    """The element of an operand by an index into `shape`, as `dtype`."""
    if isinstance(operand, Value):
        at = broadcast(operand, shape)
        return lambda index: convert(at(index), dtype)
    same = constant(operand, dtype)
    return lambda index: same


def constant(operand: Operand, dtype: str) -> Expr:
    """A number, or a scalar that is known before the loops begin, as `dtype`."""
    return convert(operand, dtype) if isinstance(operand, Expr) else number(operand, dtype)


def _promoted(operands: Sequence[Operand]) -> str:
    """The type a comparison is made in."""
    dtypes = [o.dtype for o in operands if isinstance(o, Value) and o.shape] or [
        o.dtype for o in operands if isinstance(o, (Value, Expr))
    ]
    ranked = ["bool", "uint8", "int8", "int16", "int32", "int64", "float32", "float64"]
    best = max(dtypes, key=ranked.index)
    if best not in FLOATS and any(isinstance(o, float) for o in operands):
        return "float32"
    return best


def _pointwise(op: str, targets: Sequence[Any]) -> None:
    @lowers(*targets)
    def lowering(low: Lowerer, node: fx.Node, args: list[Operand], kwargs: dict[str, Operand]) -> Operand:
        _, dtype = result_of(node)
        if op in ("floor", "ceil") and dtype not in FLOATS:
            return args[0]
        return elementwise(low, node, args, lambda *x: apply(op, *x, dtype=dtype), cost=_COST.get(op, 1))


def _compare(op: str, targets: Sequence[Any]) -> None:
    @lowers(*targets)
    def lowering(low: Lowerer, node: fx.Node, args: list[Operand], kwargs: dict[str, Operand]) -> Operand:
        return elementwise(low, node, args, lambda *x: apply(op, *x, dtype="bool"), compute=_promoted(args))


for _op, _targets in {
    "neg": [aten.neg.default],
    "abs": [aten.abs.default],
    "exp": [aten.exp.default],
    "expm1": [aten.expm1.default],
    "log": [aten.log.default],
    "log1p": [aten.log1p.default],
    "sqrt": [aten.sqrt.default],
    "rsqrt": [aten.rsqrt.default],
    "tanh": [aten.tanh.default],
    "sigmoid": [aten.sigmoid.default],
    "erf": [aten.erf.default],
    "sin": [aten.sin.default],
    "cos": [aten.cos.default],
    "floor": [aten.floor.default],
    "ceil": [aten.ceil.default],
    "sign": [aten.sign.default],
    "reciprocal": [aten.reciprocal.default],
    "mul": [aten.mul.Tensor, aten.mul.Scalar],
    "max": [aten.maximum.default],
    "min": [aten.minimum.default],
    "atan2": [aten.atan2.default],
    "not": [aten.logical_not.default],
    "and": [aten.logical_and.default, aten.bitwise_and.Tensor, aten.bitwise_and.Scalar],
    "or": [aten.logical_or.default, aten.bitwise_or.Tensor, aten.bitwise_or.Scalar],
    "xor": [aten.logical_xor.default, aten.bitwise_xor.Tensor, aten.bitwise_xor.Scalar],
}.items():
    _pointwise(_op, _targets)
for _op, _targets in {
    "lt": [aten.lt.Scalar, aten.lt.Tensor],
    "le": [aten.le.Scalar, aten.le.Tensor],
    "gt": [aten.gt.Scalar, aten.gt.Tensor],
    "ge": [aten.ge.Scalar, aten.ge.Tensor],
    "eq": [aten.eq.Scalar, aten.eq.Tensor],
    "ne": [aten.ne.Scalar, aten.ne.Tensor],
}.items():
    _compare(_op, _targets)


@lowers(aten.add.Tensor, aten.sub.Tensor, aten.add.Scalar, aten.sub.Scalar)
def _add(low: Lowerer, node: fx.Node, args: list[Operand], kwargs: dict[str, Operand]) -> Operand:
    op = "add" if "add" in str(node.target) else "sub"
    alpha = kwargs.get("alpha", args[2] if len(args) > 2 else 1)
    _, dtype = result_of(node)
    if isinstance(alpha, (int, float)) and alpha == 1:
        return elementwise(low, node, args[:2], lambda a, b: apply(op, a, b, dtype=dtype))
    return elementwise(
        low,
        node,
        [args[0], args[1], alpha],
        lambda a, b, c: apply(op, a, apply("mul", b, c, dtype=dtype), dtype=dtype),
        cost=2,
    )


@lowers(aten.div.Tensor, aten.div.Scalar)
def _div(low: Lowerer, node: fx.Node, args: list[Operand], kwargs: dict[str, Operand]) -> Operand:
    _, dtype = result_of(node)
    return elementwise(low, node, args[:2], lambda a, b: apply("div", a, b, dtype=dtype), cost=3)


@lowers(aten.relu.default)
def _relu(low: Lowerer, node: fx.Node, args: list[Operand], kwargs: dict[str, Operand]) -> Operand:
    _, dtype = result_of(node)
    zero = number(0, dtype)
    # NaN stays NaN: it is not smaller than or equal to 0.
    return elementwise(
        low, node, args, lambda x: apply("where", apply("le", x, zero, dtype="bool"), zero, x, dtype=dtype)
    )


@lowers(aten.where.self)
def _where(low: Lowerer, node: fx.Node, args: list[Operand], kwargs: dict[str, Operand]) -> Operand:
    shape, dtype = result_of(node)
    values = [low.value(a) for a in args]
    condition, yes, no = (broadcast(v, shape) for v in values)

    def element(index: Index) -> Expr:
        one, other = yes(index), no(index)
        narrow = dtype == "int64" and all(e.dtype == "int32" or isinstance(e, Number) for e in (one, other))
        kind = "int32" if narrow else dtype  # labels that fit are kept as narrow as the floats beside them
        return apply("where", condition(index), convert(one, kind), convert(other, kind), dtype=kind)

    cost = 1 + sum(v.cost for v in values if isinstance(v, Lazy))
    return Lazy(shape, dtype, element, cost=cost, batch_axis=broadcast_axis(values, shape))


@lowers(aten.clamp.default)
def _clamp(low: Lowerer, node: fx.Node, args: list[Operand], kwargs: dict[str, Operand]) -> Operand:
    _, dtype = result_of(node)
    low_bound, high_bound = (*args[1:], None, None)[:2]

    def formula(x: Expr) -> Expr:
        if low_bound is not None:
            x = apply("max", x, constant(low_bound, dtype), dtype=dtype)
        if high_bound is not None:
            x = apply("min", x, constant(high_bound, dtype), dtype=dtype)
        return x

    return elementwise(low, node, args[:1], formula, cost=2)


@lowers(aten.pow.Tensor_Scalar)
def _pow(low: Lowerer, node: fx.Node, args: list[Operand], kwargs: dict[str, Operand]) -> Operand:
    _, dtype = result_of(node)
    exponent = args[1]
    if exponent == 2:
        return elementwise(low, node, args[:1], lambda x: apply("mul", x, x, dtype=dtype))
    if exponent == 3:
        return elementwise(
            low,
            node,
            args[:1],
            lambda x: apply("mul", apply("mul", x, x, dtype=dtype), x, dtype=dtype),
            cost=2,
        )
    if exponent == 0.5:
        return elementwise(low, node, args[:1], lambda x: apply("sqrt", x, dtype=dtype), cost=3)
    if exponent == 1:
        return elementwise(low, node, args[:1], lambda x: x, cost=0)
    if exponent == 0:
        return elementwise(low, node, args[:1], lambda x: number(1, dtype), cost=0)
    if exponent == -1:
        return elementwise(low, node, args[:1], lambda x: apply("reciprocal", x, dtype=dtype), cost=3)
    if dtype not in FLOATS:  # in double, which is exact up to 2^53
        return elementwise(
            low, node, args[:2], lambda x, p: apply("pow", x, p, dtype="float64"), compute="float64", cost=20
        )
    return elementwise(low, node, args[:2], lambda x, p: apply("pow", x, p, dtype=dtype), cost=20)


@lowers(aten._to_copy.default, aten.clone.default, aten.alias.default, aten.detach.default)
def _same(low: Lowerer, node: fx.Node, args: list[Operand], kwargs: dict[str, Operand]) -> Operand:
    _, dtype = result_of(node)
    if isinstance(args[0], Value) and args[0].dtype == dtype:
        return args[0]
    return elementwise(low, node, args[:1], lambda x: x, compute=low.value(args[0]).dtype, cost=1)


@lowers(
    aten.full.default,
    aten.full_like.default,
    aten.scalar_tensor.default,
    aten.ones_like.default,
    aten.zeros_like.default,
)
def _full(low: Lowerer, node: fx.Node, args: list[Operand], kwargs: dict[str, Operand]) -> Operand:
    shape, dtype = result_of(node)
    if node.target in (aten.ones_like.default, aten.zeros_like.default):
        value = int(node.target is aten.ones_like.default)
    else:
        value = args[0] if node.target is aten.scalar_tensor.default else args[1]
    element = constant(value, dtype)
    like = low.value(args[0]).batch_axis if args and isinstance(args[0], Value) else None
    return Lazy(shape, dtype, lambda index: element, cost=0, batch_axis=low.likely_axis(shape, like))


@lowers(aten.arange.start_step)
def _arange(low: Lowerer, node: fx.Node, args: list[Operand], kwargs: dict[str, Operand]) -> Operand:
    shape, dtype = result_of(node)
    start, step = args[0], args[2] if len(args) > 2 else 1
    return Lazy(
        shape,
        dtype,
        lambda index: convert(IndexValue(index[0] * step + start), dtype),
        cost=1,
        batch_axis=None,
    )


# --- reductions


def reduced(
    low: Lowerer,
    node: fx.Node,
    name: str,
    value: Value,
    axes: Sequence[int],
    op: str,
    keepdim: bool,
    dtype: str,
) -> Stored:
    """The value combined over some axes, in memory."""
    every = list(range(len(value.shape)))
    axes = sorted(axis % max(1, len(every)) for axis in axes) if axes else every
    kept = [axis for axis in every if axis not in axes]
    small_shape = [value.shape[axis] for axis in kept]
    batch_axis = kept.index(value.batch_axis) if value.batch_axis in kept else None
    view = low.temporary(name, small_shape, dtype, batch_axis)
    outer, outer_index = loops(small_shape, view.strides)
    variables = [Var(f"r{axis}") for axis in axes]
    index: list[Affine] = [Affine()] * len(every)
    for axis, i in zip(kept, outer_index, strict=True):
        index[axis] = i
    for axis, variable in zip(axes, variables, strict=True):
        index[axis] = Affine.of(variable) if value.shape[axis] != 1 else Affine()
    inner = [(v, value.shape[a]) for v, a in zip(variables, axes, strict=True) if value.shape[a] != 1]
    inner.sort(key=lambda axis: value.batch_axis is not None and axis[0].name == f"r{value.batch_axis}")
    low.program.kernels.append(
        Reduction(
            outer, inner, op, convert(value.at(index), dtype), view.buffer, view.address(outer_index),
            comment=describe(node),
        )
    )  # fmt: skip
    if keepdim:
        strides, shape = list(view.strides), list(small_shape)
        for axis in axes:
            strides.insert(axis, 0)
            shape.insert(axis, 1)
        view = View(view.buffer, tuple(shape), tuple(strides))
        batch_axis = value.batch_axis if value.batch_axis in kept else None
    return Stored(view, batch_axis)


@lowers(
    aten.sum.dim_IntList,
    aten.sum.default,
    aten.amax.default,
    aten.amin.default,
    aten.mean.dim,
    aten.mean.default,
    aten.prod.default,
)
def _reduce(low: Lowerer, node: fx.Node, args: list[Operand], kwargs: dict[str, Operand]) -> Operand:
    op = {"sum": "sum", "amax": "max", "amin": "min", "mean": "sum", "prod": "prod"}[
        str(node.target).split(".")[1]
    ]
    value, dtype = low.value(args[0]), result_of(node)[1]
    axes = args[1] if len(args) > 1 and args[1] is not None else []
    keepdim = bool(args[2]) if len(args) > 2 else False
    result = reduced(low, node, node.name, value, axes, op, keepdim, dtype)
    if "mean" in str(node.target):
        count = value.size // max(1, result.size)
        return elementwise(low, node, [result], lambda x: apply("div", x, number(count, dtype), dtype=dtype))
    return result


@lowers(aten._log_softmax.default, aten._softmax.default)
def _softmax(low: Lowerer, node: fx.Node, args: list[Operand], kwargs: dict[str, Operand]) -> Operand:
    value: Value = low.operand_in_memory(node.args[0])  # type: ignore[arg-type]
    shape, dtype = result_of(node)
    axis = args[1] % len(shape)
    largest = reduced(low, node, f"{node.name}_max", value, [axis], "max", True, dtype)
    shifted = Lazy(
        shape,
        dtype,
        lambda index: apply("sub", value.at(index), broadcast(largest, shape)(index), dtype=dtype),
        cost=1,
        batch_axis=value.batch_axis,
    )
    powers = Lazy(
        shape,
        dtype,
        lambda index: apply("exp", shifted.at(index), dtype=dtype),
        cost=9,
        batch_axis=value.batch_axis,
    )
    total = reduced(low, node, f"{node.name}_sum", powers, [axis], "sum", True, dtype)
    if node.target is aten._softmax.default:
        result = Lazy(
            shape,
            dtype,
            lambda index: apply("div", powers.at(index), broadcast(total, shape)(index), dtype=dtype),
            cost=12,
            batch_axis=value.batch_axis,
        )
    else:
        logs = Lazy(
            total.shape,
            dtype,
            lambda index: apply("log", total.at(index), dtype=dtype),
            cost=8,
            batch_axis=total.batch_axis,
        )
        stored_logs = low.stored(logs, f"{node.name}_log", describe(node))
        result = Lazy(
            shape,
            dtype,
            lambda index: apply("sub", shifted.at(index), broadcast(stored_logs, shape)(index), dtype=dtype),
            cost=2,
            batch_axis=value.batch_axis,
        )
    return result
