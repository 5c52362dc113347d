"""For every cause a machine that has it: the healthy one, and what is different."""

from recorded_machines import (
    ARCH,
    CPU_TORCH,
    CUDA_ARCHITECTURES,
    DEBIAN,
    FEDORA,
    MPS_TORCH,
    PROCESSES,
    QUERY,
    ROCM_TORCH,
    bare_linux,
    card_row,
    fails,
    in_container,
    macbook,
    rtx3090,
    rx7900,
    torch_step,
    windows,
    works,
    wsl,
)

from flatout.hardware.doctor.machine import Answer

HEALTHY = {
    "rtx3090": rtx3090(),
    "rx7900": rx7900(),
    "macbook": macbook(),
    "wsl": wsl(),
    "windows": windows(),
    "container": in_container(rtx3090()),
    "this process uses the card": rtx3090().changed(
        commands={PROCESSES: Answer(0, "GPU-8f6d1a7e-41c0-6c3b-2d5e-0c6b6d6f7a01, 4000, 21000, python\n")}
    ),
    "a virtual bus": rtx3090().changed(
        files={
            "/sys/bus/pci/devices/0000:01:00.0/current_link_width": "0\n",
            "/sys/bus/pci/devices/0000:01:00.0/max_link_width": "255\n",
        }
    ),
    "one of two GPUs chosen": rtx3090().changed(environment={"CUDA_VISIBLE_DEVICES": "0"}),
    "an idle card with a slow link": rtx3090().changed(commands={QUERY: Answer(0, card_row(generation="1"))}),
}

# What torch, CUDA and nvidia-smi say, word for word.
_NO_DRIVER = (
    "Found no NVIDIA driver on your system. Please check that you have an NVIDIA GPU and installed a driver "
    "from http://www.nvidia.com/Download/index.aspx"
)
_NO_GPUS = "No CUDA GPUs are available"
_NO_HIP_GPUS = "No HIP GPUs are available"
_NOT_COMPILED = "Torch not compiled with CUDA enabled"
_NOT_LINKED = "PyTorch is not linked with support for mps devices"
_NO_KERNEL = "CUDA error: no kernel image is available for execution on the device"
_MACOS = "The MPS backend is supported on MacOS 14.0+. Current OS version can be queried using `sw_vers`"
_UNKNOWN = (
    "CUDA unknown error - this may be due to an incorrectly set up environment, e.g. changing env variable "
    "CUDA_VISIBLE_DEVICES after program start. Setting the available devices to be zero."
)
_TOO_OLD = (
    "The NVIDIA driver on your system is too old (found version 12080). Please update your GPU driver by "
    "downloading and installing a new version from the URL: http://www.nvidia.com/Download/index.aspx"
)
_OUT_OF_MEMORY = (
    "CUDA out of memory. Tried to allocate 2.00 MiB. GPU 0 has a total capacity of 23.69 GiB of which "
    "1.56 MiB is free."
)
_BUSY = "CUDA error: CUDA-capable device(s) is/are busy or unavailable"
_FORKED = (
    "Cannot re-initialize CUDA in forked subprocess. To use CUDA with multiprocessing, you must use the "
    "'spawn' start method"
)
_LOST = (
    "Unable to determine the device handle for GPU0: 0000:01:00.0: GPU is lost. Reboot the system to recover "
    "this GPU\n"
)
_NVML_UNKNOWN = "Failed to initialize NVML: Unknown Error\n"
_KERNEL_550 = "NVRM version: NVIDIA UNIX x86_64 Kernel Module  550.54.14  Thu Feb 22 01:44:30 UTC 2024\n"
_SECURE_BOOT = "/sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c"
_SMI_MISMATCH = Answer(
    18, "Failed to initialize NVML: Driver/library version mismatch\nNVML library version: 570.158\n"
)
_SMI_NO_DRIVER = Answer(
    9,
    "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver. Make sure that the latest "
    "NVIDIA driver is installed and running.\n",
)
_UNLOADED = (
    "/sys/module/nvidia",
    "/proc/driver/nvidia",
    "/dev/nvidia",
    "/sys/bus/pci/devices/0000:01:00.0/driver",
)


def _unexpected(code, text):
    """torch's text for an error of cudaGetDeviceCount that it has no words of its own for."""
    return (
        "Unexpected error from cudaGetDeviceCount(). Did you run some cuda functions before calling "
        f"NumCudaDevices() that might have already set an error? Error {code}: {text}"
    )


def _cuda_fails(machine, code, error):
    driver = machine.probe_steps["driver"] | {"cu_init": code}
    return machine.changed(probe_steps={"driver": driver, "gpu": fails(error)})


def _smi(machine=None, **values):
    """A machine whose card says something else of itself."""
    return (machine or rtx3090()).changed(commands={QUERY: Answer(0, card_row(**values))})


def _torch(machine, torch, error):
    """A machine with another torch, that cannot use the GPU."""
    return machine.changed(probe_steps={"torch": torch, "gpu": fails(error)})


def _blind(machine, error):
    return machine.changed(probe_steps={"gpu": fails(error)})


def _hidden(value, machine=None):
    machine = (machine or rtx3090()).changed(environment={"CUDA_VISIBLE_DEVICES": value})
    return _cuda_fails(machine, 100, _NO_GPUS)


_no_driver = (
    rtx3090()
    .without(*_UNLOADED, "/usr/lib/x86_64", "nvidia-smi", "modinfo")
    .changed(probe_steps={"driver": {"load_error": "libcuda.so.1: absent"}, "gpu": fails(_NO_DRIVER)})
)
_not_loaded = _cuda_fails(
    rtx3090().without(*_UNLOADED).changed(commands={QUERY: _SMI_NO_DRIVER}), 100, _NO_DRIVER
)
_mismatch = _cuda_fails(
    rtx3090().changed(commands={QUERY: _SMI_MISMATCH}),
    803,
    _unexpected(803, "system has unsupported display driver / cuda driver combination"),
)
_no_device_files = in_container(rtx3090()).without("/dev/nvidia", "nvidia-smi", "/usr/lib/x86_64")
_hang = rtx3090().changed(probe_steps={"driver": None}, probe_status=None)

# Cause, what is special about it, machine. The first machine of a cause is the one it is removed for.
CASES = [
    (
        "gpu_lost",
        "nvidia-smi says so",
        rtx3090().changed(commands={QUERY: Answer(15, _LOST)}, probe_steps={"gpu": fails(_NO_GPUS)}),
    ),
    (
        "gpu_lost",
        "the bus reads ones",
        _cuda_fails(
            rtx3090().changed(files={"/sys/bus/pci/devices/0000:01:00.0/revision": "0xff\n"}), 100, _NO_GPUS
        ),
    ),
    (
        "gpu_needs_reset",
        "",
        _cuda_fails(
            rtx3090().changed(commands={QUERY: Answer(0, card_row(temperature="[GPU requires reset]"))}),
            46,
            "CUDA error: CUDA-capable device(s) is/are busy or unavailable",
        ),
    ),
    (
        "gpu_needs_reset",
        "memory error",
        _cuda_fails(rtx3090(), 214, "CUDA error: uncorrectable ECC error encountered"),
    ),
    ("no_gpu", "", bare_linux()),
    (
        "no_gpu",
        "the graphics inside an AMD processor",
        rx7900().changed(
            files={"/sys/bus/pci/devices/0000:03:00.0/mem_info_vram_total": "536870912\n"},
            probe_steps={"torch": CPU_TORCH, "gpu": fails(_NOT_COMPILED)},
        ),
    ),
    ("no_gpu", "in a container", in_container(bare_linux())),
    (
        "no_gpu",
        "an Intel Mac",
        macbook().changed(
            architecture="x86_64", probe_steps={"torch": CPU_TORCH, "gpu": fails(_NOT_COMPILED)}
        ),
    ),
    ("wsl_without_dxg", "", _cuda_fails(wsl().without("/dev/dxg"), 100, _NO_GPUS)),
    (
        "wsl_linux_driver",
        "",
        _cuda_fails(
            wsl().changed(
                probe_steps={
                    "driver": {
                        "path": "/usr/lib/x86_64-linux-gnu/libcuda.so.535.183.01",
                        "cuda": [12, 2],
                        "cu_init": 100,
                    }
                }
            ),
            100,
            _NO_GPUS,
        ),
    ),
    ("no_driver", "", _no_driver),
    (
        "no_driver",
        "Debian, nouveau holds the card",
        _no_driver.changed(files={"/etc/os-release": DEBIAN, "/sys/module/nouveau/x": ""}),
    ),
    (
        "no_driver",
        "AMD",
        rx7900()
        .without("/sys/module/amdgpu", "/dev/kfd", "/sys/bus/pci/devices/0000:03:00.0/driver")
        .changed(probe_steps={"gpu": fails(_NO_HIP_GPUS)}),
    ),
    (
        "no_driver",
        "Windows",
        windows()
        .without("nvidia-smi")
        .changed(probe_steps={"driver": {"load_error": "nvcuda.dll"}, "gpu": fails(_NO_DRIVER)}),
    ),
    ("no_driver", "on the container's host", in_container(_no_driver)),
    ("module_not_loaded", "", _not_loaded),
    ("module_not_loaded", "not built for this kernel", _not_loaded.without("modinfo")),
    (
        "module_not_loaded",
        "nouveau is",
        _not_loaded.changed(files={"/etc/os-release": FEDORA, "/sys/module/nouveau/x": ""}),
    ),
    ("module_not_loaded", "Secure Boot", _not_loaded.changed(files={_SECURE_BOOT: "\x06\0\0\0\x01"})),
    (
        "reboot_needed",
        "",
        _mismatch.changed(
            files={"/proc/driver/nvidia/version": _KERNEL_550, "/sys/module/nvidia/version": "550.54.14\n"}
        ),
    ),
    (
        "library_mismatch",
        "",
        _mismatch.changed(
            files={"/etc/os-release": ARCH},
            probe_steps={
                "driver": {"path": "/opt/old/libcuda.so.535.183.01", "cuda": [12, 2], "cu_init": 803}
            },
        ),
    ),
    (
        "library_mismatch",
        "in a container",
        in_container(_mismatch).changed(
            probe_steps={
                "driver": {
                    "path": "/usr/lib/x86_64-linux-gnu/libcuda.so.535.183.01",
                    "cuda": [12, 2],
                    "cu_init": 803,
                }
            }
        ),
    ),
    (
        "forward_compatibility",
        "",
        _cuda_fails(
            rtx3090().changed(
                probe_steps={
                    "driver": {"path": "/usr/local/cuda-13.0/compat/libcuda.so.580.65.06", "cuda": [13, 0]}
                }
            ),
            804,
            _unexpected(804, "forward compatibility was attempted on non supported HW"),
        ),
    ),
    ("fabric_manager", "", _cuda_fails(rtx3090(), 802, _unexpected(802, "system not yet initialized"))),
    ("driver_too_old", "", _torch(rtx3090(), torch_step(version="2.13.0+cu130", cuda="13.0"), _TOO_OLD)),
    (
        "driver_too_old",
        "the driver's number alone",
        _torch(rtx3090(), torch_step(version="2.13.0+cu130", cuda="13.0"), _NO_GPUS),
    ),
    ("container_without_runtime", "", _cuda_fails(_no_device_files, 100, _NO_DRIVER)),
    (
        "container_without_runtime",
        "Kubernetes",
        _cuda_fails(
            _no_device_files.changed(
                environment={"KUBERNETES_SERVICE_HOST": "10.0.0.1", "NVIDIA_VISIBLE_DEVICES": "void"}
            ),
            100,
            _NO_DRIVER,
        ),
    ),
    (
        "container_without_runtime",
        "AMD",
        in_container(rx7900()).without("/dev/").changed(probe_steps={"gpu": fails(_NO_HIP_GPUS)}),
    ),
    (
        "container_lost_gpu",
        "",
        _cuda_fails(
            in_container(rtx3090()).changed(commands={QUERY: Answer(255, _NVML_UNKNOWN)}), 100, _NO_GPUS
        ),
    ),
    (
        "container_lost_gpu",
        "the files refuse",
        _cuda_fails(
            in_container(rtx3090())
            .without("nvidia-smi")
            .changed(devices={"/dev/nvidia0": ("crw-rw-rw-", "root", "EPERM")}),
            999,
            _UNKNOWN,
        ),
    ),
    (
        "no_permission",
        "",
        _cuda_fails(
            rtx3090().changed(devices={"/dev/nvidiactl": ("crw-rw----", "gpuusers", "EACCES")}), 999, _UNKNOWN
        ),
    ),
    (
        "no_permission",
        "AMD",
        rx7900().changed(
            user_groups=("ada",),
            devices={"/dev/kfd": ("crw-rw----", "render", "EACCES")},
            probe_steps={"gpu": fails(_NO_HIP_GPUS)},
        ),
    ),
    (
        "torch_broken",
        "",
        rtx3090().changed(
            probe_steps={"torch": {"error": "ImportError: libcudart.so.12: cannot open shared object file"}}
        ),
    ),
    (
        "rosetta",
        "",
        macbook().changed(
            architecture="x86_64",
            commands={"sysctl -n sysctl.proc_translated": Answer(0, "1\n")},
            probe_steps={"torch": MPS_TORCH, "gpu": fails(_NOT_LINKED)},
        ),
    ),
    ("cpu_build", "", _torch(rtx3090(), CPU_TORCH, _NOT_COMPILED)),
    ("cpu_build", "AMD", _torch(rx7900(), CPU_TORCH, _NOT_COMPILED)),
    ("cpu_build", "Windows", _torch(windows(), CPU_TORCH, _NOT_COMPILED)),
    (
        "cpu_build",
        "conda",
        rtx3090().changed(
            files={"/home/ada/.venv/conda-meta/history": ""},
            probe_steps={"torch": CPU_TORCH, "gpu": fails(_NOT_COMPILED)},
        ),
    ),
    ("cpu_build", "a Mac", _torch(macbook(), CPU_TORCH, _NOT_LINKED)),
    ("other_vendor_build", "CUDA on AMD", _torch(rx7900(), torch_step(), _NO_DRIVER)),
    ("other_vendor_build", "ROCm on NVIDIA", _torch(rtx3090(), ROCM_TORCH, _NO_HIP_GPUS)),
    (
        "card_too_old",
        "",
        rtx3090().changed(
            commands={QUERY: Answer(0, card_row(name="NVIDIA GeForce GTX 1070", compute_cap="6.1"))},
            probe_steps={"gpu": works("NVIDIA GeForce GTX 1070", "6.1") | {"error": _NO_KERNEL}},
        ),
    ),
    (
        "card_too_new",
        "",
        rtx3090().changed(
            commands={QUERY: Answer(0, card_row(name="NVIDIA GeForce RTX 5090", compute_cap="12.0"))},
            probe_steps={
                "torch": torch_step(
                    version="2.11.0+cu126", cuda="12.6", architectures=CUDA_ARCHITECTURES[:4]
                ),
                "gpu": works("NVIDIA GeForce RTX 5090", "12.0") | {"error": _NO_KERNEL},
            },
        ),
    ),
    (
        "card_not_in_rocm",
        "",
        rx7900().changed(
            probe_steps={
                "gpu": works("AMD Radeon RX 6700 XT", "gfx1031")
                | {"error": "HIP error: invalid device function"}
            }
        ),
    ),
    (
        "rocr_visible_devices",
        "",
        rx7900().changed(environment={"ROCR_VISIBLE_DEVICES": "3"}, probe_steps={"gpu": fails(_NO_HIP_GPUS)}),
    ),
    (
        "hip_visible_devices",
        "",
        rx7900().changed(environment={"HIP_VISIBLE_DEVICES": "-1"}, probe_steps={"gpu": fails(_NO_HIP_GPUS)}),
    ),
    ("cuda_visible_devices_empty", "", _hidden("")),
    ("cuda_visible_devices_empty", "AMD", _hidden("", rx7900())),
    ("cuda_visible_devices_negative", "", _hidden("-1")),
    ("cuda_visible_devices_out_of_range", "", _hidden("1")),
    ("cuda_visible_devices_bad_uuid", "", _hidden("GPU-00000000-1111-2222-3333-444444444444")),
    ("cuda_visible_devices_bad_uuid", "a word", _hidden("all")),
    ("cuda_visible_devices_repeated", "", _hidden("0,0")),
    ("forked", "", _blind(rtx3090(), _FORKED)),
    (
        "in_use",
        "",
        _blind(rtx3090(), _OUT_OF_MEMORY).changed(
            commands={PROCESSES: Answer(0, "GPU-8f6d1a7e-41c0-6c3b-2d5e-0c6b6d6f7a01, 4711, 24100, python\n")}
        ),
    ),
    ("in_use", "exclusive mode", _blind(rtx3090(), _BUSY)),
    ("driver_hangs", "", _hang),
    ("driver_hangs", "while it computes", rtx3090().changed(probe_steps={"gpu": None}, probe_status=None)),
    ("torch_crashes", "", rtx3090().changed(probe_steps={"gpu": None}, probe_status=-11)),
    (
        "macos_too_old",
        "",
        macbook().changed(
            commands={"sw_vers -productVersion": Answer(0, "13.7.4\n")}, probe_steps={"gpu": fails(_MACOS)}
        ),
    ),
    ("no_metal", "", _blind(macbook(), _MACOS)),
    (
        "unknown_error",
        "",
        _cuda_fails(rtx3090().without("/sys/module/nvidia_uvm", "/dev/nvidia-uvm"), 999, _UNKNOWN),
    ),
    ("unknown_error", "after a sleep", _cuda_fails(rtx3090(), 999, _UNKNOWN)),
    (
        "unexplained",
        "",
        _cuda_fails(rtx3090(), 3, "CUDA driver initialization failed, you might not have a CUDA gpu."),
    ),
    (
        "unexplained",
        "importing torch takes too long",
        rtx3090().changed(probe_steps={"torch": None}, probe_status=None),
    ),
    ("thermal", "", _smi(temperature="91", reasons="0x0000000000000060")),
    ("power_brake", "", _smi(reasons="0x0000000000000088")),
    ("power_cap", "", _smi(limit="150.00")),
    ("narrow_pcie", "", _smi(width="1")),
    ("narrow_pcie", "nvidia-smi tells what the slot offers", _smi(width="1", most_width="1")),
    (
        "narrow_pcie",
        "AMD",
        rx7900().changed(files={"/sys/bus/pci/devices/0000:03:00.0/current_link_width": "1\n"}),
    ),
    (
        "busy",
        "",
        rtx3090().changed(
            commands={
                PROCESSES: Answer(
                    0, "GPU-8f6d1a7e-41c0-6c3b-2d5e-0c6b6d6f7a01, 4711, 21000, /usr/bin/python3\n"
                )
            }
        ),
    ),
    (
        "busy",
        "by load",
        rtx3090().changed(
            commands={
                QUERY: Answer(0, card_row(utilization="97")),
                PROCESSES: Answer(0, "GPU-8f6d1a7e-41c0-6c3b-2d5e-0c6b6d6f7a01, 4711, [N/A], blender\n"),
            }
        ),
    ),
]
