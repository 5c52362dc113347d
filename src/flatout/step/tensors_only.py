"""A traced step run with tensors where it has numbers of Python.

Optimizers read their step counter with `.item()`, and the learning rate comes in that way, so a traced step
has arithmetic on symbols in it. A compiler for tensors wants none: here each such number is a float64 tensor
without dimensions, and its arithmetic is arithmetic of tensors.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, fx

_FUNCTIONS: dict[Any, Callable[..., Any]] = {
    math.sqrt: torch.sqrt,
    math.exp: torch.exp,
    math.log: torch.log,
    torch.sym_float: lambda x: x.to(torch.float64),
    torch.sym_max: torch.maximum,
    torch.sym_min: torch.minimum,
    torch.sym_not: torch.logical_not,
}


class TensorsOnly(fx.Interpreter):
    """Runs a traced step; what it calls gets tensors only. Trace it again to have such a graph."""

    def run_node(self, node: fx.Node) -> Any:
        if node.op != "call_function":
            return super().run_node(node)
        args, kwargs = self.fetch_args_kwargs_from_env(node)
        target: Any = node.target
        if target is torch.ops.aten._local_scalar_dense.default:
            value = args[0]
            return value.to(torch.float64) if value.is_floating_point() else value
        if not isinstance(target, torch._ops.OpOverload):
            return self._on_numbers(target, args, kwargs)
        numbers = {id(self.env[source]) for source in node.all_input_nodes if _is_number(source)}
        if not numbers:
            return self.call_function(target, args, kwargs)
        return _with_numbers(node, target, args, kwargs, numbers)

    def _on_numbers(self, target: Any, args: Any, kwargs: Any) -> Any:
        """Arithmetic that was Python's."""
        if target is operator.getitem:
            return target(*args, **kwargs)
        function = _FUNCTIONS.get(target, target)
        if function in (torch.maximum, torch.minimum, torch.sqrt, torch.exp, torch.log):
            args = [x if isinstance(x, Tensor) else torch.tensor(x, dtype=torch.float64) for x in args]
        return function(*args, **kwargs)


def _is_number(node: fx.Node) -> bool:
    return isinstance(node.meta.get("val"), torch.SymInt | torch.SymFloat | torch.SymBool | int | float)


def _with_numbers(node: fx.Node, target: Any, args: Any, kwargs: Any, numbers: set[int]) -> Any:
    """An operator of ATen that took a number: its overload for tensors, in the type of its result."""
    result: Tensor = node.meta["val"]

    def typed(value: Any) -> Any:
        is_number = isinstance(value, Tensor) and id(value) in numbers
        return value.to(result.dtype) if is_number and result.dtype.is_floating_point else value

    args, kwargs = fx.node.map_aggregate(args, typed), dict(fx.node.map_aggregate(kwargs, typed))
    if target is torch.ops.aten.full.default:
        return args[1].to(result.device).expand(args[0]).clone()
    if target is torch.ops.aten.scalar_tensor.default:
        return args[0].to(result.device, result.dtype)
    if isinstance(kwargs.get("alpha"), Tensor):  # x ± alpha y; there is no overload with a tensor for alpha
        alpha = kwargs.pop("alpha")
        args = (args[0], args[1] * alpha)
    return target.overloadpacket(*args, **kwargs)
