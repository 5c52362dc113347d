"""Everything that was seen of a machine and its GPUs, before anything is concluded from it.

Whatever could not be read is None, never a guess: a rule that needs it abstains.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

Vendor = Literal["NVIDIA", "AMD", "Intel", "Apple"]


@dataclass(frozen=True)
class System:
    """The operating system, and what stands between this process and the hardware.

    Attributes:
        platform: "linux", "darwin" or "win32", as in `sys.platform`.
        architecture: of this Python, such as "x86_64" or "arm64".
        distribution: the `ID` and `ID_LIKE` of `/etc/os-release`, such as ("ubuntu", "debian").
        release: the kernel's release, or the version of macOS or Windows.
        wsl: the version of the Windows Subsystem for Linux this runs in; None where it runs in none.
        container: "docker", "podman", "kubernetes", "lxc" or "container"; None outside of one.
        rosetta: whether an Intel Python is translated on an Apple processor.
        secure_boot: whether the firmware admits signed kernel modules only; None where that is unknown.
        installer: what installs into this Python: "pip", "uv" or "conda".
        python: the interpreter, for commands that install into it.
        user_groups: the names of the groups of this process.
    """

    platform: str
    architecture: str = "x86_64"
    distribution: tuple[str, ...] = ()
    release: str = ""
    wsl: int | None = None
    container: str | None = None
    rosetta: bool = False
    secure_boot: bool | None = None
    installer: Literal["pip", "uv", "conda"] = "pip"
    python: str = "python"
    user_groups: tuple[str, ...] = ()


@dataclass(frozen=True)
class PciDevice:
    """A display controller or accelerator on the bus.

    Attributes:
        address: such as "0000:01:00.0".
        vendor: None for a vendor torch trains on nothing of.
        ids: "vendor:device" in hexadecimal, such as "10de:2204".
        driver: the kernel driver that holds it, such as "nvidia" or "nouveau"; None where none does.
        revision: 255 reads as "no answer": the card is off the bus.
        name: as the system calls it, where it does (Windows).
        link_width: PCIe lanes in use now, and the most the card can use.
    """

    address: str
    vendor: Vendor | None
    ids: str
    driver: str | None = None
    revision: int | None = None
    name: str | None = None
    link_width: tuple[int | None, int | None] = (None, None)


@dataclass(frozen=True)
class DeviceFile:
    """A file under /dev through which a GPU is used.

    Attributes:
        path: such as "/dev/nvidia0".
        error: why this process cannot open it for reading and writing: "EACCES", "EPERM", …; None if it can.
        mode: such as "crw-rw----"; None where it is unknown.
        group: the group that owns it.
    """

    path: str
    error: str | None = None
    mode: str | None = None
    group: str | None = None


@dataclass(frozen=True)
class NvidiaDriver:
    """The parts of NVIDIA's driver, which must all have one version.

    Attributes:
        loaded: the version of the module in the kernel.
        on_disk: the version of the module that the next boot will load.
        library: the version of the libcuda that programs load.
        library_path: where that libcuda is.
        uvm_loaded: whether the module nvidia_uvm is in the kernel.
        smi_error: what `nvidia-smi` said when it failed.
        smi: whether there is an `nvidia-smi`.
        cuda: the newest CUDA the driver runs, (major, minor).
    """

    loaded: str | None = None
    on_disk: str | None = None
    library: str | None = None
    library_path: str | None = None
    uvm_loaded: bool = False
    smi: bool = False
    smi_error: str | None = None
    cuda: tuple[int, int] | None = None


@dataclass(frozen=True)
class Card:
    """An NVIDIA card as its driver describes it; what it does not say is None.

    Attributes:
        compute_capability: such as (8, 6).
        pcie_generation, pcie_width: (now, most). An idle card lowers its generation.
        power_limit, default_power_limit: watts.
        address: on the bus, as in `PciDevice`.
        temperature: degrees Celsius.
        utilization: per cent.
        throttle: the bits of NVML's clock event reasons.
        memory: bytes in all.
    """

    index: int
    name: str
    uuid: str | None = None
    compute_capability: tuple[int, int] | None = None
    pcie_generation: tuple[int | None, int | None] = (None, None)
    pcie_width: tuple[int | None, int | None] = (None, None)
    power_limit: float | None = None
    default_power_limit: float | None = None
    temperature: float | None = None
    utilization: float | None = None
    throttle: int | None = None
    memory: int | None = None
    address: str | None = None
    needs_reset: bool = False


@dataclass(frozen=True)
class Process:
    """A program that computes on a card: its memory there in bytes, None where it is not told."""

    uuid: str | None
    pid: int
    name: str
    memory: int | None = None


@dataclass(frozen=True)
class Torch:
    """The torch of this Python, as its child process described it."""

    version: str
    cuda: str | None = None
    hip: str | None = None
    xpu: str | None = None
    mps_built: bool = False
    architectures: tuple[str, ...] = ()

    @property
    def vendor(self) -> Vendor | None:
        """Whose GPUs this build can use; None for a build that uses the CPU only."""
        if self.cuda:
            return "NVIDIA"
        if self.hip:
            return "AMD"
        if self.xpu:
            return "Intel"
        return "Apple" if self.mps_built else None

    @property
    def kind(self) -> str:
        """The build in words, such as "for CUDA 12.8"."""
        parts = {"CUDA": self.cuda, "ROCm": self.hip, "XPU": self.xpu}
        made = [f"{name} {version}" for name, version in parts.items() if version]
        if made:
            return f"for {made[0]}"
        return "with MPS" if self.mps_built else "for the CPU only"


@dataclass(frozen=True)
class TorchDevice:
    """A device torch has opened: its name, and "8.6" or "gfx1100"."""

    name: str
    architecture: str


@dataclass(frozen=True)
class Probe:
    """What happened to a child process that tried to use the GPU.

    Attributes:
        ended: "ok", "timeout", "crashed" (by a signal or without finishing) or "not run".
        last_step: the step it was in when it ended otherwise.
        detail: the signal or exit status, or the end of its standard error.
        torch: None where torch could not be imported.
        torch_error: why not.
        cu_init: what `cuInit` of the CUDA driver answered; None where there is no libcuda.
        available: `is_available()` of the backend.
        device_count: of the backend.
        error: what creating and adding to a tensor on the GPU raised.
        warnings: what torch warned of meanwhile.
        devices: what torch has opened.
    """

    ended: Literal["ok", "timeout", "crashed", "not run"] = "not run"
    last_step: str | None = None
    detail: str | None = None
    torch: Torch | None = None
    torch_error: str | None = None
    cu_init: int | None = None
    available: bool = False
    device_count: int = 0
    error: str | None = None
    warnings: tuple[str, ...] = ()
    devices: tuple[TorchDevice, ...] = ()

    @property
    def usable(self) -> bool:
        """Whether torch computed something on a GPU."""
        return self.ended == "ok" and self.available and self.device_count > 0 and self.error is None

    @property
    def text(self) -> str:
        """All that torch said, for rules that look for a message in it."""
        return "\n".join(filter(None, [self.error, *self.warnings]))


@dataclass(frozen=True)
class Evidence:
    """All that was seen of this machine.

    Attributes:
        variables: the environment variables that hide or show devices, where they are set.
        pci: the display controllers and accelerators; None where the bus cannot be read.
        modules: the kernel modules of GPUs that are loaded; None where that cannot be read.
        files: the device files of GPUs.
        cards: what `nvidia-smi` lists; it does not heed CUDA_VISIBLE_DEVICES.
        integrated: whether a GPU that sits on no bus is here: Apple's, or that of a Jetson.
        forked: whether this very process is the forked child of one that had used CUDA.
    """

    system: System
    variables: Mapping[str, str] = field(default_factory=dict)
    pci: tuple[PciDevice, ...] | None = None
    modules: frozenset[str] | None = None
    files: tuple[DeviceFile, ...] = ()
    nvidia: NvidiaDriver = NvidiaDriver()
    cards: tuple[Card, ...] = ()
    processes: tuple[Process, ...] = ()
    probe: Probe = Probe()
    integrated: Vendor | None = None
    forked: bool = False

    def gpus(self, vendor: Vendor | None = None) -> list[PciDevice]:
        """The GPUs on the bus that torch could train on, or those of one vendor."""
        return [d for d in self.pci or () if d.vendor and vendor in (None, d.vendor)]

    def here(self, vendor: Vendor) -> bool:
        """Whether a GPU of this vendor shows in any way: on the bus, to its driver, or built in."""
        cards = vendor == "NVIDIA" and bool(self.cards)
        return bool(self.gpus(vendor)) or cards or self.integrated == vendor

    def vendors(self) -> list[Vendor]:
        """Whose GPUs are here."""
        every: tuple[Vendor, ...] = ("NVIDIA", "AMD", "Intel", "Apple")
        return [vendor for vendor in every if self.here(vendor)]

    @property
    def wanted(self) -> Vendor | None:
        """Whose GPU it is about: of those that are here, torch's own if it is among them."""
        vendors, torch = self.vendors(), self.probe.torch
        if torch is not None and torch.vendor in vendors:
            return torch.vendor
        return vendors[0] if vendors else None

    def file(self, start: str) -> DeviceFile | None:
        """The first device file whose path begins so."""
        return next((f for f in self.files if f.path.startswith(start)), None)

    def document(self) -> dict[str, Any]:
        """All of it as plain values, for JSON."""
        plain = asdict(self)
        plain["modules"] = None if self.modules is None else sorted(self.modules)
        return plain
