"""Try to use the GPU, in a process of its own: a broken driver may hang it or bring it down.

Run as a script. Each step prints a line of JSON when it begins and one when it has an answer, so that
whoever waits knows how far it came. Nothing of flatout is imported.
"""

from __future__ import annotations

import ctypes
import errno
import glob
import json
import os
import re
import sys
import warnings
from collections.abc import Callable
from typing import Any


def _tell(step: str, **answer: Any) -> None:
    sys.stdout.write(json.dumps({"step": step, **answer}) + "\n")
    sys.stdout.flush()


# /dev/dri/card* belongs to whoever sits at the screen; computing needs renderD* only.
_DEVICE_FILES = (
    "/dev/nvidia[0-9]*",
    "/dev/nvidiactl",
    "/dev/nvidia-uvm",
    "/dev/kfd",
    "/dev/dri/renderD*",
    "/dev/dxg",
)


def _device_files() -> dict[str, Any]:
    """Why each device file cannot be opened; None for one that can."""
    found: dict[str, str | None] = {}
    for path in sorted(path for pattern in _DEVICE_FILES for path in glob.glob(pattern)):  # noqa: PTH207
        try:
            os.close(os.open(path, os.O_RDWR))
            found[path] = None
        except OSError as problem:
            found[path] = errno.errorcode.get(problem.errno or 0, "unknown")
    return found


def _cuda_driver() -> dict[str, Any]:
    """What libcuda itself answers: it does not depend on how torch was built."""
    name = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"
    try:
        library = ctypes.CDLL(name)
    except OSError as problem:
        return {"load_error": str(problem)}
    answer: dict[str, Any] = {"path": _library_path()}
    version = ctypes.c_int()
    if library.cuDriverGetVersion(ctypes.byref(version)) == 0 and version.value:
        answer["cuda"] = [version.value // 1000, version.value % 1000 // 10]
    answer["cu_init"] = library.cuInit(0)
    return answer


def _library_path() -> str | None:
    """The libcuda this process has loaded."""
    try:
        with open("/proc/self/maps", encoding="utf-8") as maps:  # noqa: PTH123  (starts quicker without pathlib)
            found = re.search(r"(/\S*/libcuda\.so\S*)", maps.read())
    except OSError:
        return None
    return found[1] if found else None


def _torch() -> dict[str, Any]:
    try:
        import torch
    except Exception as problem:  # noqa: BLE001  (an install can break in any way; it is reported)
        return {"error": f"{type(problem).__name__}: {problem}"}
    return {
        "version": torch.__version__,
        "cuda": torch.version.cuda,
        "hip": torch.version.hip,
        "xpu": getattr(torch.version, "xpu", None),
        "mps_built": torch.backends.mps.is_built(),
        "architectures": (_architectures(torch) or "").split(),
    }


def _architectures(torch: Any) -> str | None:
    """What the build has code for. `torch.cuda.get_arch_list` tells it only where there is a GPU."""
    flags: str | None = getattr(torch._C, "_cuda_getArchFlags", lambda: None)()
    return flags


def _use_gpu() -> dict[str, Any]:
    import torch

    kind = "cuda"
    if not (torch.version.cuda or torch.version.hip):
        kind = "xpu" if getattr(torch.version, "xpu", None) else kind
        kind = "mps" if torch.backends.mps.is_built() else kind
    answer: dict[str, Any] = {"available": False, "device_count": 0, "devices": [], "error": None}
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            module: Any = getattr(torch, kind)
            answer["available"] = (torch.backends.mps if kind == "mps" else module).is_available()
            answer["device_count"] = module.device_count() if answer["available"] else 0
            (torch.zeros(1, device=kind) + 1).cpu()
        except Exception as problem:  # noqa: BLE001  (its text is the evidence)
            answer["error"] = str(problem)
    answer["warnings"] = [str(warning.message) for warning in caught]
    if answer["device_count"] and kind != "mps":
        answer["devices"] = _devices(getattr(torch, kind), answer["device_count"])
    elif answer["device_count"]:
        answer["devices"] = [["Apple GPU", "mps"]]
    return answer


def _devices(module: Any, count: int) -> list[list[str]]:
    found = []
    for index in range(count):
        try:
            about = module.get_device_properties(index)
        except Exception:  # noqa: BLE001  (a lost card; the others still count)
            continue
        architecture = getattr(about, "gcnArchName", None) or getattr(about, "architecture", None)
        if hasattr(about, "major") and not (architecture and str(architecture).startswith("gfx")):
            architecture = f"{about.major}.{about.minor}"
        found.append([about.name, str(architecture)])
    return found


_Step = Callable[[], dict[str, Any]]


def main() -> None:
    """Take the steps, from the driver up.

    Where the caller has imported a torch that can use no GPU, what it is comes as an argument, and neither it
    nor a GPU is tried: importing torch takes longer than all the rest.
    """
    known: dict[str, Any] | None = json.loads(sys.argv[1]) if len(sys.argv) > 1 else None
    steps: tuple[tuple[str, _Step], ...] = (
        ("files", _device_files),
        ("driver", _cuda_driver),
        ("torch", _torch if known is None else lambda: known),
        *((("gpu", _use_gpu),) if known is None else ()),
    )
    for step, take in steps:
        _tell(step)
        answer = take()
        _tell(step, answer=answer)
        if step == "torch" and answer.get("error"):
            return
    _tell("end")


if __name__ == "__main__":
    main()
