"""The lowering of matrix products."""

from __future__ import annotations

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
    FLOATS,
    Expr,
    MatMul,
    View,
    apply,
)
from flatout.codegen.operators import elementwise
from flatout.codegen.values import (
    Stored,
)

# A gradient with at least so many elements, in rows of at least so many, is summed row by row.
_LARGE_GRADIENT = 512
_WIDE = 16


@lowers(aten.mm.default, aten.addmm.default)
def _mm(low: Lowerer, node: fx.Node, args: list[Operand], kwargs: dict[str, Operand]) -> Operand:
    shape, dtype = result_of(node)
    if dtype not in FLOATS:
        raise NotLoweredError(f"a matrix product of {dtype} in {describe(node)}")
    scale, keep = kwargs.get("alpha", 1), kwargs.get("beta", 1)
    scaled = node.target is aten.addmm.default and not (_is_one(scale) and _is_one(keep))
    bias_node, left, right = node.args if node.target is aten.addmm.default else (None, *node.args)
    a = low.operand_in_memory(left)  # type: ignore[arg-type]
    b = low.operand_in_memory(right)  # type: ignore[arg-type]
    large = shape[0] * shape[1] >= _LARGE_GRADIENT and shape[1] >= _WIDE
    if a.batch_axis == 1 and large and (not low.in_slices or low.is_gathered(b)):
        b = low.in_rows(b)  # summed over the samples: rows of features are better vectors than samples
    batch_axis = 0 if a.batch_axis == 0 else 1 if b.batch_axis == 1 else None
    bias = None
    if bias_node is not None and not scaled:
        stored = low.operand_in_memory(bias_node)  # type: ignore[arg-type]
        lead = 2 - len(stored.shape)
        strides = [0] * lead + [
            0 if size == 1 and shape[lead + axis] != 1 else stride
            for axis, (size, stride) in enumerate(zip(stored.shape, stored.view.strides, strict=True))
        ]
        bias = View(stored.view.buffer, shape, tuple(strides), stored.view.offset)
    out = low.temporary(node.name, shape, dtype, batch_axis)
    low.program.kernels.append(MatMul(out, a.view, b.view, bias, comment=describe(node)))
    product = Stored(out, batch_axis)
    if not scaled:
        return product

    def formula(x: Expr, c: Expr, y: Expr, d: Expr) -> Expr:
        return apply("add", apply("mul", x, c, dtype=dtype), apply("mul", y, d, dtype=dtype), dtype=dtype)

    if _is_zero(keep):  # then NaN in what is added does not count
        return elementwise(low, node, [product, scale], lambda y, d: apply("mul", y, d, dtype=dtype))
    return elementwise(low, node, [args[0], keep, product, scale], formula, cost=3)


def _is_one(factor: Operand) -> bool:
    return isinstance(factor, (int, float)) and factor == 1


def _is_zero(factor: Operand) -> bool:
    return isinstance(factor, (int, float)) and factor == 0
