"""The backward pass and the optimizer's own update with less Python around them, bit for bit the same.

Three things are left out. The checks `loss.backward()` makes of its arguments: the engine is called with a
gradient of 1 that is made once. The decorator that marks each update for a profiler, where nobody listens.
And, for small models on a CPU, the loop over parameters in Python: with `foreach=True` the optimizer hands
all parameters to one call an operation, which computes the same operations in the same order. (On a CPU
`fused=True` is faster still but rounds differently, so it is left to plans that are checked.)
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, optim
from torch.optim import Optimizer
from torch.optim import optimizer as optimizer_hooks

# Those whose `foreach` gives the bits of their loop; NAdam, RAdam and ASGD round differently.
_SAME_BITS = (optim.SGD, optim.Adam, optim.AdamW, optim.RMSprop, optim.Adagrad, optim.Adamax, optim.Adadelta)
# With more numbers than this the copies `foreach` makes cost more than the calls it saves.
_MOST_NUMBERS = 1 << 16


class QuickBackward:
    """`loss.backward()` for one scalar loss after another, the gradient of 1 made only once."""

    def __init__(self) -> None:
        self._engine = getattr(torch.autograd.Variable, "_execution_engine", None)
        self._one: Tensor | None = None

    def __call__(self, loss: Tensor) -> None:
        """Add the gradients of `loss` to the leaves it depends on."""
        one = self._one
        if self._engine is None or type(loss) is not Tensor or not loss.is_floating_point():
            loss.backward()  # type: ignore[no-untyped-call]
            return
        if one is None or one.dtype != loss.dtype or one.device != loss.device:
            one = self._one = torch.ones_like(loss)
        self._engine.run_backward(
            (loss,), (one,), False, False, (), allow_unreachable=True, accumulate_grad=True
        )


def quick_step(optimizer: Optimizer) -> Callable[[], Any]:
    """`optimizer.step` without the profiler's mark around it, where nothing depends on the mark."""
    plain = getattr(type(optimizer).step, "__wrapped__", None)
    if plain is None or "step" in vars(optimizer) or _has_hooks(optimizer):
        return optimizer.step
    return lambda: plain(optimizer)


def _has_hooks(optimizer: Optimizer) -> bool:
    return bool(
        optimizer._optimizer_step_pre_hooks
        or optimizer._optimizer_step_post_hooks
        or optimizer_hooks._global_optimizer_pre_hooks
        or optimizer_hooks._global_optimizer_post_hooks
        or torch.autograd.profiler._is_profiler_enabled
    )


def quick_zero_grad(optimizer: Optimizer) -> Callable[[], Any]:
    """`optimizer.zero_grad` without the profiler's mark; its parameters are looked up once."""
    if type(optimizer).zero_grad is not Optimizer.zero_grad or "zero_grad" in vars(optimizer):
        return optimizer.zero_grad
    parameters = [p for group in optimizer.param_groups for p in group["params"]]

    def zero_grad() -> None:
        for parameter in parameters:
            parameter.grad = None

    return zero_grad


@contextmanager
def all_parameters_at_once(optimizer: Optimizer) -> Iterator[None]:
    """Let the optimizer use `foreach` meanwhile, where that is the same bits and the user left it open."""
    groups = optimizer.param_groups if type(optimizer) in _SAME_BITS else []
    chosen = [group for group in groups if _left_open(group)]
    if sum(p.numel() for group in chosen for p in group["params"]) > _MOST_NUMBERS:
        chosen = []
    for group in chosen:
        group["foreach"] = True
    try:
        yield
    finally:
        for group in chosen:
            group["foreach"] = None


def _left_open(group: dict[str, Any]) -> bool:
    undecided = "foreach" in group and group["foreach"] is None and not group.get("fused")
    special = group.get("capturable") or group.get("differentiable")
    return undecided and not special and all(_is_plain(p) for p in group["params"])


def _is_plain(parameter: Tensor) -> bool:
    return parameter.device.type == "cpu" and parameter.layout == torch.strided and not parameter.is_complex()
