"""ARM: microarchitecture from the implementer and part in each core's MIDR register; Apple by name too.

Part numbers are those of the makers' Technical Reference Manuals and of Linux's cputype.h; Apple's families
on macOS are those of Apple's mach/machine.h.
"""

from __future__ import annotations

import re

_MAKERS = {
    0x41: "Arm",
    0x42: "Broadcom",
    0x43: "Cavium",
    0x46: "Fujitsu",
    0x48: "HiSilicon",
    0x4E: "NVIDIA",
    0x50: "Applied Micro",
    0x51: "Qualcomm",
    0x53: "Samsung",
    0x61: "Apple",
    0x6D: "Microsoft",
    0xC0: "Ampere",
}

_ARM_PARTS = {
    0xD03: "Cortex-A53",
    0xD04: "Cortex-A35",
    0xD05: "Cortex-A55",
    0xD07: "Cortex-A57",
    0xD08: "Cortex-A72",
    0xD09: "Cortex-A73",
    0xD0A: "Cortex-A75",
    0xD0B: "Cortex-A76",
    0xD0C: "Neoverse N1",
    0xD0D: "Cortex-A77",
    0xD0E: "Cortex-A76AE",
    0xD40: "Neoverse V1",
    0xD41: "Cortex-A78",
    0xD42: "Cortex-A78AE",
    0xD44: "Cortex-X1",
    0xD46: "Cortex-A510",
    0xD47: "Cortex-A710",
    0xD48: "Cortex-X2",
    0xD49: "Neoverse N2",
    0xD4A: "Neoverse E1",
    0xD4B: "Cortex-A78C",
    0xD4C: "Cortex-X1C",
    0xD4D: "Cortex-A715",
    0xD4E: "Cortex-X3",
    0xD4F: "Neoverse V2",
    0xD80: "Cortex-A520",
    0xD81: "Cortex-A720",
    0xD82: "Cortex-X4",
    0xD83: "Neoverse V3AE",
    0xD84: "Neoverse V3",
    0xD85: "Cortex-X925",
    0xD87: "Cortex-A725",
    0xD8E: "Neoverse N3",
}

_OTHER_PARTS = {
    (0x43, 0x0AF): "ThunderX2",
    (0x46, 0x001): "A64FX",
    (0x48, 0xD01): "TaiShan V110",
    (0x48, 0xD02): "TaiShan V120",
    (0x4E, 0x003): "Denver 2",
    (0x4E, 0x004): "Carmel",
    (0x51, 0x001): "Oryon",
    (0xC0, 0xAC3): "Ampere-1",
    (0xC0, 0xAC4): "Ampere-1a",
} | {
    (0x61, part): chip
    for chip, parts in {
        "Apple M1": (0x022, 0x023, 0x024, 0x025, 0x028, 0x029),
        "Apple M2": (0x032, 0x033, 0x034, 0x035, 0x038, 0x039),
        "Apple M3": (0x042, 0x043, 0x044, 0x045, 0x048, 0x049),
    }.items()
    for part in parts
}

_APPLE_FAMILIES = {
    0x1B588BB3: "Apple M1",
    0xDA33D83D: "Apple M2",
    0xFA33415E: "Apple M3",
    0x5F4DEA93: "Apple M3",
    0x72015832: "Apple M3",
    0x6F5129AC: "Apple M4",
    0x17D5B93A: "Apple M4",
    0x1D5A87E8: "Apple M5",
    0xF76C5B1A: "Apple M5",
}

_CLOUD_CHIPS = {  # (microarchitecture, a word in the firmware's maker): what the cloud calls the chip
    ("Cortex-A72", "Amazon"): "AWS Graviton",
    ("Neoverse N1", "Amazon"): "AWS Graviton2",
    ("Neoverse V1", "Amazon"): "AWS Graviton3",
    ("Neoverse V2", "Amazon"): "AWS Graviton4",
    ("Neoverse V3", "Amazon"): "AWS Graviton5",
    ("Neoverse N1", "Google"): "Ampere Altra",
    ("Neoverse V2", "Google"): "Google Axion",
    ("Neoverse N3", "Google"): "Google Axion",
    ("Neoverse N1", "Microsoft"): "Ampere Altra",
    ("Neoverse N2", "Microsoft"): "Azure Cobalt 100",
    ("Neoverse V2", "NVIDIA"): "NVIDIA Grace",
}
_CHIPS = {"Ampere-1": "AmpereOne", "Ampere-1a": "AmpereOne", "TaiShan V110": "Kunpeng 920"}


def maker(implementer: int | None) -> str | None:
    """Who designed the core."""
    return _MAKERS.get(implementer or 0)


def core(implementer: int | None, part: int | None) -> str | None:
    """The microarchitecture of one core.

    Example:
        >>> core(0x41, 0xD40)
        'Neoverse V1'
    """
    if implementer is None or part is None:
        return None
    return _ARM_PARTS.get(part) if implementer == 0x41 else _OTHER_PARTS.get((implementer, part))


def chip(microarchitecture: str | None, firmware: str | None) -> str | None:
    """What the chip is called that a maker or cloud built of these cores, where the firmware tells."""
    for (cores, word), name in _CLOUD_CHIPS.items():
        if cores == microarchitecture and word in (firmware or ""):
            return name
    return _CHIPS.get(microarchitecture or "")


def apple(name: str | None, family: int | None) -> tuple[str | None, str | None]:
    """(microarchitecture, what it was told from) of a Mac; `family` is macOS's hw.cpufamily."""
    if found := re.match(r"Apple M\d+", name or ""):
        return found[0], "its name"
    # In a virtual machine and under Rosetta the name says nothing.
    found_family = _APPLE_FAMILIES.get((family or 0) & 0xFFFFFFFF)
    return found_family, f"hw.cpufamily {(family or 0) & 0xFFFFFFFF:#x}" if found_family else None
