"""Commands that put things right, in the words of the system at hand."""

from __future__ import annotations

from flatout.hardware.doctor.evidence import Evidence, System, Vendor

_WHEELS = "https://download.pytorch.org/whl"
# Since 12.0, a build for CUDA x.y runs on the driver of any x: the oldest driver, (Linux, Windows).
# https://docs.nvidia.com/deploy/cuda-compatibility/
OLDEST_DRIVER = {11: ("450.80.02", "452.39"), 12: ("525.60.13", "528.33"), 13: ("580.65.06", "580")}
# Builds of today's torch: the one that still has code for old cards, and the one that has it for the newest.
OLD_CARDS, NEW_CARDS = "cu126", "cu130"
_TURING, _BLACKWELL = (7, 5), (10, 0)
_ROCM_WHEEL = "rocm7.2"
NVIDIA_DOWNLOADS = "https://www.nvidia.com/Download/index.aspx"


def package_manager(system: System) -> str | None:
    """The package manager of a Linux: "apt", "dnf", "pacman", "zypper"."""
    known = {
        "debian": "apt",
        "ubuntu": "apt",
        "fedora": "dnf",
        "rhel": "dnf",
        "arch": "pacman",
        "suse": "zypper",
        "opensuse": "zypper",
    }
    return next((known[name] for name in system.distribution if name in known), None)


def install_driver(evidence: Evidence, vendor: Vendor) -> tuple[str, ...]:
    """Install, or bring up to date, the driver of a vendor."""
    system = evidence.system
    if system.platform == "win32":
        place = {"NVIDIA": NVIDIA_DOWNLOADS, "AMD": "https://www.amd.com/support"}.get(
            vendor, "https://www.intel.com/content/www/us/en/download-center/home.html"
        )
        return (f"Install the {vendor} driver from {place} and restart Windows",)
    if system.wsl:
        return (
            f"In Windows, not here: install the {vendor} driver from {NVIDIA_DOWNLOADS}",
            "$ wsl --shutdown    (in Windows; then open this system again)",
        )
    if system.container:
        return (f"On the host, not in this container: install the {vendor} driver, then start this again",)
    if vendor == "AMD":
        return _install_rocm(system)
    if vendor == "Intel":
        return ("Follow https://dgpu-docs.intel.com/driver/client/overview.html, then restart",)
    manager = package_manager(system)
    if "ubuntu" in system.distribution:
        return ("$ sudo ubuntu-drivers install", "$ sudo reboot")
    if manager == "apt":
        return (
            "Enable the component non-free in the sources of apt",
            "$ sudo apt-get update && sudo apt-get install linux-headers-amd64 nvidia-driver",
            "$ sudo reboot",
        )
    if manager == "dnf":
        return (
            "Enable RPM Fusion (https://rpmfusion.org/Configuration)",
            "$ sudo dnf install akmod-nvidia xorg-x11-drv-nvidia-cuda",
            "$ sudo reboot    (five minutes later: the module is built first)",
        )
    if manager == "pacman":
        return ("$ sudo pacman -S --needed nvidia-open nvidia-utils", "$ sudo reboot")
    if manager == "zypper":
        return ("$ sudo zypper install nvidia-open-driver-G06-signed-kmp-meta", "$ sudo reboot")
    return (f"Install the driver from {NVIDIA_DOWNLOADS}", "$ sudo reboot")


def _install_rocm(system: System) -> tuple[str, ...]:
    if package_manager(system) == "pacman":
        return ("$ sudo pacman -S --needed rocm-hip-runtime", "$ sudo reboot")
    return (
        "The kernel's own amdgpu is enough for most cards: is the kernel new enough for this one?",
        "Else install AMD's: https://rocm.docs.amd.com/projects/install-on-linux/en/latest/",
        "$ sudo reboot",
    )


def reinstall_module(evidence: Evidence) -> tuple[str, ...]:
    """Build the kernel module for the running kernel again."""
    manager = package_manager(evidence.system)
    if manager == "apt":
        return ("$ sudo apt-get install --reinstall linux-headers-$(uname -r) && sudo dkms autoinstall",)
    if manager == "dnf":
        return ("$ sudo akmods --force",)
    if manager == "pacman":
        return ("$ sudo pacman -S nvidia-open linux && sudo reboot",)
    return ("$ sudo dkms autoinstall",)


def install_torch(evidence: Evidence, vendor: Vendor, *, wheel: str | None = None) -> tuple[str, ...]:
    """Install a build of torch for a vendor's GPUs.

    Args:
        evidence: whose Python and whose driver.
        vendor: of the GPU.
        wheel: the folder of PyTorch's index, such as "cu126"; None: what suits the driver.
    """
    system = evidence.system
    install = f"$ {pip_install(system)} --force-reinstall torch"
    if system.installer == "conda" and vendor == "NVIDIA" and wheel is None:
        return ("$ conda install -c conda-forge pytorch-gpu",)
    if vendor == "Apple":
        return (install,)
    folder = wheel or {"NVIDIA": cuda_wheel(evidence), "AMD": _ROCM_WHEEL, "Intel": "xpu"}[vendor]
    if vendor == "AMD" and system.platform == "win32":
        return ("PyTorch for AMD on Windows: https://rocm.docs.amd.com/projects/radeon-ryzen/en/latest/",)
    command = f"{install} --index-url {_WHEELS}/{folder}"
    runs = evidence.nvidia.cuda
    if folder == NEW_CARDS and runs and runs[0] < 13:
        return (command, "It needs a newer driver than the one here: version 580 or newer.")
    if vendor == "AMD":
        return (command, "https://pytorch.org/get-started/locally/ names the ROCm of the newest torch")
    return (command,)


def pip_install(system: System) -> str:
    """How packages are installed into this Python; an environment that uv made has no pip."""
    if system.installer == "uv":
        return f"uv pip install --python {system.python}"
    return f"{system.python} -m pip install"


def cuda_wheel(evidence: Evidence) -> str:
    """The newest of PyTorch's CUDA builds that driver and cards run; where nothing is known, the widest."""
    runs = evidence.nvidia.cuda
    cards = [card.compute_capability for card in evidence.cards if card.compute_capability]
    if any(card >= _BLACKWELL for card in cards):
        return NEW_CARDS
    if runs is None or runs[0] < 13 or any(card < _TURING for card in cards):
        return OLD_CARDS
    return NEW_CARDS


def join_group(group: str) -> tuple[str, ...]:
    """Make the user a member of a group."""
    return (f"$ sudo usermod -aG {group} $USER", "Log out and in again (a new terminal is not enough)")


RESTART_CONTAINER = "Restart the container: the one that runs cannot get its GPU back"
