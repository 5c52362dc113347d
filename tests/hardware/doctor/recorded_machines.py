"""Machines as they were recorded: files, commands, environment, and what the probe said."""

import copy
import json
from dataclasses import dataclass, field

from flatout.hardware.doctor.evidence import DeviceFile
from flatout.hardware.doctor.machine import Answer

DEBIAN = 'PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\nID=debian\n'
UBUNTU = 'PRETTY_NAME="Ubuntu 24.04.1 LTS"\nID=ubuntu\nID_LIKE=debian\n'
FEDORA = 'NAME="Fedora Linux"\nID=fedora\n'
ARCH = 'NAME="Arch Linux"\nID=arch\n'
QUERY = "nvidia-smi --query-gpu"
PROCESSES = "nvidia-smi --query-compute-apps"
CUDA_ARCHITECTURES = ["sm_75", "sm_80", "sm_86", "sm_90", "sm_100", "sm_120"]


@dataclass
class Recorded:
    """Stands in for `flatout.hardware.doctor.machine.Machine` with what was recorded of one.

    Attributes:
        files: path to text. A folder is there if something is in it.
        links: path to the path it leads to.
        devices: device file to (mode, group, why it cannot be opened).
        commands: the beginning of a command line to what it answers.
        probe_steps: step to answer; the probe hangs or comes down in the step whose answer is None.
    """

    files: dict = field(default_factory=dict)
    links: dict = field(default_factory=dict)
    devices: dict = field(default_factory=dict)
    commands: dict = field(default_factory=dict)
    environment: dict = field(default_factory=dict)
    probe_steps: dict = field(default_factory=dict)
    probe_status: int | None = 0
    platform: str = "linux"
    architecture: str = "x86_64"
    release: str = "6.8.0-45-generic"
    python: str = "/home/ada/.venv/bin/python"
    prefix: str = "/home/ada/.venv"
    process_id: int = 4000
    user_groups: tuple = ("ada", "sudo")

    def changed(self, **changes):
        """A copy: a dict is brought up to date, anything else replaced."""
        new = copy.deepcopy(self)
        for name, value in changes.items():
            setattr(new, name, getattr(new, name) | value if isinstance(value, dict) else value)
        return new

    def without(self, *starts):
        """A copy without the files, links, device files and commands that begin so."""
        new = copy.deepcopy(self)
        for kept in (new.files, new.links, new.devices, new.commands):
            for path in [path for path in kept if path.startswith(starts)]:
                del kept[path]
        return new

    def _paths(self):
        return [*self.files, *self.links, *self.devices]

    def read(self, path):
        return self.files.get(path)

    def exists(self, path):
        return any(known == path or known.startswith(path + "/") for known in self._paths())

    def entries(self, path):
        inside = [known[len(path) + 1 :] for known in self._paths() if known.startswith(path + "/")]
        return sorted({name.partition("/")[0] for name in inside}) or None

    def link(self, path):
        return self.links[path].rpartition("/")[2] if path in self.links else None

    def resolve(self, path):
        return self.links.get(path, path)

    def device_file(self, path):
        mode, group, _ = self.devices[path]
        return DeviceFile(path, mode=mode, group=group)

    def groups(self):
        return list(self.user_groups)

    def run(self, *command, timeout=0.0):
        line = " ".join(command)
        return next((answer for start, answer in self.commands.items() if line.startswith(start)), None)

    def probe(self, timeout):
        steps = {"files": {path: error for path, (_, _, error) in self.devices.items()}} | self.probe_steps
        lines = []
        for step in ("files", "driver", "torch", "gpu"):
            lines.append(json.dumps({"step": step}))
            if steps[step] is None:
                break
            lines.append(json.dumps({"step": step, "answer": steps[step]}))
            if steps[step].get("error") and step == "torch":
                break
        else:
            lines.append(json.dumps({"step": "end"}))
        return Answer(self.probe_status, "a library may print here\n" + "\n".join(lines) + "\n")


def card_row(**changes):
    """A row of `nvidia-smi --query-gpu`, for an RTX 3090."""
    values = {
        "index": "0",
        "name": "NVIDIA GeForce RTX 3090",
        "uuid": "GPU-8f6d1a7e-41c0-6c3b-2d5e-0c6b6d6f7a01",
        "compute_cap": "8.6",
        "generation": "4",
        "most_generation": "4",
        "width": "16",
        "most_width": "16",
        "limit": "350.00",
        "default_limit": "350.00",
        "temperature": "41",
        "utilization": "0",
        "reasons": "0x0000000000000001",
        "memory": "24576",
        "address": "00000000:01:00.0",
        "driver": "570.158.01",
    } | changes
    return ", ".join(values.values())


def torch_step(**changes):
    """What the probe says of a torch for CUDA 12.8."""
    return {
        "version": "2.11.0+cu128",
        "cuda": "12.8",
        "hip": None,
        "xpu": None,
        "mps_built": False,
        "architectures": CUDA_ARCHITECTURES,
    } | changes


CPU_TORCH = torch_step(version="2.13.0+cpu", cuda=None, architectures=[])
ROCM_TORCH = torch_step(
    version="2.11.0+rocm7.2",
    cuda=None,
    hip="7.2.26015",
    architectures=["gfx90a", "gfx942", "gfx1030", "gfx1100"],
)
MPS_TORCH = torch_step(version="2.13.0", cuda=None, mps_built=True, architectures=[])


def fails(error=None, *warnings):
    """What the probe says of a GPU it could not use."""
    return {
        "available": False,
        "device_count": 0,
        "devices": [],
        "error": error,
        "warnings": list(warnings),
    }


def works(name="NVIDIA GeForce RTX 3090", architecture="8.6"):
    return {
        "available": True,
        "device_count": 1,
        "devices": [[name, architecture]],
        "error": None,
        "warnings": [],
    }


def _bus(address, vendor, device, driver, *, kind="0x030000", revision="0xa1", width="16"):
    at = f"/sys/bus/pci/devices/{address}"
    files = {
        f"{at}/class": f"{kind}\n",
        f"{at}/vendor": f"{vendor}\n",
        f"{at}/device": f"{device}\n",
        f"{at}/revision": f"{revision}\n",
        f"{at}/current_link_width": f"{width}\n",
        f"{at}/max_link_width": "16\n",
    }
    return files, {f"{at}/driver": f"/sys/bus/pci/drivers/{driver}"} if driver else {}


def bare_linux():
    """A Linux with a network card and the graphics inside its Intel processor; CPU-only torch."""
    files, links = _bus("0000:00:02.0", "0x8086", "0x4680", "i915")
    network, _ = _bus("0000:02:00.0", "0x8086", "0x15f3", "igc", kind="0x020000")
    return Recorded(
        files={
            "/etc/os-release": UBUNTU,
            "/proc/version": "Linux version 6.8.0-45-generic (buildd@lcy02) (x86_64-linux-gnu-gcc-13)",
            "/proc/1/cgroup": "0::/init.scope\n",
            "/sys/module/i915/version": "",
        }
        | files
        | network,
        links=links,
        devices={"/dev/dri/renderD128": ("crw-rw----", "render", "EACCES")},
        probe_steps={
            "driver": {"load_error": "libcuda.so.1: cannot open shared object file"},
            "torch": CPU_TORCH,
            "gpu": fails("Torch not compiled with CUDA enabled"),
        },
    )


def rtx3090():
    """Ubuntu with an RTX 3090, driver 570.158.01, torch for CUDA 12.8: all is well."""
    files, links = _bus("0000:01:00.0", "0x10de", "0x2204", "nvidia")
    library = "/usr/lib/x86_64-linux-gnu/libcuda.so.1"
    return bare_linux().changed(
        files={
            "/proc/driver/nvidia/version": "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  "
            "570.158.01  Release Build  (dvs-builder@U22-I3-B10-02-5)  Mon Jun  2 13:13:04 UTC 2025\n"
            "GCC version:  gcc version 13.2.0 (Ubuntu 13.2.0-23ubuntu4)\n",
            "/sys/module/nvidia/version": "570.158.01\n",
            "/sys/module/nvidia_uvm/version": "570.158.01\n",
        }
        | files,
        links={library: "/usr/lib/x86_64-linux-gnu/libcuda.so.570.158.01"} | links,
        devices=dict.fromkeys(
            ("/dev/nvidia0", "/dev/nvidiactl", "/dev/nvidia-uvm"), ("crw-rw-rw-", "root", None)
        ),
        commands={
            QUERY: Answer(0, card_row() + "\n"),
            PROCESSES: Answer(0, ""),
            "modinfo -F version nvidia": Answer(0, "570.158.01\n"),
        },
        probe_steps={
            "driver": {
                "path": "/usr/lib/x86_64-linux-gnu/libcuda.so.570.158.01",
                "cuda": [12, 8],
                "cu_init": 0,
            },
            "torch": torch_step(),
            "gpu": works(),
        },
    )


def rx7900():
    """Ubuntu with a Radeon RX 7900 XTX and torch for ROCm: all is well."""
    files, links = _bus("0000:03:00.0", "0x1002", "0x744c", "amdgpu", revision="0xc8")
    return bare_linux().changed(
        files={"/sys/module/amdgpu/version": ""} | files,
        links=links,
        devices={
            "/dev/kfd": ("crw-rw----", "render", None),
            "/dev/dri/renderD128": ("crw-rw----", "render", None),
            "/dev/dri/renderD129": ("crw-rw----", "render", None),
        },
        user_groups=("ada", "render", "video"),
        probe_steps={"torch": ROCM_TORCH, "gpu": works("AMD Radeon RX 7900 XTX", "gfx1100")},
    )


def macbook():
    """A MacBook with an M2: all is well."""
    return Recorded(
        platform="darwin",
        architecture="arm64",
        release="15.3",
        commands={
            "sysctl -n sysctl.proc_translated": Answer(0, "0\n"),
            "sw_vers -productVersion": Answer(0, "15.3\n"),
        },
        probe_steps={
            "driver": {"load_error": "libcuda.so.1: no such file"},
            "torch": MPS_TORCH,
            "gpu": works("Apple GPU", "mps"),
        },
    )


def wsl():
    """Ubuntu in WSL 2 with the Windows driver: all is well."""
    library = "/usr/lib/wsl/lib/libcuda.so.1"
    return (
        rtx3090()
        .without("/sys/", "/proc/driver", "/dev/", "/usr/lib/x86_64", "modinfo")
        .changed(
            release="5.15.153.1-microsoft-standard-WSL2",
            files={
                "/proc/version": "Linux version 5.15.153.1-microsoft-standard-WSL2 (root@941d701f84f1)",
                "/sys/bus/pci/drivers/virtio-pci/bind": "",
                "/sys/module/kernel/x": "",
            },
            links={library: "/usr/lib/wsl/drivers/nv_dispi.inf_amd64_1a/libcuda.so.1.1"},
            devices={"/dev/dxg": ("crw-rw-rw-", "root", None)},
            probe_steps={"driver": {"path": library, "cuda": [12, 8], "cu_init": 0}},
        )
    )


def windows():
    """Windows with an RTX 3090: all is well."""
    return Recorded(
        platform="win32",
        architecture="AMD64",
        release="11",
        python=r"C:\Users\ada\venv\Scripts\python.exe",
        commands={
            "powershell": Answer(
                0,
                "PCI\\VEN_8086&DEV_4680&SUBSYS_1&REV_0C\\3&1|Intel(R) UHD Graphics 770\r\n"
                "PCI\\VEN_10DE&DEV_2204&SUBSYS_1&REV_A1\\4&2|NVIDIA GeForce RTX 3090\r\n",
            ),
            QUERY: Answer(0, card_row(driver="576.88") + "\r\n"),
            PROCESSES: Answer(0, ""),
        },
        probe_steps={
            "driver": {"path": None, "cuda": [12, 9], "cu_init": 0},
            "torch": torch_step(),
            "gpu": works(),
        },
    )


def in_container(machine):
    return machine.without("modinfo").changed(files={"/.dockerenv": ""})
