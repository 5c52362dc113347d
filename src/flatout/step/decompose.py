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
    aten.linalg_vector_norm, aten.repeat, aten.embedding, aten.index_select, aten.slice_scatter,
    aten.clamp.Tensor, aten.addmv, aten.addr,
]  # fmt: skip


def decompositions() -> dict[Any, Callable[..., Any]]:
    """The table for tracing."""
    own: dict[Any, Callable[..., Any]] = {
        aten.var.correction: _var,
        aten.var_mean.correction: _var_mean,
        aten.softshrink_backward.default: _shrink_backward,
        aten.hardshrink_backward.default: _shrink_backward,
        aten.hardsigmoid_backward.default: _hardsigmoid_backward,
        aten.isnan.default: lambda x: torch.ne(x, x),
        aten.ldexp.Tensor: lambda x, power: x * torch.exp2(power.to(x.dtype)),
        aten.diagonal_scatter.default: _diagonal_scatter,
        aten._trilinear.default: _trilinear,
        aten._weight_norm_interface_backward.default: _weight_norm_backward,
        aten.multi_margin_loss.default: _multi_margin_loss,
        aten.multi_margin_loss_backward.default: _multi_margin_loss_backward,
    }
    parts: dict[Any, Any] = get_decompositions(_TAKEN_APART)
    return {**core_aten_decompositions(), **parts, **own}


class InFunctions(fx.Interpreter):
    """Runs a traced step with operators that say which of their arguments they change.

    Args:
        graph: the step.
        replaced: nodes that are not run, and what they give.
    """

    def __init__(self, graph: fx.GraphModule, replaced: dict[fx.Node, Any]) -> None:
        super().__init__(graph)
        self._replaced = replaced

    def run_node(self, node: fx.Node) -> Any:
        return self._replaced[node] if node in self._replaced else super().run_node(node)

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


# Eager has this in single precision, whatever the type of the tensor.
_A_SIXTH = float(torch.tensor(1.0 / 6.0, dtype=torch.float32))


def _hardsigmoid_backward(gradient: Any, x: Any) -> Any:
    return torch.where((x > -3) & (x < 3), gradient * _A_SIXTH, torch.zeros_like(gradient))


def _shrink_backward(gradient: Any, x: Any, threshold: float) -> Any:
    return torch.where((x >= -threshold) & (x <= threshold), torch.zeros_like(gradient), gradient)


def _diagonal_scatter(x: Any, source: Any, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Any:
    """x with a diagonal replaced, by a mask."""
    wide = x.movedim((dim1, dim2), (-2, -1))
    row = torch.arange(wide.shape[-2], device=x.device).unsqueeze(1)
    column = torch.arange(wide.shape[-1], device=x.device)
    along = torch.clamp((row if offset >= 0 else column).expand(wide.shape[-2:]), max=source.shape[-1] - 1)
    there = (column - row == offset) & ((row if offset >= 0 else column) < source.shape[-1])
    return torch.where(there, source[..., along], wide).movedim((-2, -1), (dim1, dim2))


def _trilinear(
    a: Any, b: Any, c: Any, expand_a: Any, expand_b: Any, expand_c: Any, summed: Any, _: int = 1
) -> Any:
    """Products of three tensors, each given the dimensions it has not, and summed over some."""
    for position in sorted(expand_a):
        a = a.unsqueeze(position)
    for position in sorted(expand_b):
        b = b.unsqueeze(position)
    for position in sorted(expand_c):
        c = c.unsqueeze(position)
    product = a * b * c
    return product.sum(list(summed)) if summed else product


def _weight_norm_backward(gradient: Any, v: Any, g: Any, norms: Any, dim: int) -> Any:
    """Of w = g v / |v|."""
    others = [axis for axis in range(v.dim()) if axis != dim % v.dim()]
    along = (gradient * v).sum(others, keepdim=True) / norms
    return g / norms * (gradient - v * along / norms), along


def _margins(x: Any, target: Any, margin: Any, weight: Any) -> Any:
    """By how much each class is too near to the right one, which classes count, and their weight."""
    rows = x if x.dim() == 2 else x.unsqueeze(0)
    target = target.reshape(-1, 1)
    other = torch.arange(rows.shape[1], device=x.device) != target
    missing = margin - rows.gather(1, target) + rows
    factor = 1.0 / rows.shape[1] if weight is None else weight[target] / rows.shape[1]
    return missing, other & (missing > 0), factor, other


def _multi_margin_loss(
    x: Any, target: Any, p: Any = 1, margin: Any = 1, weight: Any = None, reduction: int = 1
) -> Any:
    missing, counted, factor, _ = _margins(x, target, margin, weight)
    powers = missing if p == 1 else missing * missing
    losses = (torch.where(counted, powers, torch.zeros_like(powers)) * factor).sum(1)
    if reduction == 0:
        return losses if x.dim() == 2 else losses.squeeze(0)
    return losses.mean() if reduction == 1 else losses.sum()


def _multi_margin_loss_backward(
    gradient: Any, x: Any, target: Any, p: Any, margin: Any, weight: Any = None, reduction: int = 1
) -> Any:
    missing, counted, factor, other = _margins(x, target, margin, weight)
    slopes = torch.ones_like(missing) if p == 1 else 2 * missing
    slopes = torch.where(counted, slopes, torch.zeros_like(slopes)) * factor
    slopes = torch.where(other, slopes, -slopes.sum(1, keepdim=True))
    scale = gradient.reshape(-1, 1) if reduction == 0 else gradient
    slopes = slopes * scale / (slopes.shape[0] if reduction == 1 else 1)
    return slopes if x.dim() == 2 else slopes.squeeze(0)
