"""The lowerings of operators that work element by element."""

from __future__ import annotations

import operator
from typing import Any

from torch import fx

from flatout.codegen.lower import Lowerer, Operand, aten, lowers, result_of
from flatout.codegen.nest import FLOATS, Affine, Apply, Expr, IndexValue, Number, apply, convert, number
from flatout.codegen.operators import constant, elementwise
from flatout.codegen.values import Index, Lazy

Kwargs = dict[str, Operand]

# Functions of the C library, by ATen's name.
_C_LIBRARY = (
    "atan",
    "asin",
    "acos",
    "tan",
    "asinh",
    "acosh",
    "atanh",
    "erfc",
    "exp2",
    "log2",
    "log10",
    "trunc",
    "sinh",
    "cosh",
    "lgamma",
)


def _pointwise(op: str, *targets: Any) -> None:
    @lowers(*targets)
    def lowering(low: Lowerer, node: fx.Node, args: list[Operand], kwargs: Kwargs) -> Operand:
        dtype = result_of(node)[1]
        if dtype in FLOATS or op in ("shl", "shr"):
            return elementwise(low, node, args, lambda *x: apply(op, *x, dtype=dtype), cost=12)
        if op == "trunc":
            return args[0]
        # Of whole numbers: in double, which is exact up to 2^53.
        return elementwise(
            low, node, args, lambda *x: apply(op, *x, dtype="float64"), compute="float64", cost=12
        )


for _name in _C_LIBRARY:
    _pointwise(_name, getattr(aten, _name).default)
_pointwise("hypot", aten.hypot.default)
_pointwise("copysign", aten.copysign.Tensor, aten.copysign.Scalar)
_pointwise(
    "shl",
    aten.bitwise_left_shift.Tensor,
    aten.bitwise_left_shift.Tensor_Scalar,
    aten.__lshift__.Scalar,
    aten.__lshift__.Tensor,
)
_pointwise(
    "shr",
    aten.bitwise_right_shift.Tensor,
    aten.bitwise_right_shift.Tensor_Scalar,
    aten.__rshift__.Scalar,
    aten.__rshift__.Tensor,
)
_pointwise("pow", aten.pow.Tensor_Tensor, aten.pow.Scalar)


@lowers(aten.round.default)
def _round(low: Lowerer, node: fx.Node, args: list[Operand], kwargs: Kwargs) -> Operand:
    dtype = result_of(node)[1]
    if dtype not in FLOATS:
        return args[0]
    return elementwise(low, node, args, lambda x: apply("rint", x, dtype=dtype), cost=2)


@lowers(aten.isinf.default)
def _isinf(low: Lowerer, node: fx.Node, args: list[Operand], kwargs: Kwargs) -> Operand:
    dtype = low.value(args[0]).dtype
    infinity = number(float("inf"), dtype)

    def formula(x: Expr) -> Expr:
        return apply("eq", apply("abs", x, dtype=dtype), infinity, dtype="bool")

    return elementwise(low, node, args, formula, compute=dtype, cost=2)


def _rest(x: Expr, y: Expr, dtype: str) -> Expr:
    """What is left of x after division, with the sign of x."""
    if dtype.startswith("float"):
        return apply("fmod", x, y, dtype=dtype)
    return apply("sub", x, apply("mul", _quotient(x, y, dtype), y, dtype=dtype), dtype=dtype)


def _quotient(x: Expr, y: Expr, dtype: str) -> Expr:
    """Of whole numbers, towards zero. Division by 0, where eager raises, must not end the process."""
    if not (isinstance(y, Number) and y.value):
        y = apply("where", apply("eq", y, number(0, dtype), dtype="bool"), number(1, dtype), y, dtype=dtype)
    return Apply("div", (x, y), dtype)


@lowers(aten.div.Tensor_mode, aten.div.Scalar_mode, aten.floor_divide.default)
def _divided_to_whole(low: Lowerer, node: fx.Node, args: list[Operand], kwargs: Kwargs) -> Operand:
    dtype = result_of(node)[1]
    down = kwargs.get("rounding_mode", "floor") == "floor"
    if dtype.startswith("float"):
        formula = _floor_of_quotient if down else _truncated_quotient
        return elementwise(low, node, args[:2], lambda x, y: formula(x, y, dtype), cost=25)

    def whole(x: Expr, y: Expr) -> Expr:
        quotient = _quotient(x, y, dtype)
        if not down:
            return quotient
        zero = number(0, dtype)
        rest = apply("sub", x, apply("mul", quotient, y, dtype=dtype), dtype=dtype)
        below = [apply("lt", e, zero, dtype="bool") for e in (rest, y)]
        wrong = apply(
            "and", apply("ne", rest, zero, dtype="bool"), apply("ne", *below, dtype="bool"), dtype="bool"
        )
        return apply("sub", quotient, convert(wrong, dtype), dtype=dtype)

    return elementwise(low, node, args[:2], whole, cost=8)


def _truncated_quotient(x: Expr, y: Expr, dtype: str) -> Expr:
    return apply("trunc", apply("div", x, y, dtype=dtype), dtype=dtype)


def _floor_of_quotient(x: Expr, y: Expr, dtype: str) -> Expr:
    """As eager has it: from the exact remainder, so that rounding takes it over no whole number."""
    zero = number(0, dtype)
    rest = apply("fmod", x, y, dtype=dtype)
    quotient = Apply("div", (apply("sub", x, rest, dtype=dtype), y), dtype)
    below = [apply("lt", e, zero, dtype="bool") for e in (rest, y)]
    wrong = apply(
        "and", apply("ne", rest, zero, dtype="bool"), apply("ne", *below, dtype="bool"), dtype="bool"
    )
    lower = apply("sub", quotient, number(1, dtype), dtype=dtype)
    nearest = apply("rint", apply("where", wrong, lower, quotient, dtype=dtype), dtype=dtype)
    by_zero = apply("eq", y, zero, dtype="bool")
    return apply("where", by_zero, Apply("div", (x, y), dtype), nearest, dtype=dtype)


@lowers(aten.fmax.default, aten.fmin.default)
def _but_nan(low: Lowerer, node: fx.Node, args: list[Operand], kwargs: Kwargs) -> Operand:
    """The larger or smaller one; a number where the other is NaN."""
    dtype = result_of(node)[1]
    op = "max" if node.target is aten.fmax.default else "min"

    def formula(x: Expr, y: Expr) -> Expr:
        both = apply(op, x, y, dtype=dtype)
        no_y = apply("where", apply("ne", y, y, dtype="bool"), x, both, dtype=dtype)
        return apply("where", apply("ne", x, x, dtype="bool"), y, no_y, dtype=dtype)

    return elementwise(low, node, args, formula, cost=4)


@lowers(aten.bitwise_not.default)
def _bitwise_not(low: Lowerer, node: fx.Node, args: list[Operand], kwargs: Kwargs) -> Operand:
    dtype = result_of(node)[1]
    if dtype == "bool":
        return elementwise(low, node, args, lambda x: apply("not", x, dtype=dtype))
    return elementwise(low, node, args, lambda x: apply("sub", number(-1, dtype), x, dtype=dtype))


@lowers(aten.signbit.default)
def _signbit(low: Lowerer, node: fx.Node, args: list[Operand], kwargs: Kwargs) -> Operand:
    dtype = low.value(args[0]).dtype
    one, zero = number(1, dtype), number(0, dtype)

    def formula(x: Expr) -> Expr:
        x = apply("copysign", one, x, dtype=dtype) if dtype.startswith("float") else x
        return apply("lt", x, zero, dtype="bool")

    return elementwise(low, node, args, formula, compute=dtype, cost=2)


@lowers(aten.constant_pad_nd.default)
def _padded(low: Lowerer, node: fx.Node, args: list[Operand], kwargs: Kwargs) -> Operand:
    """The tensor with a border; a border of less than nothing is a part cut off."""
    value, (shape, dtype) = low.value(args[0]), result_of(node)
    before = {len(shape) - 1 - i // 2: args[1][i] for i in range(0, len(args[1]), 2)}
    border = constant(args[2] if len(args) > 2 else 0, dtype)

    def element(index: Index) -> Expr:
        moved = [i + -before.get(axis, 0) for axis, i in enumerate(index)]
        inside: list[Expr] = []
        for axis, (i, size) in enumerate(zip(moved, value.shape, strict=True)):
            if before.get(axis, 0) > 0:
                inside.append(apply("ge", IndexValue(i), number(0, "int64"), dtype="bool"))
            if shape[axis] > size + before.get(axis, 0):
                inside.append(apply("lt", IndexValue(i), number(size, "int64"), dtype="bool"))
        result = convert(value.at(moved), dtype)
        for condition in inside:
            result = apply("choose", condition, result, border, dtype=dtype)
        return result

    padded = value.batch_axis if value.batch_axis not in before else None
    return Lazy(shape, dtype, element, cost=3, batch_axis=padded)


@lowers(aten.unfold.default)
def _unfolded(low: Lowerer, node: fx.Node, args: list[Operand], kwargs: Kwargs) -> Operand:
    value, shape = low.value(args[0]), result_of(node)[0]
    axis, step = args[1] % max(1, len(value.shape)), args[3]

    def element(index: Index) -> Expr:
        return value.at([i * step + index[-1] if a == axis else i for a, i in enumerate(index[:-1])])

    batch_axis = value.batch_axis if value.batch_axis != axis else None
    cost = value.cost if isinstance(value, Lazy) else 1
    return Lazy(shape, value.dtype, element, cost=cost, batch_axis=batch_axis)


@lowers(aten.fmod.Tensor, aten.fmod.Scalar)
def _fmod(low: Lowerer, node: fx.Node, args: list[Operand], kwargs: Kwargs) -> Operand:
    dtype = result_of(node)[1]
    return elementwise(low, node, args, lambda x, y: _rest(x, y, dtype), cost=20)


@lowers(aten.remainder.Tensor, aten.remainder.Scalar)
def _remainder(low: Lowerer, node: fx.Node, args: list[Operand], kwargs: Kwargs) -> Operand:
    dtype = result_of(node)[1]
    zero = number(0, dtype)

    def formula(x: Expr, y: Expr) -> Expr:
        rest = _rest(x, y, dtype)
        negative = [apply("lt", e, zero, dtype="bool") for e in (rest, y)]
        differ = apply("ne", *negative, dtype="bool")
        wrong = apply("and", apply("ne", rest, zero, dtype="bool"), differ, dtype="bool")
        return apply("where", wrong, apply("add", rest, y, dtype=dtype), rest, dtype=dtype)

    return elementwise(low, node, args, formula, cost=20)


@lowers(aten.lift_fresh_copy.default, aten.lift_fresh.default, aten.contiguous.default)
def _same(low: Lowerer, node: fx.Node, args: list[Operand], kwargs: Kwargs) -> Operand:
    return args[0]


@lowers(operator.getitem)
def _part(low: Lowerer, node: fx.Node, args: list[Operand], kwargs: Kwargs) -> Operand:
    return args[0][args[1]]


@lowers(aten.copy.default)
def _copy(low: Lowerer, node: fx.Node, args: list[Operand], kwargs: Kwargs) -> Operand:
    source = low.value(args[1])
    return elementwise(low, node, [source], lambda x: x, compute=source.dtype)


@lowers(
    aten.empty_permuted.default,
    aten.empty.memory_format,
    aten.empty_like.default,
    aten.new_empty.default,
    aten.new_empty_strided.default,
    aten.empty_strided.default,
    aten._efficientzerotensor.default,
    aten.zeros.default,
    aten.new_zeros.default,
    aten.ones.default,
    aten.new_ones.default,
    aten.new_full.default,
)
def _made(low: Lowerer, node: fx.Node, args: list[Operand], kwargs: Kwargs) -> Operand:
    """New tensors; what PyTorch leaves undefined is 0 here."""
    shape, dtype = result_of(node)
    value: Any = args[2] if node.target is aten.new_full.default else int("ones" in str(node.target))
    element = constant(value, dtype)
    return Lazy(shape, dtype, lambda index: element, cost=0, batch_axis=None)


@lowers(aten.eye.default, aten.eye.m)
def _eye(low: Lowerer, node: fx.Node, args: list[Operand], kwargs: Kwargs) -> Operand:
    shape, dtype = result_of(node)

    def element(index: Index) -> Expr:
        same = apply("eq", IndexValue(index[0]), IndexValue(index[1]), dtype="bool")
        return apply("choose", same, number(1, dtype), number(0, dtype), dtype=dtype)

    return Lazy(shape, dtype, element, cost=2, batch_axis=None)


@lowers(aten.flip.default)
def _flip(low: Lowerer, node: fx.Node, args: list[Operand], kwargs: Kwargs) -> Operand:
    value = low.value(args[0])
    axes = {axis % max(1, len(value.shape)) for axis in args[1]}

    def element(index: Index) -> Expr:
        return value.at([i * -1 + (value.shape[a] - 1) if a in axes else i for a, i in enumerate(index)])

    cost = value.cost if isinstance(value, Lazy) else 1
    return Lazy(value.shape, value.dtype, element, cost=cost, batch_axis=None)


@lowers(aten.diagonal.default)
def _diagonal(low: Lowerer, node: fx.Node, args: list[Operand], kwargs: Kwargs) -> Operand:
    value, shape = low.value(args[0]), result_of(node)[0]
    given: list[int] = [*args[1:], *(0, 0, 1)[len(args) - 1 :]]
    offset, first, second = given
    first, second = first % len(value.shape), second % len(value.shape)

    def element(index: Index) -> Expr:
        rest, along = list(index[:-1]), index[-1]
        moved: list[Affine] = []
        for axis in range(len(value.shape)):
            if axis == first:
                moved.append(along + max(0, -offset))
            elif axis == second:
                moved.append(along + max(0, offset))
            else:
                moved.append(rest.pop(0))
        return value.at(moved)

    return Lazy(shape, value.dtype, element, cost=1, batch_axis=None)
