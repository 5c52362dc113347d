"""Hardware: which is here, putting things on it, and what to do when two devices meet.

Each name is imported when it is first used: what only looks at the machine works without torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from flatout.hardware.mismatch import explain_device_errors, explain_mismatch, is_device_mismatch
    from flatout.hardware.placement import find_device, to_device, try_all_gpus, try_gpu

_HOMES = {
    "explain_device_errors": "flatout.hardware.mismatch",
    "explain_mismatch": "flatout.hardware.mismatch",
    "find_device": "flatout.hardware.placement",
    "is_device_mismatch": "flatout.hardware.mismatch",
    "to_device": "flatout.hardware.placement",
    "try_all_gpus": "flatout.hardware.placement",
    "try_gpu": "flatout.hardware.placement",
}

__all__ = [
    "explain_device_errors",
    "explain_mismatch",
    "find_device",
    "is_device_mismatch",
    "to_device",
    "try_all_gpus",
    "try_gpu",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'flatout.hardware' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return __all__
