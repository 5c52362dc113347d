"""What decides in Python on the value of a tensor, in a form a graph can hold.

PyTorch itself asks for values in a few places: RAdam and ASGD branch on their step counter, Adafactor takes
the larger of two numbers, a cumulative batch norm divides by how many batches it has seen, and the Gaussian
loss looks for negative variances. Each has a form without the question that computes the same.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn, optim
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim import Optimizer

# Optimizers with a second form, without branches, for CUDA graphs; and the numbers they branch on, which that
# form has as tensors. Eager has them as numbers of Python, which are double.
_CAPTURABLE: dict[type[Optimizer], tuple[str, ...]] = {
    optim.RAdam: ("step",),
    optim.ASGD: ("step", "eta", "mu"),
}


@contextmanager
def branch_free_update(optimizer: Optimizer) -> Iterator[None]:
    """Let an optimizer make its update without a question about values."""
    if type(optimizer) in _CAPTURABLE:
        with _as_capturable(optimizer, _CAPTURABLE[type(optimizer)]):
            yield
    elif type(optimizer) is optim.Adafactor:
        with _symbolic_extremes(inspect.unwrap(optim.Adafactor.step).__globals__):
            yield
    else:
        yield


@contextmanager
def branch_free_layers(modules: list[nn.Module]) -> Iterator[None]:
    """Let the batch norms with a cumulative average count with tensors."""
    changed = [
        module
        for part in modules
        for module in part.modules()
        if isinstance(module, _BatchNorm)
        and module.training
        and module.momentum is None
        and module.running_mean is not None
        and type(module).forward is _BatchNorm.forward
    ]
    try:
        for module in changed:
            module.__dict__["forward"] = _cumulative_batch_norm(module)
        yield
    finally:
        for module in changed:
            module.__dict__.pop("forward", None)


@contextmanager
def _as_capturable(optimizer: Optimizer, keys: tuple[str, ...]) -> Iterator[None]:
    """The form for CUDA graphs, in double, on any device: only a compiler may ask for that."""
    kept = [
        (entries, key, entries[key].dtype)
        for entries in optimizer.state.values()
        for key in keys
        if isinstance(entries.get(key), Tensor)
    ]
    for entries, key, _ in kept:
        entries[key] = entries[key].to(torch.float64)
    wished = [group["capturable"] for group in optimizer.param_groups]
    asked: Any = torch.compiler
    is_compiling = asked.is_compiling
    asked.is_compiling = lambda: True
    try:
        for group in optimizer.param_groups:
            group["capturable"] = True
        yield
    finally:
        asked.is_compiling = is_compiling
        for group, wish in zip(optimizer.param_groups, wished, strict=True):
            group["capturable"] = wish
    for entries, key, dtype in kept:
        entries[key] = entries[key].to(dtype)


@contextmanager
def _symbolic_extremes(names: dict[str, Any]) -> Iterator[None]:
    """The `min` and `max` that one module sees take numbers that are not known yet."""
    names.update(min=torch.sym_min, max=torch.sym_max)
    try:
        yield
    finally:
        del names["min"], names["max"]


def _cumulative_batch_norm(module: _BatchNorm) -> Callable[[Tensor], Tensor]:
    def forward(x: Tensor) -> Tensor:
        module._check_input_dim(x)  # type: ignore[no-untyped-call]
        mean, var, count = module.running_mean, module.running_var, module.num_batches_tracked
        assert mean is not None and var is not None and count is not None
        count.add_(1)
        share = 1.0 / count.to(torch.float64)
        axes = [axis for axis in range(x.dim()) if axis != 1]
        with torch.no_grad():
            mean.copy_(mean * (1 - share) + x.mean(axes) * share)
            var.copy_(var * (1 - share) + x.var(axes) * share)
        return F.batch_norm(x, None, None, module.weight, module.bias, training=True, eps=module.eps)

    return forward


def _gaussian_nll_loss(
    input: Tensor,
    target: Tensor,
    var: Tensor | float,
    full: bool = False,
    eps: float = 1e-6,
    reduction: str = "mean",
) -> Tensor:
    """PyTorch's loss; where eager raises, for a negative variance, it is NaN."""
    if not isinstance(var, Tensor):
        var = torch.full_like(input, var)
    elif var.shape != input.shape and var.shape == input.shape[:-1]:
        var = var.unsqueeze(-1)
    elif var.shape != input.shape and (var.shape[:-1] != input.shape[:-1] or var.shape[-1] != 1):
        raise ValueError("var is of incorrect size")
    safe = var + (var.detach().clamp(min=eps) - var.detach())  # the gradient goes past the bound
    loss = 0.5 * (torch.log(safe) + (input - target) ** 2 / safe)
    if full:
        loss = loss + 0.5 * math.log(2 * math.pi)
    loss = torch.where((var < 0).any(), torch.full_like(loss, math.nan), loss)
    return loss.mean() if reduction == "mean" else loss.sum() if reduction == "sum" else loss


FUNCTIONS: dict[Any, Callable[..., Tensor]] = {F.gaussian_nll_loss: _gaussian_nll_loss}
