"""What a script ran on and with: versions, CPU, GPU, threads. Nothing here loads torch or wakes a GPU."""

from __future__ import annotations

import platform
import sys
from typing import Any

from flatout._version import __version__


def versions() -> dict[str, str | None]:
    """Of flatout, Python, torch and CUDA; None where torch was not loaded or has no CUDA."""
    torch = sys.modules.get("torch")
    return {
        "flatout": __version__,
        "python": platform.python_version(),
        "torch": None if torch is None else str(torch.__version__),
        "cuda": None if torch is None else torch.version.cuda,
    }


def machine() -> dict[str, Any]:
    """The machine: "system", "cpu", "cores", "threads" (torch's own) and "gpu" (the one in use, or None)."""
    from flatout.hardware.cpu import cpu

    here = cpu()
    torch = sys.modules.get("torch")
    gpu = None
    if torch is not None and torch.cuda.is_initialized():
        gpu = torch.cuda.get_device_name()
    return {
        "system": f"{platform.system()} {platform.machine()}",
        "cpu": here.name,
        "cores": here.usable_cpus,
        "threads": None if torch is None else torch.get_num_threads(),
        "gpu": gpu,
    }
