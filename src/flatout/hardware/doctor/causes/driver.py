"""The driver: absent, not loaded, in parts of different versions, too old."""

from __future__ import annotations

from flatout.hardware.doctor.evidence import Evidence, Vendor
from flatout.hardware.doctor.finding import Finding, Layer, Rule
from flatout.hardware.doctor.fixes import (
    OLD_CARDS,
    OLDEST_DRIVER,
    install_driver,
    install_torch,
    package_manager,
    reinstall_module,
)

_MISMATCH = (
    "Driver/library version mismatch",
    "system has unsupported display driver / cuda driver combination",
)
_FORWARD = ("forward compatibility was attempted on non supported HW",)
_NOT_YET = ("system not yet initialized",)
_UNKNOWN = ("CUDA unknown error - this may be due to an incorrectly set up environment",)
_TOO_OLD = (
    "The NVIDIA driver on your system is too old",
    "CUDA driver version is insufficient for CUDA runtime version",
)
_NO_DRIVER = ("Found no NVIDIA driver on your system",)
_NOT_LOADED = ("NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver",)
_KERNEL_MODULE: dict[Vendor, str] = {"NVIDIA": "nvidia", "AMD": "amdgpu"}


def _module_of(evidence: Evidence) -> tuple[Vendor, str] | None:
    """The vendor whose GPU stands without its kernel module, where there is one; the module's name."""
    plain_linux = evidence.system.platform == "linux" and not evidence.system.wsl
    if not plain_linux or evidence.modules is None or evidence.integrated:
        return None
    vendor = evidence.wanted
    if vendor is None or vendor not in _KERNEL_MODULE or not evidence.gpus(vendor):
        return None
    module = _KERNEL_MODULE[vendor]
    loaded = module in evidence.modules or (vendor == "NVIDIA" and evidence.nvidia.loaded)
    return None if loaded else (vendor, module)


def _said(evidence: Evidence, code: int, text: str) -> str:
    return f"cuInit: {code} ({text})" if evidence.probe.cu_init == code else f"torch: {text}"


def _at(evidence: Evidence, vendor: Vendor) -> list[str]:
    return [
        f"{vendor} GPU {device.name or device.ids} at {device.address}, "
        + (f"held by the kernel driver {device.driver}" if device.driver else "which no kernel driver holds")
        for device in evidence.gpus(vendor)
    ]


def wsl_without_dxg(evidence: Evidence) -> Finding | None:
    """Under WSL, the GPU comes through /dev/dxg, and that is not there."""
    if evidence.system.wsl is None or evidence.file("/dev/dxg"):
        return None
    if evidence.system.wsl == 1:
        fix: tuple[str, ...] = ("$ wsl --set-version DISTRIBUTION 2    (in Windows)",)
    else:
        fix = (
            "In Windows: install the newest driver of your GPU (not inside WSL), then",
            "$ wsl --update",
            "$ wsl --shutdown    (then open this system again)",
        )
    return Finding(
        "wsl_without_dxg",
        "Windows gives this Linux (WSL) no GPU.",
        (
            f"WSL {evidence.system.wsl}, kernel {evidence.system.release}",
            "/dev/dxg, through which a GPU comes, is absent",
        ),
        fix,
    )


def wsl_linux_driver(evidence: Evidence) -> Finding | None:
    """Under WSL, a Linux driver lies over the libcuda that Windows provides."""
    path = evidence.nvidia.library_path
    if evidence.system.wsl is None or path is None or path.startswith("/usr/lib/wsl/"):
        return None
    remove = {
        "dnf": "sudo dnf remove '*nvidia*'",
        "pacman": "sudo pacman -Rns nvidia-utils",
    }.get(package_manager(evidence.system) or "", "sudo apt-get purge '^nvidia-.*' '^libnvidia-.*'")
    return Finding(
        "wsl_linux_driver",
        "An NVIDIA driver for Linux is installed inside WSL and lies over the one that Windows provides.",
        (f"programs load {path}", "under WSL they must load /usr/lib/wsl/lib/libcuda.so.1"),
        (f"$ {remove} && sudo ldconfig", "$ wsl --shutdown    (in Windows; then open this system again)"),
    )


def no_driver(evidence: Evidence) -> Finding | None:
    """The card is there and nothing of its driver is."""
    system, nvidia = evidence.system, evidence.nvidia
    if system.platform == "win32" or system.wsl:
        absent = not (nvidia.smi or nvidia.library_path or evidence.probe.cu_init is not None)
        there = bool(evidence.gpus("NVIDIA") or evidence.file("/dev/dxg"))
        if not (absent and there):
            return None
        seen = [*_at_windows(evidence), "there is no nvidia-smi and no CUDA driver library"]
        return Finding(
            "no_driver",
            "The NVIDIA driver is not installed in Windows.",
            tuple(seen),
            install_driver(evidence, "NVIDIA"),
        )
    without = _module_of(evidence)
    if without is None:
        return None
    vendor, module = without
    if vendor == "NVIDIA" and (nvidia.smi or nvidia.library_path or nvidia.on_disk) and not system.container:
        return None
    if vendor == "AMD" and evidence.file("/dev/kfd"):
        return None
    seen = [*_at(evidence, vendor), f"the kernel module {module} is not loaded"]
    if vendor == "NVIDIA" and not system.container:
        seen.append("there is no nvidia-smi, no libcuda.so.1 and no module on the disk")
    return Finding(
        "no_driver",
        f"There is an {vendor} GPU, but its driver is not installed.",
        tuple(seen),
        install_driver(evidence, vendor),
    )


def _at_windows(evidence: Evidence) -> list[str]:
    if evidence.system.wsl:
        return ["/dev/dxg is there: Windows shares its GPU"]
    return [f"{device.name} ({device.ids})" for device in evidence.gpus("NVIDIA")]


def module_not_loaded(evidence: Evidence) -> Finding | None:
    """The driver is installed, and the kernel runs without it."""
    without = _module_of(evidence)
    if without is None or without[0] != "NVIDIA" or evidence.system.container:
        return None
    nvidia = evidence.nvidia
    if not (nvidia.smi or nvidia.library_path or nvidia.on_disk):
        return None
    seen = [*_at(evidence, "NVIDIA"), "the kernel module nvidia is not loaded"]
    if nvidia.smi_error:
        seen.append(f"nvidia-smi: {nvidia.smi_error}")
    if nvidia.on_disk is None:
        seen.append(f"there is no module nvidia for the kernel that runs ({evidence.system.release})")
        return _not_loaded(
            "The NVIDIA driver is installed, but not built for the kernel that runs.",
            seen,
            (*reinstall_module(evidence), "$ sudo modprobe nvidia"),
        )
    seen.append(f"version {nvidia.on_disk} of it is on the disk")
    if "nouveau" in (evidence.modules or ()):
        return _not_loaded(
            "The driver nouveau has taken the GPU, so NVIDIA's is not loaded.",
            seen,
            (
                "$ echo 'blacklist nouveau' | sudo tee /etc/modprobe.d/blacklist-nouveau.conf",
                f"$ {_rebuild_start(evidence)} && sudo reboot",
            ),
        )
    if evidence.system.secure_boot:
        seen.append("Secure Boot is on: the kernel admits signed modules only")
        return _not_loaded(
            "The NVIDIA driver is installed, but its kernel module is not loaded.",
            seen,
            (
                "$ sudo modprobe nvidia    (if it says 'Key was rejected by service', go on)",
                "$ sudo mokutil --import /var/lib/shim-signed/mok/MOK.der && sudo reboot",
                "Choose 'Enroll MOK' at the start; or switch Secure Boot off in the BIOS.",
            ),
        )
    return _not_loaded(
        "The NVIDIA driver is installed, but its kernel module is not loaded.",
        seen,
        ("$ sudo modprobe nvidia", *reinstall_module(evidence)[:1]),
    )


def _not_loaded(sentence: str, seen: list[str], fix: tuple[str, ...]) -> Finding:
    return Finding("module_not_loaded", sentence, tuple(seen), fix)


def _rebuild_start(evidence: Evidence) -> str:
    commands = {"dnf": "sudo dracut --force", "pacman": "sudo mkinitcpio -P", "zypper": "sudo dracut --force"}
    return commands.get(package_manager(evidence.system) or "", "sudo update-initramfs -u")


def _mismatch(evidence: Evidence) -> list[str] | None:
    """The evidence that library and kernel module have different versions."""
    nvidia, probe = evidence.nvidia, evidence.probe
    said = nvidia.smi_error or ""
    told = probe.cu_init == 803 or any(text in said or text in probe.text for text in _MISMATCH)
    if not told:
        return None
    return list(
        filter(
            None,
            [
                f"the kernel runs version {nvidia.loaded}" if nvidia.loaded else None,
                f"programs load version {nvidia.library} ({nvidia.library_path})" if nvidia.library else None,
                f"the disk holds version {nvidia.on_disk} of the module" if nvidia.on_disk else None,
                "cuInit: 803 (driver mismatch)" if probe.cu_init == 803 else None,
                f"nvidia-smi: {said}" if said else None,
            ],
        )
    )


def _upgraded(evidence: Evidence) -> bool:
    nvidia = evidence.nvidia
    return bool(nvidia.on_disk and nvidia.loaded and nvidia.on_disk != nvidia.loaded)


def reboot_needed(evidence: Evidence) -> Finding | None:
    """The driver was upgraded: the new one is on the disk, the old one still in the kernel."""
    seen = _mismatch(evidence)
    if seen is None or not _upgraded(evidence):
        return None
    return Finding(
        "reboot_needed",
        f"The driver was upgraded to {evidence.nvidia.on_disk}, and the kernel still runs "
        f"{evidence.nvidia.loaded}: the machine has not been restarted since.",
        tuple(seen),
        ("$ sudo reboot",),
    )


def library_mismatch(evidence: Evidence) -> Finding | None:
    """A libcuda of another version than the kernel's module."""
    seen = _mismatch(evidence)
    if seen is None or _upgraded(evidence):
        return None
    path = evidence.nvidia.library_path or "libcuda.so.1"
    if evidence.system.container:
        fix: tuple[str, ...] = (
            "The image brings its own libcuda; the host must provide it. Take it out of the image:",
            "$ apt-get purge '^libnvidia-compute-.*' '^cuda-compat-.*'    (in the Dockerfile)",
            "If the driver of the host was upgraded: restart the container.",
        )
    else:
        fix = (
            f"$ dpkg -S {path} || rpm -qf {path}    (whose it is; LD_LIBRARY_PATH may lead to it)",
            *install_driver(evidence, "NVIDIA"),
        )
    return Finding(
        "library_mismatch",
        "The CUDA driver library that programs load is not of the version of the driver in the kernel.",
        tuple(seen),
        fix,
    )


def forward_compatibility(evidence: Evidence) -> Finding | None:
    """A libcuda from a package cuda-compat, on a card it is not meant for."""
    probe = evidence.probe
    if probe.cu_init != 804 and not any(text in probe.text for text in _FORWARD):
        return None
    nvidia = evidence.nvidia
    return Finding(
        "forward_compatibility",
        "A newer CUDA library (cuda-compat), which only data-centre cards take, lies over the driver's own.",
        tuple(
            filter(
                None,
                [
                    f"programs load {nvidia.library_path}" if nvidia.library_path else None,
                    f"the kernel runs version {nvidia.loaded}" if nvidia.loaded else None,
                    _said(evidence, 804, _FORWARD[0]),
                ],
            )
        ),
        (
            "Take the folder compat out of LD_LIBRARY_PATH, or remove the package:",
            "$ sudo rm -rf /usr/local/cuda*/compat && sudo ldconfig"
            if evidence.system.container
            else "$ sudo apt-get purge '^cuda-compat-.*' && sudo ldconfig",
            "If torch then finds the driver too old: " + _first_step(evidence),
        ),
    )


def _first_step(evidence: Evidence) -> str:
    return install_driver(evidence, "NVIDIA")[0].removeprefix("$ ")


def fabric_manager(evidence: Evidence) -> Finding | None:
    """On machines with NVSwitch, the fabric manager must run before CUDA does."""
    probe = evidence.probe
    if probe.cu_init != 802 and not any(text in probe.text for text in _NOT_YET):
        return None
    branch = (evidence.nvidia.loaded or "").partition(".")[0]
    package = f"nvidia-fabricmanager-{branch}" if branch else "nvidia-fabricmanager"
    manager = {"dnf": "dnf", "zypper": "zypper"}.get(package_manager(evidence.system) or "", "apt-get")
    return Finding(
        "fabric_manager",
        "The GPUs wait for NVIDIA's fabric manager, which connects them (NVSwitch), and it does not run.",
        (
            _said(evidence, 802, _NOT_YET[0]),
            *(f"{card.name} (GPU {card.index})" for card in evidence.cards[:1]),
            *((f"the driver's version is {evidence.nvidia.loaded}",) if evidence.nvidia.loaded else ()),
        ),
        (
            "Of exactly the driver's version" + (", on the host:" if evidence.system.container else ":"),
            f"$ sudo {manager} install {package}",
            "$ sudo systemctl enable --now nvidia-fabricmanager",
            "$ nvidia-smi -q | grep -A 2 Fabric    (State must become Completed)",
        ),
    )


def unknown_error(evidence: Evidence) -> Finding | None:
    """cuInit answers 999: most often the module nvidia_uvm, absent or confused by a sleep."""
    probe = evidence.probe
    if probe.cu_init != 999 and not any(text in probe.text for text in _UNKNOWN):
        return None
    loaded, file = evidence.nvidia.uvm_loaded, evidence.file("/dev/nvidia-uvm")
    seen = ["cuInit: 999 (unknown error)"] if probe.cu_init == 999 else [probe.text]
    seen.append(f"the kernel module nvidia_uvm is {'loaded' if loaded else 'not loaded'}")
    seen.append(f"/dev/nvidia-uvm is {'there' if file else 'absent'}")
    if loaded and file:
        fix = (
            "It happens after the machine slept. End every program that uses the GPU, then",
            "$ sudo rmmod nvidia_uvm && sudo modprobe nvidia_uvm",
            "$ sudo reboot    (if the module is in use)",
        )
    elif evidence.system.container:
        fix = (
            "$ sudo nvidia-modprobe -u -c=0    (on the host)",
            "then start the container anew",
            "with --gpus all, which brings /dev/nvidia-uvm",
        )
    else:
        fix = (
            "$ sudo modprobe nvidia_uvm && sudo nvidia-modprobe -u -c=0",
            "$ echo nvidia_uvm | sudo tee /etc/modules-load.d/nvidia-uvm.conf    (at every start)",
            "$ sudo reboot    (if it does not help)",
        )
    return Finding(
        "unknown_error",
        "CUDA cannot use the driver's memory module nvidia_uvm."
        if not (loaded and file)
        else "The driver's memory module nvidia_uvm has lost its state, so CUDA fails with an unknown error.",
        tuple(seen),
        fix,
    )


def driver_too_old(evidence: Evidence) -> Finding | None:
    """torch was built for a newer CUDA than the driver runs."""
    probe, nvidia = evidence.probe, evidence.nvidia
    torch = probe.torch
    if torch is None or torch.cuda is None:
        return None
    needs = int(torch.cuda.partition(".")[0])
    told = next((text for text in _TOO_OLD if text in probe.text), None)
    if not told and not (nvidia.cuda and nvidia.cuda[0] < needs):
        return None
    oldest = OLDEST_DRIVER.get(needs, (None, None))[
        evidence.system.platform == "win32" or bool(evidence.system.wsl)
    ]
    has = f"{nvidia.loaded}" if nvidia.loaded else "the one installed"
    runs = f", which runs CUDA up to {nvidia.cuda[0]}.{nvidia.cuda[1]}" if nvidia.cuda else ""
    instead: tuple[str, ...] = ()
    if nvidia.cuda and nvidia.cuda[0] == 12:  # no torch of today is built for an older one
        instead = (
            "Or keep the driver and take a torch for it:",
            *install_torch(evidence, "NVIDIA", wheel=OLD_CARDS),
        )
    return Finding(
        "driver_too_old",
        f"The NVIDIA driver is too old for this torch, which needs {oldest or 'a newer one'}"
        + (" or newer." if oldest else "."),
        (
            f"the driver is {has}{runs}",
            f"torch {torch.version} is built for CUDA {torch.cuda}",
            *((f"torch: {told}",) if told else ()),
        ),
        (*install_driver(evidence, "NVIDIA"), *instead),
    )


RULES = (
    Rule("wsl_without_dxg", Layer.DRIVER, wsl_without_dxg),
    Rule("wsl_linux_driver", Layer.DRIVER, wsl_linux_driver),
    Rule("no_driver", Layer.DRIVER, no_driver, says=_NO_DRIVER),
    Rule("module_not_loaded", Layer.DRIVER, module_not_loaded, says=_NOT_LOADED),
    Rule("reboot_needed", Layer.DRIVER, reboot_needed, says=_MISMATCH),
    Rule("library_mismatch", Layer.DRIVER, library_mismatch, says=_MISMATCH),
    Rule("forward_compatibility", Layer.DRIVER, forward_compatibility, says=_FORWARD),
    Rule("fabric_manager", Layer.DRIVER, fabric_manager, says=_NOT_YET),
    Rule("driver_too_old", Layer.DRIVER, driver_too_old, says=_TOO_OLD),
)
# After the rules of access: a device file that cannot be opened also answers 999.
LAST_RULES = (Rule("unknown_error", Layer.USE, unknown_error, says=_UNKNOWN),)
