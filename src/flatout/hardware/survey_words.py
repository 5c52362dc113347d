"""A survey in words: a headline, then sections of a label and a text a line."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from flatout.hardware.figures import UNKNOWN, mebibytes
from flatout.hardware.measured_words import measured_rows

if TYPE_CHECKING:
    from flatout.hardware.doctor import Diagnosis
    from flatout.hardware.gpu import Gpu, Link
    from flatout.hardware.survey import Survey
    from flatout.hardware.torch_build import TorchBuild

Row = tuple[str, str]

_DTYPES = (
    ("float32", "FP32"),
    ("tf32", "TF32"),
    ("bfloat16", "BF16"),
    ("float16", "FP16"),
    ("float8", "FP8"),
    ("float64", "FP64"),
)
_UNITS = {"CUDA": "multiprocessors", "ROCm": "compute units", "MPS": "cores", "XPU": "execution units"}
_ROUNDED: dict[str | None, str] = {
    "ieee": "exact",
    "tf32": "rounded to TF32",
    "bf16": "rounded to BF16",
}
_MOST_COMMANDS = 3


@dataclass(frozen=True)
class Section:
    """A part of the survey.

    Attributes:
        title: "CPU", "GPU", "torch", "health" or "measured".
        rows: label and text of each line. A text that begins with "$ " is a command.
    """

    title: str
    rows: tuple[Row, ...]


def headline(survey: Survey) -> str:
    """Where training runs unless told otherwise, and why."""
    health = survey.health
    used = [gpu for gpu in survey.gpus if gpu.device]
    if not used:
        why = health.findings[0].sentence if health and health.findings else "torch sees no GPU."
        return f"You train on the CPU, because torch sees no GPU. {why}".replace(
            "torch sees no GPU. torch sees no GPU.", "torch sees no GPU."
        )
    first = used[0]
    others = f" (and {len(used) - 1} more)" if len(used) > 1 else ""
    text = f"You train on {first.device}, {first.name}{others}, because torch sees it"
    if health is None:
        return f"{text}; whether it is healthy could not be found out."
    if health.healthy:
        return f"{text} and can use it."
    return f"{text}. But: {health.findings[0].sentence}"


def sections(survey: Survey) -> list[Section]:
    """All of it, in the order that matters."""
    from flatout.hardware.cpu import describe

    found = [Section("CPU", tuple(describe(survey.cpu)))]
    found.append(Section("GPU", tuple(_gpus(survey.gpus))))
    found.append(Section("torch", tuple(_torch(survey.torch))))
    found.append(Section("health", tuple(_health(survey.health))))
    cards = {gpu.device: gpu for gpu in survey.gpus if gpu.device}
    for place, measured in survey.measured.items():
        found.append(Section(f"measured on {place}", tuple(measured_rows(measured, cards.get(place)))))
    return found


def plain(first_line: str, parts: Sequence[Section]) -> str:
    """As text that is not wrapped."""
    wide = max(len(label) for part in parts for label, _ in part.rows)
    lines = [first_line]
    for part in parts:
        lines += ["", part.title, *(f"  {label:{wide}}  {text}" for label, text in part.rows)]
    return "\n".join(lines)


def _gpus(gpus: Sequence[Gpu]) -> Iterator[Row]:
    if not gpus:
        yield "GPU", "none that torch or NVIDIA's driver sees"
    seen: dict[tuple[str, bool], str] = {}
    for gpu in gpus:
        kind = gpu.name, gpu.device is None
        if kind in seen:  # eight cards of a kind are one screen, not eight
            free = f", {mebibytes(gpu.memory_free_bytes)} free" if gpu.memory_free_bytes is not None else ""
            yield gpu.device or "not used", f"{gpu.name}, as {seen[kind]}{free}{_slow_link(gpu)}"
            continue
        seen[kind] = gpu.device or "the one above"
        yield from _gpu(gpu)


def _gpu(gpu: Gpu) -> Iterator[Row]:
    yield gpu.device or "not used", gpu.name + ("" if gpu.device else " (this torch does not use it)")
    if gpu.name_means:
        yield "name", gpu.name_means
    yield "chip", _chip(gpu)
    yield "memory", _memory(gpu)
    yield "at most", _rates(gpu)
    yield "power limit", _power(gpu)
    yield "PCIe", _pcie(gpu)
    cuda = f", runs CUDA up to {gpu.driver_cuda}" if gpu.driver_cuda else ""
    yield "driver", f"{gpu.driver or UNKNOWN}{cuda}"


def _chip(gpu: Gpu) -> str:
    parts = [gpu.architecture or "architecture unknown"]
    if gpu.capability:
        parts.append(f"compute capability {gpu.capability[0]}.{gpu.capability[1]}")
    if gpu.gfx:
        parts.append(gpu.gfx)
    clock = f" at {gpu.clock_mhz / 1e3:.2f} GHz" if gpu.clock_mhz else ""
    parts.append(f"{gpu.multiprocessors or UNKNOWN} {_UNITS[gpu.backend]}{clock}")
    return ", ".join(parts)


def _memory(gpu: Gpu) -> str:
    shared = " shared with the CPU" if gpu.unified else ""
    parts = [f"{mebibytes(gpu.memory_bytes)}{shared}, {mebibytes(gpu.memory_free_bytes)} free"]
    parts.append(f"bus {gpu.bus_bits} bits" if gpu.bus_bits else "bus unknown")
    parts.append(f"bandwidth {UNKNOWN if gpu.bandwidth is None else f'{gpu.bandwidth / 1e9:,.0f} GB/s'}")
    parts.append(f"L2 {mebibytes(gpu.l2_bytes)}")
    return ", ".join(parts)


def _rates(gpu: Gpu) -> str:
    """Rates in the order of use, in one unit."""
    known = [f"{name} {_three_digits(gpu.rates[key] / 1e12)}" for key, name in _DTYPES if key in gpu.rates]
    if not known:
        return UNKNOWN
    bound = "" if gpu.clock_is_rated else "; at the highest clock, which a card seldom holds"
    return f"{', '.join(known)} TFLOP/s (dense products{bound})"


def _three_digits(value: float) -> str:
    """At least three.

    >>> _three_digits(1.294), _three_digits(82.57), _three_digits(1977.9)
    ('1.29', '82.6', '1,978')
    """
    return f"{value:.3g}" if value < 999.5 else f"{value:,.0f}"


def _power(gpu: Gpu) -> str:
    if gpu.power_limit_watts is None:
        return UNKNOWN
    text = f"{gpu.power_limit_watts:.0f} W"
    default = gpu.power_default_watts
    return f"{text} of {default:.0f} W" if default and default > gpu.power_limit_watts else text


def _pcie(gpu: Gpu) -> str:
    if gpu.pcie is None and gpu.pcie_max is None:
        return UNKNOWN
    text = f"{_link(gpu.pcie)} now, at most {_link(gpu.pcie_max)}"
    if gpu.pcie and gpu.pcie_max and gpu.pcie.generation < gpu.pcie_max.generation:
        text += " (an idle card lowers its generation)"
    return text


def _slow_link(gpu: Gpu) -> str:
    slow = gpu.pcie and gpu.pcie_max and gpu.pcie.lanes < gpu.pcie_max.lanes
    return f", PCIe {_pcie(gpu)}" if slow else ""


def _link(link: Link | None) -> str:
    return UNKNOWN if link is None else f"{link.generation}.0 x{link.lanes}"


def _torch(build: TorchBuild) -> Iterator[Row]:
    yield "version", f"{build.version}, built for {build.built_for}, Python {build.python}"
    if build.architectures:
        yield "code for", ", ".join(build.architectures)
    named = (("", build.blas), ("cuDNN ", build.cudnn), ("NCCL ", build.nccl))
    libraries = [f"{name}{version}" for name, version in named if version]
    yield "libraries", ", ".join(libraries + (["oneDNN"] if build.onednn else [])) or UNKNOWN
    threads = f"{build.threads or UNKNOWN} in an operator, {build.interop_threads or UNKNOWN} side by side"
    yield "threads", f"{threads}; vectors {build.cpu_capability or UNKNOWN}"
    yield "settings", ", ".join(_settings(build))
    if build.variables:
        yield "environment", " ".join(f"{name}={value}" for name, value in build.variables.items())


def _settings(build: TorchBuild) -> Iterator[str]:
    yield f"float32 products {_ROUNDED.get(build.float32_products, UNKNOWN)}"
    if build.float32_convolutions:
        yield f"float32 convolutions {_ROUNDED.get(build.float32_convolutions, UNKNOWN)}"
    named = (
        ("deterministic algorithms", build.deterministic),
        ("cuDNN benchmark", build.cudnn_benchmark if build.cudnn else None),
    )
    yield from (f"{name} {'on' if value else 'off'}" for name, value in named if value is not None)


def _health(health: Diagnosis | None) -> Iterator[Row]:
    if health is None:
        yield "verdict", f"{UNKNOWN}: the GPU could not be tried; flatout doctor says more"
        return
    yield "verdict", health.headline
    for finding in health.findings[1:]:
        yield "besides", finding.sentence
    commands = [line for finding in health.findings[:1] for line in finding.fix if line.startswith("$ ")]
    yield from (("fix", command) for command in commands[:_MOST_COMMANDS])
    if health.findings:
        yield "evidence", "$ flatout doctor"
