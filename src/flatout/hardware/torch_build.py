"""This torch: what it was built for, the libraries it computes with, and the switches that change speed."""

from __future__ import annotations

import os
import platform
import re
from dataclasses import asdict, dataclass, field
from typing import Any

from flatout.hardware.ask import ask

# Variables that change which devices are seen, how many threads run, or how fast.
_VARIABLES = (
    "CUDA_VISIBLE_DEVICES", "CUDA_LAUNCH_BLOCKING", "CUDA_MODULE_LOADING", "CUDA_DEVICE_ORDER",
    "HIP_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES", "HSA_OVERRIDE_GFX_VERSION", "ZE_AFFINITY_MASK",
    "PYTORCH_ALLOC_CONF", "PYTORCH_CUDA_ALLOC_CONF", "PYTORCH_NO_CUDA_MEMORY_CACHING",
    "PYTORCH_ENABLE_MPS_FALLBACK",
    "NVIDIA_TF32_OVERRIDE", "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE", "CUBLAS_WORKSPACE_CONFIG",
    "OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "OMP_PROC_BIND", "KMP_AFFINITY",
    "ATEN_CPU_CAPABILITY", "LD_PRELOAD",
)  # fmt: skip


@dataclass(frozen=True)
class TorchBuild:
    """torch as it is installed and set. None is unknown, or not part of this build.

    Attributes:
        version: such as "2.13.0+cu130".
        python: such as "3.12.3".
        built_for: "CUDA 13.0", "ROCm 7.0", "XPU 20250100", "MPS", or "CPU only".
        cuda, rocm, xpu: the version it was built with.
        mps: whether MPS is in it.
        architectures: the GPUs it has code for, such as ("sm_80", "sm_90").
        cudnn, nccl: their versions; MIOpen and RCCL on ROCm.
        blas: the library of matrix products on the CPU, such as "MKL 2024.2".
        onednn: whether oneDNN is in it.
        cpu_capability: the vector instructions its CPU code uses, such as "AVX512".
        threads: that one operator on the CPU uses; `interop_threads` operators run side by side.
        interop_threads: see `threads`.
        float32_products: how they are computed: "ieee", or rounded to "tf32" or "bf16".
        float32_convolutions: the same of convolutions on CUDA.
        deterministic: whether torch is to use deterministic algorithms only.
        cudnn_benchmark: whether cuDNN tries its algorithms and takes the fastest.
        variables: those of the environment that matter here and are set.
    """

    version: str
    python: str
    built_for: str
    cuda: str | None = None
    rocm: str | None = None
    xpu: str | None = None
    mps: bool = False
    architectures: tuple[str, ...] = ()
    cudnn: str | None = None
    nccl: str | None = None
    blas: str | None = None
    onednn: bool | None = None
    cpu_capability: str | None = None
    threads: int | None = None
    interop_threads: int | None = None
    float32_products: str | None = None
    float32_convolutions: str | None = None
    deterministic: bool | None = None
    cudnn_benchmark: bool | None = None
    variables: dict[str, str] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """For JSON; null is unknown."""
        return asdict(self)


def torch_build() -> TorchBuild:
    """Look at the torch of this process.

    Example:
        >>> torch_build().threads >= 1
        True
    """
    import torch

    cuda, rocm = torch.version.cuda, torch.version.hip
    xpu = ask(lambda: getattr(torch.version, "xpu", None))
    mps = bool(ask(torch.backends.mps.is_built))
    config = ask(torch.__config__.show) or ""
    backends: Any = torch.backends
    return TorchBuild(
        version=torch.__version__,
        python=platform.python_version(),
        built_for=_built_for(cuda, rocm, xpu, mps),
        cuda=cuda,
        rocm=rocm,
        xpu=xpu,
        mps=mps,
        architectures=tuple(_architectures().split()),
        cudnn=_cudnn(ask(torch.backends.cudnn.version), rocm is not None),
        nccl=_nccl(),
        blas=_blas(config),
        onednn=ask(torch.backends.mkldnn.is_available),
        cpu_capability=ask(torch.backends.cpu.get_cpu_capability),
        threads=ask(torch.get_num_threads),
        interop_threads=ask(torch.get_num_interop_threads),
        float32_products=_precision((backends.cuda if cuda else backends.mkldnn).matmul),
        float32_convolutions=_precision(backends.cudnn.conv) if cuda else None,
        deterministic=ask(torch.are_deterministic_algorithms_enabled),
        cudnn_benchmark=ask(lambda: bool(torch.backends.cudnn.benchmark)),
        variables={name: os.environ[name] for name in _VARIABLES if name in os.environ},
    )


def _precision(setting: Any) -> str | None:
    """Of float32 there; torch says "none" where nothing is set, which is as good as "ieee"."""
    precision = ask(lambda: str(setting.fp32_precision))
    return "ieee" if precision == "none" else precision


def _built_for(cuda: str | None, rocm: str | None, xpu: str | None, mps: bool) -> str:
    """The accelerator.

    >>> _built_for("13.0", None, None, False), _built_for(None, None, None, False)
    ('CUDA 13.0', 'CPU only')
    """
    named = (("CUDA", cuda), ("ROCm", rocm and rocm.partition("-")[0]), ("XPU", xpu))
    known = [f"{what} {version}" for what, version in named if version]
    return (known or (["MPS"] if mps else ["CPU only"]))[0]


def _cudnn(version: int | None, miopen: bool) -> str | None:
    """The version in words.

    >>> _cudnn(91002, False), _cudnn(8902, False), _cudnn(3004000, True), _cudnn(None, False)
    ('9.10.2', '8.9.2', '3.4.0', None)
    """
    if version is None:
        return None
    if miopen:
        return f"{version // 1_000_000}.{version // 1000 % 1000}.{version % 1000}"
    major = 10_000 if version >= 90_000 else 1000  # cuDNN 9 has two digits more
    return f"{version // major}.{version % major // 100}.{version % 100}"


def _architectures() -> str:
    """As `torch.cuda.get_arch_list`, which would start the driver, and is silent where there is no GPU."""
    import torch

    flags: str | None = getattr(torch._C, "_cuda_getArchFlags", lambda: None)()
    return flags or ""


def _nccl() -> str | None:
    import torch

    nccl: Any = torch.cuda.nccl
    version = ask(nccl.version)
    return ".".join(map(str, version)) if isinstance(version, tuple) else None


def _blas(config: str) -> str | None:
    """The library of matrix products, from torch's description of its build.

    >>> _blas("Intel(R) oneAPI Math Kernel Library Version 2024.2-Product Build\\n BLAS_INFO=mkl, ")
    'MKL 2024.2'
    >>> _blas("BLAS_INFO=accelerate, "), _blas("")
    ('accelerate', None)
    """
    named = re.search(r"BLAS_INFO=(\w+)", config)
    if named is None:
        return None
    version = re.search(r"Math Kernel Library Version ([\d.]+)", config)
    return f"MKL {version[1]}" if named[1] == "mkl" and version else named[1]
