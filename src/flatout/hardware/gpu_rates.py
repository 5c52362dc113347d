"""What a GPU can do at most, from its clocks and what its multiprocessors do in a clock.

Rates are those of matrix products: dense, and summed in float32 where the inputs are narrower. Sources, by
architecture: NVIDIA's white papers on P100, V100, Turing, A100, GA102, Ada, H100 and RTX Blackwell, the CUDA
programming guide (arithmetic throughput by compute capability), and AMD's on CDNA, CDNA 2, CDNA 3, CDNA 4 and
RDNA. What is not in the tables has unknown rates; a dtype that is not in a row has no units.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

Capability = tuple[int, int]

_ARCHITECTURES: Final[dict[int | Capability, str]] = {
    5: "Maxwell", 6: "Pascal", 7: "Volta", (7, 5): "Turing", 8: "Ampere", (8, 9): "Ada Lovelace",
    9: "Hopper", 10: "Blackwell", 11: "Blackwell", 12: "Blackwell",
}  # fmt: skip
_AMD_ARCHITECTURES: Final = (
    ("gfx906", "GCN 5 (Vega 20)"), ("gfx900", "GCN 5 (Vega)"), ("gfx908", "CDNA"), ("gfx90a", "CDNA 2"),
    ("gfx94", "CDNA 3"), ("gfx95", "CDNA 4"), ("gfx101", "RDNA"), ("gfx103", "RDNA 2"), ("gfx110", "RDNA 3"),
    ("gfx115", "RDNA 3.5"), ("gfx12", "RDNA 4"),
)  # fmt: skip

# Multiply-adds a clock of one multiprocessor.
_UNITS: Final[dict[Capability, dict[str, int]]] = {
    (5, 0): {"float64": 4, "float32": 128},
    (5, 2): {"float64": 4, "float32": 128},
    (6, 0): {"float64": 32, "float32": 64, "float16": 128},
    (6, 1): {"float64": 4, "float32": 128, "float16": 2},
    (7, 0): {"float64": 32, "float32": 64, "float16": 512},
    (7, 5): {"float64": 2, "float32": 64, "float16": 512},
    (8, 0): {"float64": 64, "float32": 64, "tf32": 512, "bfloat16": 1024, "float16": 1024},
    (8, 6): {"float64": 2, "float32": 128, "tf32": 256, "bfloat16": 512, "float16": 512},
    (8, 7): {"float64": 2, "float32": 128, "tf32": 512, "bfloat16": 1024, "float16": 1024},
    (8, 9): {"float64": 2, "float32": 128, "tf32": 256, "bfloat16": 512, "float16": 512, "float8": 1024},
    (9, 0): {"float64": 128, "float32": 128, "tf32": 1024, "bfloat16": 2048, "float16": 2048, "float8": 4096},
    (10, 0): {"float64": 64, "float32": 128, "tf32": 2048, "bfloat16": 4096, "float16": 4096, "float8": 8192},
    (10, 3): {"float64": 2, "float32": 128, "tf32": 2048, "bfloat16": 4096, "float16": 4096, "float8": 8192},
    (12, 0): {"float64": 2, "float32": 128, "tf32": 256, "bfloat16": 512, "float16": 512, "float8": 1024},
}
# Of one compute unit; of a pair of them (what torch counts there) from RDNA on.
_AMD_UNITS: Final[dict[str, dict[str, int]]] = {
    "gfx906": {"float64": 32, "float32": 64, "float16": 128},
    "gfx908": {"float64": 32, "float32": 128, "bfloat16": 256, "float16": 512},
    "gfx90a": {"float64": 128, "float32": 128, "bfloat16": 512, "float16": 512},
    "gfx942": {
        "float64": 128, "float32": 128, "tf32": 512, "bfloat16": 1024, "float16": 1024, "float8": 2048,
    },
    "gfx950": {"float64": 64, "float32": 128, "bfloat16": 2048, "float16": 2048, "float8": 4096},
    "gfx1030": {"float32": 128, "float16": 256},
    "gfx1100": {"float32": 256, "bfloat16": 512, "float16": 512},
    "gfx1201": {"float32": 256, "bfloat16": 1024, "float16": 1024, "float8": 2048},
}  # fmt: skip
# GeForce cards have the units of the workstation cards, which sum in float32 at half the rate.
_HALVED_ON_GEFORCE: Final = {(7, 5), (8, 6), (8, 9), (12, 0)}
_ON_TENSOR_CORES: Final = {"tf32", "bfloat16", "float16", "float8"}
# Chips of compute capability 7.5 that have no tensor cores (TU116, TU117); they do two float16 per float32.
_NO_TENSOR_CORES: Final = re.compile(
    r"GTX 16\d\d|\bMX\d{3}|Quadro T\d{3,4}\b|\bT(400|500|550|600|1000|1200)\b", re.IGNORECASE
)
# The clock the maker's tensor rates are for, as a share of the highest: 1830 of 1980 MHz on the H100 SXM and
# 1620 of 1755 on the PCIe card (H100 white paper). On the NVL and the B200 what their data sheets come to.
_TENSOR_CLOCK: Final[dict[Capability, float]] = {(9, 0): 0.924, (10, 0): 0.945, (10, 3): 0.945}
_TENSOR_CLOCK_NVL: Final = 0.866
# Bits a pin moves in a clock as it is reported: two, but these AMD memories run at a multiple of that.
_PER_CLOCK: Final[dict[str, int]] = {
    "gfx900": 2, "gfx906": 2, "gfx908": 2, "gfx90a": 2, "gfx942": 4,
    "gfx1030": 16, "gfx1031": 16, "gfx1032": 16, "gfx1100": 16, "gfx1101": 16, "gfx1102": 16,
    "gfx1200": 16, "gfx1201": 16,
}  # fmt: skip


@dataclass(frozen=True)
class Chip:
    """What decides how much a chip does in a clock.

    Attributes:
        name: of the card.
        capability: CUDA's compute capability; None on others.
        gfx: ROCm's name of the chip, such as "gfx942"; None on others.
    """

    name: str
    capability: Capability | None = None
    gfx: str | None = None


def architecture(chip: Chip) -> str | None:
    """The name of the architecture.

    >>> architecture(Chip("", (8, 9))), architecture(Chip("", (8, 6))), architecture(Chip("", gfx="gfx942"))
    ('Ada Lovelace', 'Ampere', 'CDNA 3')
    """
    if chip.gfx:
        return next((name for prefix, name in _AMD_ARCHITECTURES if chip.gfx.startswith(prefix)), None)
    if chip.capability is None:
        return None
    return _ARCHITECTURES.get(chip.capability) or _ARCHITECTURES.get(chip.capability[0])


def units(chip: Chip) -> dict[str, int]:
    """Multiply-adds that one multiprocessor does in a clock, by dtype; {} where unknown.

    >>> units(Chip("NVIDIA RTX A6000", (8, 6)))["bfloat16"]
    512
    >>> units(Chip("NVIDIA GeForce RTX 3090", (8, 6)))["bfloat16"]
    256
    >>> units(Chip("NVIDIA GeForce GTX 1650", (7, 5)))
    {'float64': 2, 'float32': 64, 'float16': 128}
    """
    if chip.gfx:
        return dict(_AMD_UNITS.get(_family(chip.gfx), {}))
    found = dict(_UNITS.get(chip.capability or (0, 0), {}))
    if chip.capability == (7, 5) and _NO_TENSOR_CORES.search(chip.name):
        return found | {"float16": 2 * found["float32"]}
    if chip.capability in _HALVED_ON_GEFORCE and "geforce" in chip.name.lower():
        return {dtype: n // 2 if dtype in _ON_TENSOR_CORES else n for dtype, n in found.items()}
    return found


def rates(chip: Chip, multiprocessors: int | None, clock_mhz: float | None) -> dict[str, float]:
    """Operations a second at most, by dtype; {} where it cannot be known.

    Args:
        chip: which.
        multiprocessors: how many it has.
        clock_mhz: their highest clock under load, in MHz.

    >>> round(rates(Chip("NVIDIA GeForce RTX 4090", (8, 9)), 128, 2520)["float32"] / 1e12, 1)
    82.6
    """
    if not multiprocessors or not clock_mhz:
        return {}
    clock = 1e6 * clock_mhz
    return {
        dtype: 2.0 * n * multiprocessors * clock * (_tensor_clock(chip) if dtype in _ON_TENSOR_CORES else 1.0)
        for dtype, n in units(chip).items()
    }


def cores_per_multiprocessor(chip: Chip) -> int | None:
    """CUDA cores, which are the units for float32.

    >>> cores_per_multiprocessor(Chip("", (8, 0)))
    64
    """
    return units(chip).get("float32")


def bandwidth(chip: Chip, memory_clock_mhz: float | None, bus_bits: int | None) -> float | None:
    """Bytes a second between the chip and its memory at most.

    Args:
        chip: which.
        memory_clock_mhz: as CUDA, ROCm and NVML report it, in MHz.
        bus_bits: the width of the bus.

    >>> bandwidth(Chip("NVIDIA GeForce RTX 4090", (8, 9)), 10501, 384) / 1e9
    1008.096
    """
    per_clock = _PER_CLOCK.get(chip.gfx) if chip.gfx else 2 if chip.capability else None
    if not memory_clock_mhz or not bus_bits or per_clock is None:
        return None
    return per_clock * 1e6 * memory_clock_mhz * bus_bits / 8


def _family(gfx: str) -> str:
    """The chip whose compute units it has; an integrated one (gfx1103, gfx1151) is none of them.

    >>> _family("gfx1032"), _family("gfx1151")
    ('gfx1030', 'gfx1151')
    """
    families = {"gfx103[0-4]": "gfx1030", "gfx110[0-2]": "gfx1100", "gfx120[01]": "gfx1201"}
    return next((family for pattern, family in families.items() if re.fullmatch(pattern, gfx)), gfx)


def _tensor_clock(chip: Chip) -> float:
    if chip.capability is None:
        return 1.0
    if chip.capability == (9, 0) and "NVL" in chip.name:
        return _TENSOR_CLOCK_NVL
    return _TENSOR_CLOCK.get(chip.capability, 1.0)
