"""How much memory is free on a device."""

from __future__ import annotations

import psutil
import torch


def free_memory(device: torch.device) -> int | None:
    """Bytes that are free on a device; None where that cannot be asked.

    >>> free_memory(torch.device("cpu")) > 0, free_memory(torch.device("meta"))
    (True, None)
    """
    if device.type == "cpu":
        return int(psutil.virtual_memory().available)
    if device.type in ("cuda", "xpu"):
        return int(torch.get_device_module(device.type).mem_get_info(device)[0])
    if device.type == "mps":
        return torch.mps.recommended_max_memory() - torch.mps.driver_allocated_memory()
    return None
