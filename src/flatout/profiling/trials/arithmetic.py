"""Experiments with how the model computes: its types, and the order of its tensors in memory."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import torch
from torch import Tensor, nn

from flatout.hardware.cpu import cpu
from flatout.profiling.trials.setup import Setup
from flatout.profiling.trials.trial import Trial

_BF16: Final = ("AMX BF16", "AVX-512 BF16")  # without these a CPU converts more than it gains
_TF32: Final = (8, 0)  # Ampere


def float64(setup: Setup) -> Trial | None:
    """In float32, where parameters are float64."""
    if all(p.dtype != torch.float64 for p in setup.subject.model.parameters()):
        return None
    single = setup.copy(change=nn.Module.float, inputs=_single, within=_default_float32)
    return setup.trial(setup.base, single, "model.float()")


def bf16(setup: Setup) -> Trial | None:
    """Under autocast to bfloat16, where the device has instructions for it."""
    if not _in_float32(setup) or not _pays_for_bf16(setup.subject.device):
        return None
    kind = setup.subject.device.type
    cast = setup.base.under(autocast=torch.bfloat16)
    return setup.trial(setup.base, cast, f'torch.autocast("{kind}", torch.bfloat16)')


def tf32(setup: Setup) -> Trial | None:
    """With matrix products in TF32, on a GPU that has it."""
    device = setup.subject.device
    if device.type != "cuda" or not _in_float32(setup) or torch.version.cuda is None:
        return None
    if torch.cuda.get_device_capability(device) < _TF32 or torch.get_float32_matmul_precision() != "highest":
        return None
    return setup.trial(
        setup.base, setup.base.under(_matmul_in_tf32), 'torch.set_float32_matmul_precision("high")'
    )


def channels_last(setup: Setup) -> Trial | None:
    """With the channels of a picture side by side, where there are 2-D convolutions."""
    weights = [m.weight for m in setup.subject.model.modules() if isinstance(m, nn.Conv2d)]
    if not any(w.is_contiguous() and not w.is_contiguous(memory_format=torch.channels_last) for w in weights):
        return None
    last = setup.copy(
        change=lambda model: model.to(memory_format=torch.channels_last),
        inputs=_channels_last,
        every_step=True,
    )
    return setup.trial(setup.base, last, "model.to(memory_format=torch.channels_last)")


def _in_float32(setup: Setup) -> bool:
    plain = setup.subject.autocast is None
    return plain and all(
        p.dtype == torch.float32 for p in setup.subject.model.parameters() if p.is_floating_point()
    )


def _pays_for_bf16(device: torch.device) -> bool:
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return device.type == "cpu" and not set(_BF16).isdisjoint(cpu().vectors)


def _single(tensor: Tensor) -> Tensor:
    return tensor.float() if tensor.dtype == torch.float64 else tensor


def _channels_last(tensor: Tensor) -> Tensor:
    return tensor.contiguous(memory_format=torch.channels_last) if tensor.dim() == 4 else tensor


@contextmanager
def _default_float32() -> Iterator[None]:
    """What the forward makes by itself is float32, too."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float32 if before == torch.float64 else before)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


@contextmanager
def _matmul_in_tf32() -> Iterator[None]:
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)
