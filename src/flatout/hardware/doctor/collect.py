"""Gather the evidence: read, run, probe. Nothing is concluded here."""

from __future__ import annotations

import json
import re
import sys
from dataclasses import asdict
from typing import Any, Literal

from flatout.hardware.doctor import nvidia
from flatout.hardware.doctor.evidence import (
    DeviceFile,
    Evidence,
    PciDevice,
    Probe,
    System,
    Torch,
    TorchDevice,
    Vendor,
)
from flatout.hardware.doctor.machine import Answer, Machine

PROBE_TIMEOUT = 60.0  # seconds; importing torch from a slow disk takes many of them

_VARIABLES = ("CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES", "NVIDIA_VISIBLE_DEVICES")
_VENDORS: dict[str, Vendor] = {"10de": "NVIDIA", "1002": "AMD", "8086": "Intel"}
_INTEGRATED_INTEL = "0000:00:02.0"  # where the graphics inside an Intel processor always are
# What an AMD processor sets aside for its graphics is less; the few that ROCm can use are given more.
_LEAST_AMD_MEMORY = 3 * 1024**3
_WIDTHS = (1, 2, 4, 8, 12, 16, 32)
_MODULES = ("nvidia", "nvidia_uvm", "nouveau", "nova_core", "amdgpu", "i915", "xe", "vfio_pci")
_DEVICE_FILE = re.compile(r"nvidia\d+|nvidiactl|nvidia-uvm|kfd|dxg|nvmap|nvhost-gpu")
_SECURE_BOOT = "/sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c"
_WINDOWS_GPUS = "Get-CimInstance Win32_VideoController | ForEach-Object { $_.PNPDeviceID + '|' + $_.Name }"


def collect(
    machine: Machine | None = None, *, timeout: float = PROBE_TIMEOUT, torch: Torch | None = None
) -> Evidence:
    """Look at a machine.

    Args:
        machine: what to read; this machine where it is None.
        timeout: seconds the child process that tries the GPU may take.
        torch: the torch of this process, where it is imported and can use no GPU: then it is not imported
            again in the child.
    """
    machine = machine or Machine()
    probed = machine.probe(timeout, asdict(torch)) if torch else machine.probe(timeout)
    steps, last = _steps(probed)
    rows, complaint, has_smi = nvidia.ask_smi(machine)
    system = _system(machine)
    return Evidence(
        system=system,
        variables={name: machine.environment[name] for name in _VARIABLES if name in machine.environment},
        pci=_pci(machine),
        modules=_modules(machine),
        files=_files(machine, steps.get("files", {})),
        nvidia=nvidia.driver_of(machine, rows, complaint, has_smi, steps.get("driver", {})),
        cards=tuple(nvidia.card_of(row) for row in rows),
        processes=nvidia.processes_of(machine) if rows else (),
        probe=_probe(probed, steps, last),
        integrated=_integrated(machine, system),
        forked=_forked(),
    )


def _steps(answer: Answer) -> tuple[dict[str, Any], str]:
    """The answers of the probe's steps, and the last step it began."""
    answers: dict[str, Any] = {}
    last = "start"
    for line in answer.out.splitlines():
        try:
            told = json.loads(line)
            last = told["step"]
        except (ValueError, TypeError, KeyError):  # a library printed something of its own
            continue
        if "answer" in told:
            answers[last] = told["answer"]
    return answers, last


def _probe(answer: Answer, steps: dict[str, Any], last: str) -> Probe:
    torch = steps.get("torch", {})
    gpu = steps.get("gpu", {})
    over = last == "end" or (bool(torch.get("error")) and answer.status == 0)
    said = answer.err.strip().splitlines()
    end = f"status {answer.status}" + (f": {said[-1]}" if said else "")
    return Probe(
        ended="timeout" if answer.status is None else "ok" if over else "crashed",
        last_step=None if over else last,
        detail=None if over or answer.status is None else end,
        torch=_torch(torch),
        torch_error=torch.get("error"),
        cu_init=steps.get("driver", {}).get("cu_init"),
        available=bool(gpu.get("available")),
        device_count=int(gpu.get("device_count", 0)),
        error=gpu.get("error"),
        warnings=tuple(gpu.get("warnings", ())),
        devices=tuple(TorchDevice(name, architecture) for name, architecture in gpu.get("devices", ())),
    )


def _torch(told: dict[str, Any]) -> Torch | None:
    if "version" not in told:
        return None
    return Torch(
        version=told["version"],
        cuda=told["cuda"],
        hip=told["hip"],
        xpu=told["xpu"],
        mps_built=told["mps_built"],
        architectures=tuple(told["architectures"]),
    )


def _system(machine: Machine) -> System:
    described = machine.read("/etc/os-release") or ""
    named = re.findall(r'^ID(?:_LIKE)?="?([^"\n]*)"?$', described, re.MULTILINE)
    secure = machine.read(_SECURE_BOOT)
    release = machine.release
    rosetta = False
    if machine.platform == "darwin":
        translated = machine.run("sysctl", "-n", "sysctl.proc_translated")
        rosetta = translated is not None and translated.out.strip() == "1"
        version = machine.run("sw_vers", "-productVersion")
        release = version.out.strip() if version and version.out.strip() else release
    return System(
        platform=machine.platform,
        architecture=machine.architecture,
        distribution=tuple(word for words in named for word in words.split()),
        release=release,
        wsl=_wsl(machine),
        container=_container(machine),
        rosetta=rosetta,
        secure_boot=None if secure is None else secure.endswith("\x01"),
        installer=_installer(machine),
        python=machine.python,
        user_groups=tuple(machine.groups()),
    )


def _installer(machine: Machine) -> Literal["pip", "uv", "conda"]:
    if machine.exists(f"{machine.prefix}/conda-meta"):
        return "conda"
    made_by = machine.read(f"{machine.prefix}/pyvenv.cfg") or ""
    return "uv" if re.search(r"^uv = ", made_by, re.MULTILINE) else "pip"


def _wsl(machine: Machine) -> int | None:
    kernel = (machine.read("/proc/version") or "").lower()
    if "microsoft" not in kernel:
        return None
    return 2 if "microsoft-standard" in kernel or "wsl2" in kernel else 1


def _container(machine: Machine) -> str | None:
    if "KUBERNETES_SERVICE_HOST" in machine.environment:
        return "kubernetes"
    if machine.exists("/run/.containerenv"):
        return "podman"
    if machine.exists("/.dockerenv"):
        return "docker"
    groups = machine.read("/proc/1/cgroup") or ""
    for word, name in (("kubepods", "kubernetes"), ("docker", "docker"), ("lxc", "lxc")):
        if word in groups:
            return name
    return "container" if machine.environment.get("container") else None


def _pci(machine: Machine) -> tuple[PciDevice, ...] | None:
    if machine.platform == "win32":
        return _windows_gpus(machine)
    folder = "/sys/bus/pci/devices"
    addresses = machine.entries(folder)
    if addresses is None:
        # A board without PCI has no such folder; where /sys is not to be read, nothing is known.
        return () if machine.entries("/sys/bus") is not None else None
    found = []
    for address in addresses:
        at = f"{folder}/{address}"
        if not (machine.read(f"{at}/class") or "").startswith(("0x03", "0x12")):
            continue
        ids = [
            (machine.read(f"{at}/{name}") or "").strip().removeprefix("0x") for name in ("vendor", "device")
        ]
        revision = (machine.read(f"{at}/revision") or "").strip()
        memory = _number(machine.read(f"{at}/mem_info_vram_total"))
        now, most = (_number(machine.read(f"{at}/{which}_link_width")) for which in ("current", "max"))
        found.append(
            PciDevice(
                address=address,
                vendor=_VENDORS.get(ids[0]) if _trains(address, ids[0], memory) else None,
                ids=":".join(ids),
                driver=machine.link(f"{at}/driver"),
                revision=int(revision, 16) if revision else None,
                # A virtual machine may tell 0 or 255: it does not know.
                link_width=(now if now in _WIDTHS else None, most if most in _WIDTHS else None),
            )
        )
    return tuple(found)


def _trains(address: str, vendor: str, memory: int | None) -> bool:
    """Whether a GPU is more than the graphics inside a processor, which torch has no code for."""
    if vendor == "8086":
        return address != _INTEGRATED_INTEL
    return not (vendor == "1002" and memory is not None and memory < _LEAST_AMD_MEMORY)


def _number(text: str | None) -> int | None:
    return int(text) if text and text.strip().isdigit() else None


def _windows_gpus(machine: Machine) -> tuple[PciDevice, ...] | None:
    answer = machine.run("powershell", "-NoProfile", "-Command", _WINDOWS_GPUS)
    if answer is None or answer.status != 0:
        return None
    found = []
    for line in answer.out.splitlines():
        identity, _, name = line.strip().partition("|")
        ids = re.search(r"VEN_([0-9A-F]{4})&DEV_([0-9A-F]{4})", identity, re.IGNORECASE)
        if ids is None:
            continue
        vendor = _VENDORS.get(ids[1].lower())
        if vendor == "Intel" and "Arc" not in name:  # the graphics inside a processor
            vendor = None
        found.append(PciDevice(identity, vendor, f"{ids[1]}:{ids[2]}".lower(), name=name))
    return tuple(found)


def _modules(machine: Machine) -> frozenset[str] | None:
    if machine.entries("/sys/module") is None:
        return None
    return frozenset(name for name in _MODULES if machine.exists(f"/sys/module/{name}"))


def _files(machine: Machine, opened: dict[str, str | None]) -> tuple[DeviceFile, ...]:
    """The device files; only the probe has opened them."""
    names = [f"/dev/{name}" for name in machine.entries("/dev") or () if _DEVICE_FILE.fullmatch(name)]
    names += [f"/dev/dri/{name}" for name in machine.entries("/dev/dri") or () if name.startswith("renderD")]
    described = {name: machine.device_file(name) for name in names}
    return tuple(
        DeviceFile(name, opened.get(name), about.mode, about.group)
        for name, about in described.items()
        if about is not None
    )


def _integrated(machine: Machine, system: System) -> Vendor | None:
    if system.platform == "darwin":
        return "Apple" if system.architecture == "arm64" or system.rosetta else None
    jetson = machine.exists("/dev/nvhost-gpu") or "Jetson" in (machine.read("/proc/device-tree/model") or "")
    return "NVIDIA" if jetson else None


def _forked() -> bool:
    """Whether this process was forked from one that had used CUDA. torch is asked only if it is loaded."""
    torch: Any = sys.modules.get("torch")
    return torch is not None and bool(getattr(torch.cuda, "_is_in_bad_fork", lambda: False)())
