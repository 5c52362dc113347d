"""Use: hardware, driver and build are right, and it fails when torch begins."""

from __future__ import annotations

import re

from flatout.hardware.doctor.evidence import Evidence
from flatout.hardware.doctor.finding import Finding, Layer, Rule
from flatout.hardware.doctor.fixes import install_torch

_FORKED = ("Cannot re-initialize CUDA in forked subprocess",)
_IN_USE = (
    "CUDA out of memory",
    "CUDA error: out of memory",
    "HIP out of memory",
    "CUDA-capable device(s) is/are busy or unavailable",
)
_MACOS = ("The MPS backend is supported on MacOS",)
_INITIALIZATION = ("CUDA driver initialization failed, you might not have a CUDA gpu",)
_OLDEST_MACOS = (14, 0)
_STEPS = {
    "files": "opening the device files",
    "driver": "starting the CUDA driver (cuInit)",
    "torch": "importing torch",
    "gpu": "computing on the GPU",
}


def forked(evidence: Evidence) -> Finding | None:
    """This process was forked from one that had used CUDA."""
    if not (evidence.forked or any(text in evidence.probe.text for text in _FORKED)):
        return None
    return Finding(
        "forked",
        "This process is a fork of one that had already used CUDA, and CUDA does not survive a fork.",
        (
            "torch: Cannot re-initialize CUDA in forked subprocess",
            "in a process of its own torch "
            + ("uses the GPU without trouble" if evidence.probe.usable else "fails too"),
        ),
        (
            "Start processes by spawn, before anything else:",
            'torch.multiprocessing.set_start_method("spawn")',
            'A DataLoader: keep the dataset on the CPU, or pass multiprocessing_context="spawn".',
        ),
    )


def in_use(evidence: Evidence) -> Finding | None:
    """Other programs hold all of its memory, or all of it."""
    told = next((text for text in _IN_USE if text in evidence.probe.text), None)
    if told is None:
        return None
    holders = [f"process {process.pid} {process.name}" for process in evidence.processes]
    return Finding(
        "in_use",
        "The GPU works, but other programs leave nothing of it.",
        (f"torch: {told}", *holders),
        (
            "$ nvidia-smi    (who holds how much)"
            if evidence.wanted == "NVIDIA"
            else "$ rocm-smi --showpids    (who holds how much)",
            "End what is yours and not needed, such as a notebook left open, or take another GPU.",
            *(
                ("$ sudo nvidia-smi -c DEFAULT    (if it is in exclusive mode and need not be)",)
                if told == _IN_USE[-1]
                else ()
            ),
        ),
    )


def driver_hangs(evidence: Evidence) -> Finding | None:
    """The child process was still waiting when its time was up."""
    probe = evidence.probe
    if probe.ended != "timeout" or probe.last_step == "torch":
        return None
    step = _STEPS.get(probe.last_step or "", "starting")
    return Finding(
        "driver_hangs",
        "The GPU's driver does not answer.",
        (
            f"a child process was still {step} when its time was up",
            *((f"nvidia-smi: {evidence.nvidia.smi_error}",) if evidence.nvidia.smi_error else ()),
        ),
        (
            "$ sudo dmesg | tail -n 50    (what the driver reports)",
            "$ sudo reboot",
            "A machine that is only slow: flatout doctor --timeout 300",
        ),
    )


def torch_crashes(evidence: Evidence) -> Finding | None:
    """The child process was brought down."""
    probe = evidence.probe
    if probe.ended != "crashed":
        return None
    step = _STEPS.get(probe.last_step or "", "starting")
    vendors = evidence.vendors()
    return Finding(
        "torch_crashes",
        f"A child process that tried the GPU came down while {step}.",
        (f"it ended with {probe.detail}",),
        (
            "Libraries of different versions are the usual reason. In a new environment:",
            *(install_torch(evidence, vendors[0]) if vendors else ()),
        ),
    )


def _version(text: str) -> tuple[int, int]:
    numbers = [int(n) for n in re.findall(r"\d+", text)[:2]]
    return (numbers[0], numbers[1] if len(numbers) > 1 else 0) if numbers else (0, 0)


def macos_too_old(evidence: Evidence) -> Finding | None:
    """MPS is built in, and this macOS is older than it needs."""
    system, torch = evidence.system, evidence.probe.torch
    if system.platform != "darwin" or torch is None or not torch.mps_built or evidence.integrated is None:
        return None
    told = re.search(r"supported on Mac ?OS (\d+\.\d+)", evidence.probe.text, re.IGNORECASE)
    needs = max(_OLDEST_MACOS, _version(told[1]) if told else _OLDEST_MACOS)
    if not system.release or _version(system.release) >= needs:
        return None
    return Finding(
        "macos_too_old",
        f"This torch can use the Apple GPU from macOS {needs[0]}.{needs[1]} on; this is {system.release}.",
        (
            f"macOS {system.release}",
            f"torch {torch.version} is built with MPS",
            *((f"torch: {evidence.probe.error}",) if evidence.probe.error else ()),
        ),
        ("$ softwareupdate --list    (then System Settings > General > Software Update)",),
    )


def no_metal(evidence: Evidence) -> Finding | None:
    """MPS is built in, macOS is new enough, and there is no Metal device: a virtual machine, a sandbox."""
    system, torch = evidence.system, evidence.probe.torch
    if system.platform != "darwin" or torch is None or not torch.mps_built or evidence.integrated is None:
        return None
    if macos_too_old(evidence) is not None:
        return None
    return Finding(
        "no_metal",
        "macOS gives this process no Metal device: it runs in a virtual machine or in a sandbox.",
        (
            f"macOS {system.release} is new enough, and torch {torch.version} is built with MPS",
            "torch.backends.mps.is_available() is False",
        ),
        ("Run it in a terminal of the machine itself.",),
    )


def unexplained(evidence: Evidence) -> Finding | None:
    """torch cannot use a GPU, and nothing above says why."""
    probe = evidence.probe
    if probe.usable:
        return None
    torch = probe.torch
    seen = [
        *((f"torch {torch.version} is a build {torch.kind}",) if torch else ()),
        *((f"cuInit: {probe.cu_init}",) if probe.cu_init else ()),
        *((f"torch: {probe.error}",) if probe.error else ()),
        *((f"nvidia-smi: {evidence.nvidia.smi_error}",) if evidence.nvidia.smi_error else ()),
    ]
    if probe.ended == "timeout":
        seen.append(f"a child process was still {_STEPS.get(probe.last_step or '', 'starting')}")
    if evidence.pci is None:
        seen.append("the bus (PCI) cannot be read")
    return Finding(
        "unexplained",
        "What was seen does not say why.",
        tuple(seen),
        (
            "Restart the machine, if its driver or its kernel was changed lately.",
            "$ flatout doctor --json    (all that was seen, to show to someone who knows the machine)",
        ),
    )


RULES = (
    Rule("forked", Layer.USE, forked, says=_FORKED, blind_only=False),
    Rule("in_use", Layer.USE, in_use, says=_IN_USE),
    Rule("driver_hangs", Layer.USE, driver_hangs),
    Rule("torch_crashes", Layer.USE, torch_crashes),
    Rule("macos_too_old", Layer.USE, macos_too_old, says=_MACOS),
    Rule("no_metal", Layer.USE, no_metal),
)
LAST_RULES = (Rule("unexplained", Layer.USE, unexplained, says=_INITIALIZATION),)
