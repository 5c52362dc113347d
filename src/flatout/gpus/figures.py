"""The figures of a card as people read them; what is unknown says so."""

from __future__ import annotations

from flatout.gpus.card import Card

UNKNOWN = "unknown"
NONE = "none"

_NO_TF32 = ("Pascal", "Volta", "Turing", "Vega 20", "RDNA", "RDNA 2", "RDNA 3", "RDNA 3.5", "CDNA", "CDNA 2")
_NO_FP8 = (*_NO_TF32, "Ampere", "Xe-HPG", "Xe2-HPG")


def amount(value: float | None, unit: str, digits: int = 3) -> str:
    """A figure with its unit, rounded to `digits` digits behind which a maker's figures say nothing.

    >>> amount(1008.0, "GB/s", 4), amount(19.97, "TFLOPS"), amount(None, "W"), amount(2614.9, "TFLOPS")
    ('1,008 GB/s', '20.0 TFLOPS', 'unknown', '2,615 TFLOPS')
    """
    if value is None:
        return UNKNOWN
    if value >= 10 ** (digits - 1) or (digits > 3 and value == int(value)):
        return f"{value:,.0f} {unit}"
    return f"{value:,.{max(0, digits - len(str(int(value))))}f} {unit}"


def memory(card: Card) -> str:
    """Size and type: "24 GB GDDR6X", and "up to 128 GB, unified" where CPU and GPU share it."""
    if card.memory_gb is None:
        return f"{UNKNOWN}, {card.memory_type}"
    if card.unified:
        return f"up to {card.memory_gb:g} GB, unified"
    return f"{card.memory_gb:g} GB {card.memory_type}"


def price(card: Card) -> str:
    """The launch price in dollars."""
    return UNKNOWN if card.price_usd is None else f"${card.price_usd:,.0f}"


def rows(card: Card) -> dict[str, str]:
    """Every figure by its name, in the order of the table.

    >>> from flatout.gpus import find
    >>> rows(find("RTX 3090 Ti"))["bandwidth"]
    '1,008 GB/s'
    """
    return {
        "generation": card.generation,
        "architecture": card.architecture,
        "tier": " ".join(filter(None, (card.tier, card.suffix))) or UNKNOWN,
        "released": card.release,
        "memory": memory(card),
        "bus": amount(card.bus_bits, "bit", 4),
        "bandwidth": amount(card.bandwidth_gbs, "GB/s", 4),
        "FP32": amount(card.fp32_tflops, "TFLOPS"),
        "FP16 (sums in FP32)": amount(card.fp16_tflops, "TFLOPS"),
        "TF32": NONE if card.architecture in _NO_TF32 else amount(card.tf32_tflops, "TFLOPS"),
        "FP8": NONE if card.architecture in _NO_FP8 else amount(card.fp8_tflops, "TFLOPS"),
        "INT8": amount(card.int8_tops, "TOPS"),
        "cores": UNKNOWN if card.cores is None else f"{card.cores:,}",
        "boost clock": amount(card.boost_mhz, "MHz", 4),
        "power": amount(card.power_w, "W", 1),
        "launch price": price(card),
        "compute capability": card.compute_capability or (NONE if card.vendor != "NVIDIA" else UNKNOWN),
    }
