"""What the survey takes from others: the CPU, the verdict on the GPUs' health, what a card's name says."""

from __future__ import annotations

import re
import sys
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from flatout.hardware.ask import ask

if TYPE_CHECKING:
    from flatout.hardware.cpu import Cpu
    from flatout.hardware.doctor import Diagnosis
    from flatout.hardware.gpu import Gpu
    from flatout.hardware.torch_build import TorchBuild


def cpu_here() -> Cpu:
    """The CPU."""
    from flatout.hardware.cpu import cpu

    return cpu()


def health_here(timeout: float, build: TorchBuild | None = None) -> Diagnosis | None:
    """Whether torch can use a GPU here; None where that cannot be found out.

    Args:
        timeout: seconds the child process that tries it may take.
        build: this torch, where it is built for the CPU only, so that there is nothing to try.
    """
    from flatout.hardware.doctor import diagnose_machine
    from flatout.hardware.doctor.evidence import Torch

    torch = None if build is None else Torch(build.version)
    return ask(lambda: diagnose_machine(timeout=timeout, torch=torch))


def torch_is_for_gpus() -> bool:
    """Whether the torch that is installed was built for any GPU, found out without importing it."""
    found = find_spec("torch")
    if sys.platform == "darwin" or found is None or found.origin is None:
        return True
    told = ask(Path(found.origin).with_name("version.py").read_text)
    return told is None or re.search(r"^(cuda|hip|xpu)\b[^=\n]*= *['\"]", told, re.MULTILINE) is not None


def named(gpu: Gpu) -> Gpu:
    """The GPU with what its name says."""
    from flatout.gpus.names import decode

    name = decode(gpu.name)
    if not name.family:
        return gpu
    generation = " ".join(filter(None, (name.family, name.generation)))
    return replace(gpu, generation=generation, name_means=" ".join(name.meaning) or None)
