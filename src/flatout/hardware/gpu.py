"""One GPU that is here, as card and torch describe it."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Literal

Backend = Literal["CUDA", "ROCm", "MPS", "XPU"]


@dataclass(frozen=True)
class Link:
    """A PCI Express link.

    Attributes:
        generation: 3, 4, 5; an idle card may lower it to save power.
        lanes: 1 to 16.
    """

    generation: int
    lanes: int


@dataclass(frozen=True)
class Gpu:
    """A GPU. None is what neither card nor torch tells.

    Attributes:
        name: as the driver writes it.
        backend: through what torch uses it: "CUDA", "ROCm", "MPS" or "XPU".
        device: torch's name for it, such as "cuda:0"; None where this torch does not use it.
        architecture: such as "Hopper".
        generation: such as "RTX 40", and what the name says in a sentence in `name_means`.
        name_means: the name decoded.
        capability: CUDA's compute capability, such as (9, 0).
        gfx: ROCm's name of the chip, such as "gfx942".
        multiprocessors: streaming multiprocessors (CUDA), compute units (ROCm), cores (MPS) or execution
            units (XPU).
        clock_mhz: the highest clock under load in MHz, from which the rates are computed.
        clock_is_rated: whether that is the card's rated boost clock; else it is the highest the driver would
            set, which a card seldom holds, and the rates are upper bounds.
        memory_bytes: its memory; of unified memory what torch may use.
        memory_free_bytes: what nothing uses now.
        unified: whether it shares memory with the CPU.
        memory_clock_mhz: as CUDA, ROCm and NVML report it.
        bus_bits: the width of the memory bus.
        bandwidth: bytes a second between chip and memory, computed.
        l2_bytes: of the second-level cache.
        rates: operations a second of dense matrix products by dtype ("float64", "float32", "tf32",
            "bfloat16", "float16", "float8"), computed. A dtype that is missing has no units; {} is unknown.
        power_limit_watts: the limit that holds now.
        power_default_watts: the limit it came with.
        pcie, pcie_max: the link now, and the best that card and slot can both do.
        bus_id, uuid: where it sits, and its number for life.
        driver: version of the driver.
        driver_cuda: the newest CUDA that driver can run, such as "13.0".
    """

    name: str
    backend: Backend
    device: str | None = None
    architecture: str | None = None
    generation: str | None = None
    name_means: str | None = None
    capability: tuple[int, int] | None = None
    gfx: str | None = None
    multiprocessors: int | None = None
    clock_mhz: float | None = None
    clock_is_rated: bool | None = None
    memory_bytes: int | None = None
    memory_free_bytes: int | None = None
    unified: bool | None = None
    memory_clock_mhz: float | None = None
    bus_bits: int | None = None
    bandwidth: float | None = None
    l2_bytes: int | None = None
    rates: dict[str, float] = field(default_factory=dict)
    power_limit_watts: float | None = None
    power_default_watts: float | None = None
    pcie: Link | None = None
    pcie_max: Link | None = None
    bus_id: str | None = None
    uuid: str | None = None
    driver: str | None = None
    driver_cuda: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """For JSON; null is unknown."""
        return asdict(self)
