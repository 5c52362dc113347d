"""Run a failing computation once more, watching where its tensors are made, and leave no trace of it."""

from __future__ import annotations

import random
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from types import FrameType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from torch.overrides import TorchFunctionMode
from torch.utils.weak import WeakTensorKeyDictionary

from flatout.hardware.mismatch_origin import (
    Origin,
    origin_of_made,
    origin_of_moved,
    tensors_in,
    user_frame,
)
from flatout.hardware.placement import same_device


@dataclass
class Rerun:
    """What the second run showed: the error it ended with and the tensors of the call that raised it."""

    error: BaseException | None = None
    met: list[Tensor] = field(default_factory=list)
    origins: Any = field(default_factory=WeakTensorKeyDictionary)


class _Watch(TorchFunctionMode):
    """Notes for each new tensor where it comes from, and the arguments of the call that fails."""

    def __init__(self, rerun: Rerun) -> None:
        super().__init__()
        self.rerun = rerun

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        try:
            result = func(*args, **kwargs)
        except RuntimeError:
            # The last call to fail is the one whose error comes out, unless the user caught it.
            self.rerun.met = [tensor for _, tensor in tensors_in((args, kwargs), "")]
            raise
        new = [tensor for _, tensor in tensors_in(result, "") if tensor not in self.rerun.origins]
        if new:
            frame = user_frame(sys._getframe(1))
            given = [tensor for _, tensor in tensors_in((args, kwargs), "")]
            for tensor in new:
                self._note(tensor, given, func, frame)
        return result

    def _note(self, tensor: Tensor, given: list[Tensor], func: Any, frame: FrameType | None) -> None:
        origins = self.rerun.origins
        here = [other for other in given if same_device(other.device, tensor.device)]
        known = [origins[other] for other in here if other in origins]
        if known:
            origins[tensor] = known[0]
        elif frame is not None and given and not here:
            origins[tensor] = origin_of_moved(frame, given[0].device)
        elif frame is not None and not here:
            origins[tensor] = origin_of_made(frame, getattr(func, "__name__", ""), tensor.device)


def run_again(model: nn.Module, call: Callable[[], Any], names: list[tuple[Tensor, Origin]]) -> Rerun:
    """Call `call` under watch, with everything that it changes in `model` put back afterwards."""
    rerun = Rerun()
    for tensor, origin in names:
        rerun.origins[tensor] = origin
    if any(is_lazy(tensor) for tensor in [*model.parameters(), *model.buffers()]):
        return rerun  # a lazy module can neither be copied nor put back
    try:
        with _unchanged(model), _eagerly(), _Watch(rerun):
            call()
    except Exception as error:  # noqa: BLE001 - whatever it is, the first error is the one to explain
        rerun.error = error
    return rerun


def _eagerly() -> Any:
    """Compiled code shows no single calls; without torch.compile there is nothing to turn off."""
    return torch.compiler.set_stance("force_eager") if "torch._dynamo" in sys.modules else nullcontext()


@contextmanager
def _unchanged(model: nn.Module) -> Iterator[None]:
    """Put back parameters, buffers, gradients, attributes and random states at the end."""
    modules = list(model.modules())
    tensors = [*model.parameters(), *model.buffers()]
    for module in modules:
        tensors += [value for value in vars(module).values() if isinstance(value, Tensor)]
    # A tensor that lies over itself (made by `expand`) cannot have been written to.
    copies = [(tensor, tensor.detach().clone()) for tensor in tensors if not _lies_over_itself(tensor)]
    inner = ("_parameters", "_buffers", "_modules")
    attributes = [(vars(module), dict(vars(module))) for module in modules]
    attributes += [
        (table, dict(table)) for module in modules for key in inner if (table := vars(module).get(key))
    ]
    gradients = [(parameter, parameter.grad) for parameter in model.parameters()]
    put_back_random = _random_states()
    try:
        for parameter, _ in gradients:
            parameter.grad = None  # a backward in the call must not add to the gradients that are there
        yield
    finally:
        for table, saved in attributes:
            table.clear()
            table.update(saved)
        for tensor, saved_tensor in copies:
            with torch.inference_mode(tensor.is_inference()):
                tensor.data.copy_(saved_tensor)
        for parameter, gradient in gradients:
            parameter.grad = gradient
        for put_back, state in put_back_random:
            put_back(state)


def _lies_over_itself(tensor: Tensor) -> bool:
    if tensor.layout is not torch.strided:
        return False
    return any(stride == 0 and size > 1 for size, stride in zip(tensor.shape, tensor.stride(), strict=True))


def _random_states() -> list[tuple[Callable[[Any], Any], Any]]:
    """Every random generator's state, with the function that sets it."""
    states: list[tuple[Callable[[Any], Any], Any]] = [
        (random.setstate, random.getstate()),
        (np.random.set_state, np.random.get_state()),
        (torch.set_rng_state, torch.get_rng_state()),
    ]
    if torch.cuda.is_available():
        states.append((torch.cuda.set_rng_state_all, torch.cuda.get_rng_state_all()))
    if torch.backends.mps.is_available():
        states.append((torch.mps.set_rng_state, torch.mps.get_rng_state()))
    if torch.xpu.is_available():
        states.append((torch.xpu.set_rng_state_all, torch.xpu.get_rng_state_all()))
    return states
