"""The lowerings of operators that work element by element."""

from __future__ import annotations

import operator
from typing import Any

from torch import fx

from flatout.codegen.lower import Lowerer, Operand, aten, lowers, result_of
from flatout.codegen.nest import Affine, Apply, Expr, IndexValue, apply, convert, number
from flatout.codegen.operators import elementwise
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
)


def _pointwise(op: str, *targets: Any) -> None:
    @lowers(*targets)
    def lowering(low: Lowerer, node: fx.Node, args: list[Operand], kwargs: Kwargs) -> Operand:
        dtype = result_of(node)[1]
        return elementwise(low, node, args, lambda *x: apply(op, *x, dtype=dtype), cost=12)


for _name in _C_LIBRARY:
    _pointwise(_name, getattr(aten, _name).default)
_pointwise("hypot", aten.hypot.default)
_pointwise("pow", aten.pow.Tensor_Tensor, aten.pow.Scalar)


@lowers(aten.round.default)
def _round(low: Lowerer, node: fx.Node, args: list[Operand], kwargs: Kwargs) -> Operand:
    dtype = result_of(node)[1]
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
    whole = Apply("div", (x, y), dtype)  # of integers, as C divides them
    return apply("sub", x, apply("mul", whole, y, dtype=dtype), dtype=dtype)


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
    element = convert(value, dtype) if isinstance(value, Expr) else number(value, dtype)
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
