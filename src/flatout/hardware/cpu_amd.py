"""AMD: microarchitecture and code name from CPUID's family and model; generation from the name and those.

Models are those of AMD's Processor Programming References; each range of 16 is one design.
"""

from __future__ import annotations

import re

# family: (first model, last model, microarchitecture, code name)
_MODELS: dict[int, tuple[tuple[int, int, str, str], ...]] = {
    0x10: ((0x00, 0xFF, "K10", ""),),
    0x12: ((0x00, 0xFF, "K10", "Llano"),),
    0x14: ((0x00, 0xFF, "Bobcat", ""),),
    0x15: (
        (0x00, 0x01, "Bulldozer", ""),
        (0x02, 0x1F, "Piledriver", ""),
        (0x30, 0x3F, "Steamroller", ""),
        (0x60, 0x7F, "Excavator", ""),
    ),
    0x16: ((0x00, 0x0F, "Jaguar", ""), (0x30, 0x3F, "Puma", "")),
    0x17: (
        (0x00, 0x07, "Zen", "Naples"),
        (0x08, 0x0F, "Zen+", "Pinnacle Ridge"),
        (0x10, 0x17, "Zen", "Raven Ridge"),
        (0x18, 0x1F, "Zen+", "Picasso"),
        (0x20, 0x2F, "Zen", "Dali"),
        (0x30, 0x3F, "Zen 2", "Rome"),
        (0x40, 0x4F, "Zen 2", "Oberon"),
        (0x60, 0x67, "Zen 2", "Renoir"),
        (0x68, 0x6F, "Zen 2", "Lucienne"),
        (0x70, 0x7F, "Zen 2", "Matisse"),
        (0x80, 0x8F, "Zen 2", ""),
        (0x90, 0x9F, "Zen 2", "Van Gogh"),
        (0xA0, 0xAF, "Zen 2", "Mendocino"),
    ),
    0x18: ((0x00, 0xFF, "Zen", "Dhyana"),),  # Hygon's, under licence
    0x19: (
        (0x00, 0x07, "Zen 3", "Milan"),
        (0x08, 0x0F, "Zen 3", "Chagall"),
        (0x10, 0x17, "Zen 4", "Genoa"),
        (0x18, 0x1F, "Zen 4", "Storm Peak"),
        (0x20, 0x2F, "Zen 3", "Vermeer"),
        (0x30, 0x3F, "Zen 3", "Trento"),
        (0x40, 0x4F, "Zen 3+", "Rembrandt"),
        (0x50, 0x5F, "Zen 3", "Cezanne"),
        (0x60, 0x6F, "Zen 4", "Raphael"),
        (0x70, 0x7F, "Zen 4", "Phoenix"),
        (0x80, 0x9F, "Zen 4", "MI300"),
        (0xA0, 0xAF, "Zen 4c", "Bergamo"),
    ),
    0x1A: (
        (0x00, 0x07, "Zen 5", "Turin"),
        (0x08, 0x0F, "Zen 5", "Shimada Peak"),
        (0x10, 0x1F, "Zen 5c", "Turin Dense"),
        (0x20, 0x2F, "Zen 5", "Strix Point"),
        (0x30, 0x3F, "Zen 5", ""),
        (0x40, 0x4F, "Zen 5", "Granite Ridge"),
        (0x60, 0x6F, "Zen 5", "Krackan Point"),
        (0x70, 0x7F, "Zen 5", "Strix Halo"),
        (0x50, 0x5F, "Zen 6", ""),
        (0x80, 0xAF, "Zen 6", ""),
        (0xC0, 0xCF, "Zen 6", ""),
    ),
}

_EPYC_GENERATIONS = {
    "Naples": "1st",
    "Rome": "2nd",
    "Milan": "3rd",
    "Trento": "3rd",
    "Genoa": "4th",
    "Bergamo": "4th",  # and Siena, which shares its model
    "Turin": "5th",
    "Turin Dense": "5th",
}
# Chips for desktops that share the model of another.
_THREADRIPPERS = {"Naples": "Whitehaven", "Pinnacle Ridge": "Colfax", "Rome": "Castle Peak"}
_RYZENS = {"Naples": "Summit Ridge"}
_SERIES = (  # in the name, how the series is called
    (r"Ryzen AI Max\+? (?:PRO )?(\d)\d\d", "Ryzen AI Max {}00"),
    (r"Ryzen AI \d (?:HX )?(?:PRO )?(\d)\d\d", "Ryzen AI {}00"),
    (r"Ryzen \d (?:PRO )?(\d)\d{3}", "Ryzen {}000"),
    (r"Ryzen \d (?:PRO )?(\d)\d\d\b", "Ryzen {}00"),
)


def microarchitecture(family: int | None, model: int | None) -> tuple[str | None, str | None]:
    """(microarchitecture, code name); either is None where it is not known.

    Example:
        >>> microarchitecture(26, 68)
        ('Zen 5', 'Granite Ridge')
    """
    for first, last, name, code in _MODELS.get(family or 0, ()):
        if model is not None and first <= model <= last:
            return name, code or None
    return None, None


def generation(name: str, code: str | None) -> str | None:
    """How AMD counts, from the name and the code name.

    Example:
        >>> generation("AMD Ryzen 9 9950X 16-Core Processor", "Granite Ridge")
        'Ryzen 9000 (Granite Ridge)'
    """
    if "EPYC" in name:
        count = _EPYC_GENERATIONS.get(code or "")
        return f"EPYC {count} Gen ({code})" if count else _with_code("EPYC", code)
    if found := re.search(r"Threadripper (?:PRO )?(\d)\d{3}", name):
        return _with_code(f"Ryzen Threadripper {found[1]}000", _THREADRIPPERS.get(code or "", code))
    code = _RYZENS.get(code or "", code)
    for pattern, family in _SERIES:
        if found := re.search(pattern, name, re.IGNORECASE):
            return _with_code(family.format(found[1]), code)
    return code


def _with_code(family: str, code: str | None) -> str:
    return f"{family} ({code})" if code else family
