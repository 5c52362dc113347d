"""Numbers with their units, for people. What is unknown is "unknown"."""

from __future__ import annotations

from typing import Final

UNKNOWN: Final = "unknown"

_PREFIXES: Final = ((1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))


def scaled(value: float | None, unit: str) -> str:
    """A number with the prefix that suits its size, to three digits.

    >>> scaled(82.6e12, "FLOP/s"), scaled(999.9e9, "B/s"), scaled(None, "B/s")
    ('82.6 TFLOP/s', '1 TB/s', 'unknown')
    """
    if value is None:
        return UNKNOWN
    rounded = float(f"{value:.3g}")
    for size, prefix in _PREFIXES:
        if rounded >= size:
            return f"{rounded / size:.3g} {prefix}{unit}"
    return f"{rounded:.3g} {unit}"


def duration(seconds: float | None) -> str:
    """Seconds in the unit that suits their size.

    >>> duration(6.44e-7), duration(8.1e-6), duration(0.25)
    ('644 ns', '8.1 µs', '250 ms')
    """
    if seconds is None:
        return UNKNOWN
    rounded = float(f"{seconds:.3g}")
    for size, unit in ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs")):
        if rounded >= size:
            return f"{rounded / size:.3g} {unit}"
    return f"{rounded / 1e-9:.3g} ns"


def mebibytes(value: int | None) -> str:
    """Bytes of memory.

    >>> mebibytes(25_386_352_640), mebibytes(72 << 20), mebibytes(None)
    ('23.6 GiB', '72 MiB', 'unknown')
    """
    if value is None:
        return UNKNOWN
    if value >= 1 << 30:
        return f"{value / (1 << 30):.3g} GiB"
    return f"{value / (1 << 20):.3g} MiB" if value >= 1 << 20 else f"{value / (1 << 10):.3g} KiB"


def per_cent(share: float) -> str:
    """A share of a paper figure.

    >>> per_cent(0.9351), per_cent(0.0012)
    ('94 %', '0.1 %')
    """
    return f"{100 * share:.0f} %" if share >= 0.1 else f"{100 * share:.1g} %"
