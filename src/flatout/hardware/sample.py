"""What the machine does at one moment, as plain numbers. None is a value that is not known, never 0.

    Sample             a moment
    ├── CpuSample      use of each core, memory, temperature, clock
    ├── GpuSample      one for each GPU, always the same ones in the same order
    └── ProcessSample  who is at work

`GpuReading` is what one source of GPUs contributes to it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class CpuSample:
    """The CPU and the memory of the machine.

    Attributes:
        cores: use of each logical core since the last sample, 0 to 1.
        memory_used: bytes that are not available to a program that wants them.
        memory_total: bytes.
        temperature: of the hottest sensor of the CPU, in °C.
        clock: mean of the cores, in MHz.
    """

    cores: tuple[float, ...] | None = None
    memory_used: int | None = None
    memory_total: int | None = None
    temperature: float | None = None
    clock: float | None = None

    @property
    def utilisation(self) -> float | None:
        """Mean of the cores, 0 to 1."""
        return sum(self.cores) / len(self.cores) if self.cores else None

    @property
    def busiest_core(self) -> float | None:
        """Use of the busiest core, 0 to 1."""
        return max(self.cores) if self.cores else None

    def document(self) -> dict[str, Any]:
        """For JSON: every name ends in its unit."""
        return {
            "percent": _percent(self.utilisation),
            "busiest_core_percent": _percent(self.busiest_core),
            "cores_percent": None if self.cores is None else [_percent(core) for core in self.cores],
            "memory_used_bytes": self.memory_used,
            "memory_total_bytes": self.memory_total,
            "temperature_c": self.temperature,
            "clock_mhz": None if self.clock is None else round(self.clock),
        }


@dataclass(frozen=True)
class GpuSample:
    """One GPU.

    Attributes:
        index: counted from 0; NVIDIA's in the order of nvidia-smi, then AMD's in the order of the bus.
        name: as the driver writes it.
        utilisation: share of the time in which some kernel ran, 0 to 1.
        memory_used: bytes.
        memory_total: bytes.
        temperature: of the core, in °C.
        slowdown_temperature: where the card slows itself down, in °C.
        power: drawn now, in watts.
        power_limit: watts.
        clock: of its units now, in MHz.
        max_clock: MHz.
        slowed_by: why the clock is lower than it could be, in words; () where nothing slows it.
        error: why it gives nothing at all any more.
    """

    index: int
    name: str | None = None
    utilisation: float | None = None
    memory_used: int | None = None
    memory_total: int | None = None
    temperature: float | None = None
    slowdown_temperature: float | None = None
    power: float | None = None
    power_limit: float | None = None
    clock: float | None = None
    max_clock: float | None = None
    slowed_by: tuple[str, ...] | None = None
    error: str | None = None

    def document(self) -> dict[str, Any]:
        """For JSON: every name ends in its unit."""
        return {
            "index": self.index,
            "name": self.name,
            "percent": _percent(self.utilisation),
            "memory_used_bytes": self.memory_used,
            "memory_total_bytes": self.memory_total,
            "temperature_c": self.temperature,
            "slowdown_temperature_c": self.slowdown_temperature,
            "power_w": None if self.power is None else round(self.power, 1),
            "power_limit_w": self.power_limit,
            "clock_mhz": self.clock,
            "max_clock_mhz": self.max_clock,
            "slowed_by": None if self.slowed_by is None else list(self.slowed_by),
            "error": self.error,
        }


@dataclass(frozen=True)
class ProcessSample:
    """A process that uses the machine.

    Attributes:
        pid: its number.
        name: "python train.py"; None where it may not be read.
        cores: CPU time per second since the last sample; 1 is a whole core.
        memory: resident, in bytes.
        gpu_memory: bytes on each GPU that it is on, by index; None where the driver does not tell how many.
        computes_on: indices of the GPUs on which it computes, rather than draws.
    """

    pid: int
    name: str | None = None
    cores: float | None = None
    memory: int | None = None
    gpu_memory: Mapping[int, int | None] = field(default_factory=dict)
    computes_on: frozenset[int] = frozenset()

    def document(self) -> dict[str, Any]:
        """For JSON: every name ends in its unit."""
        return {
            "pid": self.pid,
            "name": self.name,
            "cpu_cores": None if self.cores is None else round(self.cores, 3),
            "memory_bytes": self.memory,
            "gpu_memory_bytes": {str(index): held for index, held in self.gpu_memory.items()},
        }


@dataclass(frozen=True)
class Sample:
    """The machine at a moment.

    Attributes:
        time: seconds since 1970.
        processes: those on a GPU, and the heaviest of this user.
        notes: what cannot be read, said once, in the first sample in which it could not.
    """

    time: float
    cpu: CpuSample = CpuSample()
    gpus: tuple[GpuSample, ...] = ()
    processes: tuple[ProcessSample, ...] = ()
    notes: tuple[str, ...] = ()

    def document(self) -> dict[str, Any]:
        """For JSON: every name ends in its unit."""
        return {
            "time": round(self.time, 3),
            "cpu": self.cpu.document(),
            "gpus": [gpu.document() for gpu in self.gpus],
            "processes": [process.document() for process in self.processes],
            "notes": list(self.notes),
        }


@dataclass(frozen=True)
class OnGpu:
    """A process on a GPU: its memory there in bytes, where known, and whether it computes (or only draws)."""

    pid: int
    memory: int | None
    computes: bool


@dataclass
class GpuReading:
    """What a source of GPUs read: the GPUs, who is on which (by index), and in words what it could not."""

    gpus: list[GpuSample] = field(default_factory=list)
    processes: dict[int, tuple[OnGpu, ...]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def _percent(share: float | None) -> float | None:
    return None if share is None else round(100 * share, 1)
