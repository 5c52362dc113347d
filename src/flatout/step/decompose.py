"""Which operators of ATen a traced step is taken apart into."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import fx
from torch._decomp import core_aten_decompositions, get_decompositions

aten = torch.ops.aten

# What PyTorch's core set leaves whole and a plan can do as well in parts.
_TAKEN_APART: list[Any] = [
    aten.native_layer_norm, aten.native_group_norm, aten._native_batch_norm_legit_functional,
    aten._native_batch_norm_legit_no_training, aten._native_batch_norm_legit.no_stats,
    aten.gelu, aten.elu, aten.leaky_relu, aten.hardtanh,
    aten.linalg_vector_norm, aten.repeat, aten.diagonal_scatter, aten.embedding, aten.index_select,
    aten.slice_scatter,
    aten.sinh, aten.cosh, aten.clamp.Tensor, aten.copysign,
]  # fmt: skip


def decompositions() -> dict[Any, Callable[..., Any]]:
    """The table for tracing."""
    own: dict[Any, Callable[..., Any]] = {
        aten.var.correction: _var,
        aten.var_mean.correction: _var_mean,
        aten.softshrink_backward.default: _shrink_backward,
        aten.hardshrink_backward.default: _shrink_backward,
        aten.isnan.default: lambda x: torch.ne(x, x),
    }
    parts: dict[Any, Any] = get_decompositions(_TAKEN_APART)
    return {**core_aten_decompositions(), **parts, **own}


class InFunctions(fx.Interpreter):
    """Runs a traced step with operators that say which of their arguments they change."""

    def call_function(self, target: Any, args: Any, kwargs: Any) -> Any:
        # native_batch_norm changes the running statistics, which its schema keeps to itself.
        if target is aten.native_batch_norm.default:
            x, weight, bias, mean, variance, training, momentum, eps = args
            if mean is not None:
                whole = aten._native_batch_norm_legit.default
                return whole(x, weight, bias, mean, variance, training, momentum, eps)
            return aten._native_batch_norm_legit.no_stats(x, weight, bias, training, momentum, eps)
        return super().call_function(target, args, kwargs)


def _var(x: Any, dim: Any = None, *, correction: Any = None, keepdim: bool = False) -> Any:
    dims = list(range(x.dim())) if not dim else [d % max(1, x.dim()) for d in dim]
    count = 1
    for d in dims:
        count *= x.shape[d] if x.dim() else 1
    rest = max(0, count - (1 if correction is None else correction))
    total = (x - x.mean(dims, keepdim=True)).square().sum(dims, keepdim=keepdim)
    return total / rest if rest else total * float("nan") if count <= 1 else total / 0.0


def _var_mean(x: Any, dim: Any = None, *, correction: Any = None, keepdim: bool = False) -> Any:
    dims = dim or list(range(x.dim()))
    return _var(x, dim, correction=correction, keepdim=keepdim), x.mean(dims, keepdim=keepdim)


def _shrink_backward(gradient: Any, x: Any, threshold: float) -> Any:
    return torch.where((x >= -threshold) & (x <= threshold), torch.zeros_like(gradient), gradient)
