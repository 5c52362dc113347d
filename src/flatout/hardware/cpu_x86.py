"""Who made an x86 CPU, which microarchitecture it has and how its maker counts it."""

from __future__ import annotations

import re
from collections.abc import Sequence, Set
from dataclasses import dataclass

from flatout.hardware import cpu_amd, cpu_intel
from flatout.hardware.cpu_facts import Cache

_VENDORS = {
    "GenuineIntel": "Intel",
    "AuthenticAMD": "AMD",
    "HygonGenuine": "Hygon",
    "CentaurHauls": "VIA",
    "  Shanghai  ": "Zhaoxin",
}


@dataclass(frozen=True)
class Identity:
    """What CPUID's numbers mean."""

    vendor: str | None = None
    microarchitecture: str | None = None
    generation: str | None = None
    evidence: str | None = None


def identify(
    vendor: str | None,
    name: str | None,
    family: int | None,
    model: int | None,
    stepping: int | None,
    flags: Set[str],
    caches: Sequence[Cache],
) -> Identity:
    """What these numbers mean; `vendor` as CPUID spells it ("GenuineIntel")."""
    maker = _VENDORS.get(vendor or "", vendor)
    if maker == "Intel":
        found, evidence = cpu_intel.microarchitecture(family, model, stepping, flags, caches)
        return Identity(maker, found, cpu_intel.generation(name or "", found), evidence)
    if maker in {"AMD", "Hygon"}:
        found, code = cpu_amd.microarchitecture(family, model)
        evidence = f"family {family}, model {model}" if found else None
        return Identity(maker, found, cpu_amd.generation(name or "", code) if found else None, evidence)
    return Identity(maker)


def clock_in(name: str | None) -> float | None:
    """The base clock in MHz that Intel's older names end with.

    Example:
        >>> clock_in("Intel(R) Xeon(R) CPU @ 2.20GHz")
        2200.0
    """
    found = re.search(r"@\s*([\d.]+)\s*([GM])Hz", name or "")
    return round(float(found[1]) * (1000 if found[2] == "G" else 1), 3) if found else None
