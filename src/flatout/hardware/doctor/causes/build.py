"""The build of torch: for no GPU, for another maker's, for older or newer cards."""

from __future__ import annotations

import re

from flatout.hardware.doctor.evidence import Evidence, Torch
from flatout.hardware.doctor.finding import Finding, Layer, Rule
from flatout.hardware.doctor.fixes import NEW_CARDS, OLD_CARDS, install_torch, pip_install

_CPU_BUILD = ("Torch not compiled with CUDA enabled",)
_NO_KERNEL = (
    "no kernel image is available for execution on the device",
    "is not compatible with the current PyTorch installation",
    "does not include kernels for this GPU",
)
_XPU_BUILD = ("Torch not compiled with XPU enabled",)
_BROKEN = ("libcudart functions unavailable. It looks like you have a broken build?",)
_NOT_IN_ROCM = ("HIP error: invalid device function",)
_MPS_BUILD = ("PyTorch is not linked with support for mps devices",)
_OLDEST_CAPABILITY = (5, 0)  # that any build of today's torch has code for

Capability = tuple[int, int]


def torch_broken(evidence: Evidence) -> Finding | None:
    """torch cannot even be imported."""
    error = evidence.probe.torch_error or next((t for t in _BROKEN if t in evidence.probe.text), None)
    if error is None:
        return None
    vendors = evidence.vendors()
    absent = "No module named 'torch'" in error
    install = (
        install_torch(evidence, vendors[0])
        if vendors
        else (f"$ {pip_install(evidence.system)} --force-reinstall torch",)
    )
    return Finding(
        "torch_broken",
        "torch is not installed in this Python." if absent else "The installation of torch is broken.",
        (f"torch: {error}", f"the Python is {evidence.system.python}"),
        install,
    )


def cpu_build(evidence: Evidence) -> Finding | None:
    """A GPU is here and torch was built without any."""
    torch, vendors = evidence.probe.torch, evidence.vendors()
    if torch is None or torch.vendor is not None or not vendors or evidence.system.rosetta:
        return None
    return Finding(
        "cpu_build",
        "This torch is built for the CPU only; it cannot use any GPU.",
        (
            f"torch {torch.version}: torch.version.cuda, .hip and .xpu are None",
            *_gpus_in_words(evidence),
            *((f"torch: {evidence.probe.error}",) if evidence.probe.error else ()),
        ),
        install_torch(evidence, vendors[0]),
    )


def other_vendor_build(evidence: Evidence) -> Finding | None:
    """A GPU is here, and torch was built for another maker's."""
    torch, vendors = evidence.probe.torch, evidence.vendors()
    if torch is None or torch.vendor is None or not vendors or torch.vendor in vendors:
        return None
    return Finding(
        "other_vendor_build",
        f"This torch is built for {torch.vendor} GPUs, and the GPU here is {vendors[0]}'s.",
        (f"torch {torch.version} is a build {torch.kind}", *_gpus_in_words(evidence)),
        install_torch(evidence, vendors[0]),
    )


def _gpus_in_words(evidence: Evidence) -> list[str]:
    cards = [f"{card.name} (GPU {card.index}) is here" for card in evidence.cards]
    bus = [f"{gpu.vendor} {gpu.name or gpu.ids} is on the bus at {gpu.address}" for gpu in evidence.gpus()]
    return cards or bus or [f"a GPU of {vendor} is built in" for vendor in evidence.vendors()]


def runs_on(build: str, card: Capability) -> bool:
    """Whether code built for one architecture runs on a card.

    Args:
        build: "sm_86" (machine code), "compute_90" (to be translated), or with a letter: "sm_90a".
        card: its compute capability.

    >>> runs_on("sm_80", (8, 6)), runs_on("sm_86", (8, 0)), runs_on("compute_80", (12, 0))
    (True, False, True)
    """
    found = re.fullmatch(r"(sm|compute)_(\d+)(\d)([af]?)", build)
    if found is None:
        return False
    kind, made = found[1], (int(found[2]), int(found[3]))
    if found[4] == "a":  # for this one architecture and no other
        return card == made
    return card >= made if kind == "compute" else card[0] == made[0] and card >= made


def _capabilities(evidence: Evidence) -> list[tuple[str, Capability]]:
    """Name and compute capability of the cards torch is to use."""
    found = []
    for device in evidence.probe.devices:
        number = re.fullmatch(r"(\d+)\.(\d+)", device.architecture)
        if number:
            found.append((device.name, (int(number[1]), int(number[2]))))
    told = [(card.name, card.compute_capability) for card in evidence.cards if card.compute_capability]
    return found or told


def _unsupported(evidence: Evidence) -> tuple[str, Capability, Torch] | None:
    torch = evidence.probe.torch
    if torch is None or not torch.cuda or not torch.architectures:
        return None
    cards = _capabilities(evidence)
    for name, capability in cards:
        if not any(runs_on(build, capability) for build in torch.architectures):
            return name, capability, torch
    return None


def _made_for(torch: Torch) -> list[Capability]:
    numbers = [re.fullmatch(r"[a-z]+_(\d+)(\d)[af]?", build) for build in torch.architectures]
    return sorted((int(n[1]), int(n[2])) for n in numbers if n)


def _seen_of(name: str, card: Capability, torch: Torch, evidence: Evidence) -> tuple[str, ...]:
    told = next((text for text in _NO_KERNEL if text in evidence.probe.text), None)
    return (
        f"{name} has compute capability {card[0]}.{card[1]} (sm_{card[0]}{card[1]})",
        f"torch {torch.version} is built for {' '.join(torch.architectures)}",
        *((f"torch: {told}",) if told else ()),
    )


def card_too_old(evidence: Evidence) -> Finding | None:
    """The build has no code for a card that old."""
    found = _unsupported(evidence)
    if found is None or found[1] >= _made_for(found[2])[0]:
        return None
    name, card, torch = found
    if card >= _OLDEST_CAPABILITY and OLD_CARDS not in torch.version:
        fix = install_torch(evidence, "NVIDIA", wheel=OLD_CARDS)
    else:
        fix = (
            "No newer PyTorch has code for it; older ones may:",
            f"$ {pip_install(evidence.system)} 'torch<2.8' --index-url "
            "https://download.pytorch.org/whl/cu118",
            "flatout needs a newer torch than that: train on the CPU, or on another card.",
        )
    return Finding(
        "card_too_old",
        f"{name} is older than this torch is built for.",
        _seen_of(name, card, torch, evidence),
        fix,
    )


def card_too_new(evidence: Evidence) -> Finding | None:
    """The build was made before the card."""
    found = _unsupported(evidence)
    if found is None or found[1] < _made_for(found[2])[0]:
        return None
    name, card, torch = found
    return Finding(
        "card_too_new",
        f"{name} is newer than this torch is built for.",
        _seen_of(name, card, torch, evidence),
        install_torch(evidence, "NVIDIA", wheel=NEW_CARDS),
    )


def card_not_in_rocm(evidence: Evidence) -> Finding | None:
    """The ROCm build has no code for this AMD card."""
    torch = evidence.probe.torch
    if torch is None or not torch.hip or not torch.architectures:
        return None
    for device in evidence.probe.devices:
        architecture = device.architecture.partition(":")[0]
        if architecture not in {build.partition(":")[0] for build in torch.architectures}:
            return Finding(
                "card_not_in_rocm",
                f"This torch has no code for {device.name}.",
                (
                    f"{device.name} is {architecture}",
                    f"torch {torch.version} is built for {' '.join(torch.architectures)}",
                ),
                (
                    *install_torch(evidence, "AMD"),
                    f"A near relative in the list may do: HSA_OVERRIDE_GFX_VERSION={_relative(architecture)}",
                ),
            )
    return None


def _relative(architecture: str) -> str:
    """The version of the family's first member: code for it mostly runs on its relatives."""
    generation = architecture.removeprefix("gfx")[:-2]
    return f"{generation}.{architecture[-2]}.0"


def rosetta(evidence: Evidence) -> Finding | None:
    """An Intel Python, translated, on an Apple processor."""
    if not evidence.system.rosetta:
        return None
    return Finding(
        "rosetta",
        "This Python is made for Intel and runs translated (Rosetta); so it cannot use the Apple GPU.",
        (
            "sysctl.proc_translated is 1: the processor is Apple's",
            f"the Python is {evidence.system.architecture}: {evidence.system.python}",
        ),
        (
            "Install a Python for Apple silicon (arm64) and make the environment anew with it:",
            "$ CONDA_SUBDIR=osx-arm64 conda create -n arm python && conda activate arm && pip install torch"
            if evidence.system.installer == "conda"
            else "$ /opt/homebrew/bin/python3 -m venv .venv && .venv/bin/pip install torch",
        ),
    )


RULES = (
    Rule("torch_broken", Layer.BUILD, torch_broken, says=_BROKEN),
    Rule("rosetta", Layer.BUILD, rosetta),
    Rule("cpu_build", Layer.BUILD, cpu_build, says=(*_CPU_BUILD, *_MPS_BUILD, *_XPU_BUILD)),
    Rule("other_vendor_build", Layer.BUILD, other_vendor_build),
    Rule("card_too_old", Layer.BUILD, card_too_old, says=_NO_KERNEL),
    Rule("card_too_new", Layer.BUILD, card_too_new, says=_NO_KERNEL),
    Rule("card_not_in_rocm", Layer.BUILD, card_not_in_rocm, says=_NOT_IN_ROCM),
)
