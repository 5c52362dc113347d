"""The devices a lab measures on, and why some are left out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from flatout.hardware.peaks_file import name_of, today, versions
from flatout.hardware.placement import find_device, try_all_gpus

_NO_GPU = "There is no GPU here that torch can use; flatout doctor says why."


@dataclass(frozen=True)
class Places:
    """Where to measure.

    Attributes:
        devices: those that work, the CPU first.
        left_out: the others, each with the reason, in sentences.
    """

    devices: tuple[torch.device, ...]
    left_out: tuple[str, ...] = ()

    @property
    def gpus(self) -> tuple[torch.device, ...]:
        """Those that are not the CPU."""
        return tuple(device for device in self.devices if device.type != "cpu")


def places(names: Sequence[str] = ()) -> Places:
    """The devices called so; with no name the CPU and every accelerator that computes.

    An accelerator can be here and not compute, with a build of torch that has no code for it.

    Raises:
        DeviceNotFoundError: one that is named is not here.

    Example:
        >>> places(["cpu"]).devices
        (device(type='cpu'),)
    """
    asked = [find_device(name) for name in names] or [torch.device("cpu"), *try_all_gpus()]
    working: list[torch.device] = []
    left_out = [] if names or any(device.type != "cpu" for device in asked) else [_NO_GPU]
    for device in dict.fromkeys(asked):
        why = _why_not(device)
        if why is None:
            working.append(device)
        else:
            left_out.append(f"{device} is left out: {why}; flatout doctor says more")
    working.sort(key=lambda device: device.type != "cpu")
    return Places(tuple(working), tuple(left_out))


def measured_on(devices: Sequence[torch.device]) -> str:
    """What the numbers were measured on, when, and with which versions, in a line."""
    names = ", ".join(f"{device} {name_of(device)}" for device in devices)
    threads = torch.get_num_threads()
    used = "one thread" if threads == 1 else f"{threads} threads"
    return f"Measured on {names}, {used}; {today()}; {versions()}."


def _why_not(device: torch.device) -> str | None:
    """Why a device does not compute; None where it does."""
    if device.type == "cpu":
        return None
    try:
        ones = torch.ones(8, 8, device=device)
        (ones @ ones).sum().item()
    except (RuntimeError, NotImplementedError) as error:
        return str(error).partition("\n")[0]
    return None
