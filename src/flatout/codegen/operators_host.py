"""Numbers of the host: step counters, learning rates and what is computed from them."""

from __future__ import annotations

import math
import operator

import torch
from torch import fx

from flatout.codegen.lower import (
    Lowerer,
    Operand,
    aten,
    describe,
    lowers,
)
from flatout.codegen.nest import (
    Expr,
    Number,
    ScalarRef,
    apply,
    convert,
    number,
)


@lowers(aten._local_scalar_dense.default)
def _item(low: Lowerer, node: fx.Node, args: list[Operand], kwargs: dict[str, Operand]) -> Operand:
    operand = args[0]
    if isinstance(operand, ScalarRef):
        return operand
    return low.scalar(node.name, convert(low.value(operand).at([]), "float64"), describe(node))


_SCALAR = {
    operator.add: "add",
    operator.sub: "sub",
    operator.mul: "mul",
    operator.truediv: "div",
    operator.pow: "pow",
    operator.neg: "neg",
    math.sqrt: "sqrt",
    getattr(torch, "sym_sqrt", None): "sqrt",
    getattr(torch, "_sym_sqrt", None): "sqrt",
    torch.sym_float: "same",
    torch.sym_max: "max",
    torch.sym_min: "min",
}


@lowers(*(target for target in _SCALAR if target is not None))
def _host(low: Lowerer, node: fx.Node, args: list[Operand], kwargs: dict[str, Operand]) -> Operand:
    op = _SCALAR[node.target]
    values = [convert(a, "float64") if isinstance(a, Expr) else number(a, "float64") for a in args]
    if op == "same":
        return values[0]
    if op == "pow" and isinstance(values[1], Number) and values[1].value == 0.5:
        op, values = "sqrt", values[:1]
    return low.scalar(node.name, apply(op, *values, dtype="float64"), describe(node))
