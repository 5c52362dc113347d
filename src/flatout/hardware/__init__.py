"""Devices: which are here, putting things on them, and what to do when two of them meet."""

from flatout.hardware.mismatch import explain_device_errors, explain_mismatch, is_device_mismatch
from flatout.hardware.placement import find_device, to_device, try_all_gpus, try_gpu

__all__ = [
    "explain_device_errors",
    "explain_mismatch",
    "find_device",
    "is_device_mismatch",
    "to_device",
    "try_all_gpus",
    "try_gpu",
]
