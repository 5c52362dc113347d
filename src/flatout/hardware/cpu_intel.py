"""Intel: microarchitecture from CPUID's family, model and stepping; generation from the name and that.

Models are those of Intel's Software Developer's Manual (volume 4, table 2-1) and of Linux's intel-family.h.
A hypervisor may report another model than the CPU's own: where the model cannot do what the flags say, the
flags and caches decide, or nothing does.
"""

from __future__ import annotations

import re
from collections.abc import Sequence, Set

from flatout.hardware.cpu_facts import Cache

_MODELS = {  # of family 6
    "Core": (0x0F, 0x16),
    "Penryn": (0x17, 0x1D),
    "Nehalem": (0x1A, 0x1E, 0x1F, 0x2E),
    "Westmere": (0x25, 0x2C, 0x2F),
    "Sandy Bridge": (0x2A, 0x2D),
    "Ivy Bridge": (0x3A, 0x3E),
    "Haswell": (0x3C, 0x3F, 0x45, 0x46),
    "Broadwell": (0x3D, 0x47, 0x4F, 0x56),
    "Skylake": (0x4E, 0x5E),
    "Kaby Lake": (0x8E, 0x9E),  # and its successors, told apart by stepping
    "Cannon Lake": (0x66,),
    "Comet Lake": (0xA5, 0xA6),
    "Skylake-SP": (0x55,),  # likewise
    "Ice Lake": (0x7D, 0x7E, 0x9D),
    "Ice Lake-SP": (0x6A, 0x6C),
    "Lakefield": (0x8A,),
    "Tiger Lake": (0x8C, 0x8D),
    "Rocket Lake": (0xA7,),
    "Alder Lake": (0x97, 0x9A),
    "Raptor Lake": (0xB7, 0xBA, 0xBF),
    "Bartlett Lake": (0xD7,),
    "Meteor Lake": (0xAA, 0xAC),
    "Arrow Lake": (0xB5, 0xC5, 0xC6),
    "Lunar Lake": (0xBD,),
    "Panther Lake": (0xCC,),
    "Wildcat Lake": (0xD5,),
    "Sapphire Rapids": (0x8F,),
    "Emerald Rapids": (0xCF,),
    "Granite Rapids": (0xAD, 0xAE),
    # Atoms and chips of E-cores only
    "Bonnell": (0x1C, 0x26),
    "Saltwell": (0x27, 0x35, 0x36),
    "Silvermont": (0x37, 0x4A, 0x4D, 0x5D),
    "Airmont": (0x4C, 0x5A, 0x75),
    "Goldmont": (0x5C, 0x5F),
    "Goldmont Plus": (0x7A,),
    "Tremont": (0x86, 0x96, 0x9C),
    "Gracemont": (0xBE,),
    "Sierra Forest": (0xAF,),
    "Grand Ridge": (0xB6,),
    "Clearwater Forest": (0xDD,),
    "Knights Landing": (0x57,),
    "Knights Mill": (0x85,),
}
_NAMES = {(6, model): name for name, models in _MODELS.items() for model in models} | {
    (18, 0x01): "Nova Lake",
    (18, 0x03): "Nova Lake",
    (19, 0x01): "Diamond Rapids",
}

# (model, first stepping, microarchitecture), where one model number served several.
_BY_STEPPING = (
    (0x55, 0, "Skylake-SP"),
    (0x55, 5, "Cascade Lake"),
    (0x55, 10, "Cooper Lake"),
    (0x8E, 0, "Kaby Lake"),
    (0x8E, 11, "Whiskey Lake"),
    (0x9E, 0, "Kaby Lake"),
    (0x9E, 10, "Coffee Lake"),
)

_WITH_AMX = {"Sapphire Rapids", "Emerald Rapids", "Granite Rapids", "Diamond Rapids"}
_WITH_AVX512 = _WITH_AMX | {
    *("Skylake-SP", "Cascade Lake", "Cooper Lake", "Cannon Lake", "Ice Lake", "Ice Lake-SP"),
    *("Tiger Lake", "Rocket Lake", "Knights Landing", "Knights Mill", "Nova Lake"),
    *("Alder Lake",),  # the first ones, before microcode took it away
}
_WITHOUT_AVX2 = {
    *("Core", "Penryn", "Nehalem", "Westmere", "Sandy Bridge", "Ivy Bridge", "Lakefield"),
    *("Bonnell", "Saltwell", "Silvermont", "Airmont", "Goldmont", "Goldmont Plus", "Tremont"),
}
_SAPPHIRE_L3_BYTES = 120 << 20  # the largest Sapphire Rapids has 112.5 MiB

_XEON_GENERATIONS = {
    "Skylake-SP": "Xeon Scalable 1st Gen",
    "Cascade Lake": "Xeon Scalable 2nd Gen",
    "Cooper Lake": "Xeon Scalable 3rd Gen",
    "Ice Lake-SP": "Xeon Scalable 3rd Gen",
    "Sapphire Rapids": "Xeon Scalable 4th Gen",
    "Emerald Rapids": "Xeon Scalable 5th Gen",
    "Granite Rapids": "Xeon 6 (P-cores)",
    "Sierra Forest": "Xeon 6 (E-cores)",
    "Clearwater Forest": "Xeon 6+ (E-cores)",
}
_ULTRA_SERIES = {"1": "Core Ultra Series 1", "2": "Core Ultra Series 2", "3": "Core Ultra Series 3"}


def microarchitecture(
    family: int | None, model: int | None, stepping: int | None, flags: Set[str], caches: Sequence[Cache]
) -> tuple[str | None, str | None]:
    """(microarchitecture, what it was told from); either is None where it is not known."""
    if family is None or model is None:
        return None, None
    named = _NAMES.get((family, model))
    for of_model, first, name in _BY_STEPPING:
        if family == 6 and model == of_model and stepping is not None and stepping >= first:
            named = name
    told = f"family {family}, model {model}" + (f", stepping {stepping}" if stepping is not None else "")
    instruction = _beyond(named, flags)
    if instruction is None:
        return named, told if named else None
    found, seen = _from_abilities(flags, caches)
    return (
        found,
        f"{seen or instruction}; the reported model {model} is that of {named}, which has no {instruction}",
    )


def generation(name: str, microarchitecture: str | None) -> str | None:
    """How Intel counts: from the name, else from the microarchitecture.

    Example:
        >>> generation("Intel(R) Core(TM) i7-8650U CPU @ 1.90GHz", "Kaby Lake")
        '8th Gen Intel Core'
    """
    plain = name.replace("(R)", "").replace("(TM)", "")
    if "xeon" in plain.lower():
        return (
            None
            if re.search(r"xeon\W+[wed]\d?-", plain, re.I)
            else _XEON_GENERATIONS.get(microarchitecture or "")
        )
    if found := re.search(r"(\d+)th Gen", plain):
        return f"{found[1]}th Gen Intel Core"
    if found := re.search(r"Core Ultra X?\d (\d)\d\d", plain):
        return _ULTRA_SERIES.get(found[1])
    if found := re.search(r"Core [3579] (\d)\d\d", plain):
        return f"Core Series {found[1]}"
    if found := re.search(r"Core i[3579][- ](\d{3,5})", plain):
        return _core_generation(found[1])
    return None


def _core_generation(number: str) -> str:
    """Of a Core i3 to i9: 750 is the 1st generation, 8650 the 8th, 1065 (G7) the 10th, 12900 the 12th."""
    if len(number) == 3:
        count = 1
    elif len(number) == 5 or number[:2] in {"10", "11", "12", "13"}:
        count = int(number[:2])
    else:
        count = int(number[0])
    ending = {1: "st", 2: "nd", 3: "rd"}.get(count, "th")
    return f"{count}{ending} Gen Intel Core"


def _beyond(named: str | None, flags: Set[str]) -> str | None:
    """An instruction set that the flags show and this microarchitecture has not, or None."""
    if named is None:
        return None
    if "amx_tile" in flags and named not in _WITH_AMX:
        return "AMX"
    if "avx512f" in flags and named not in _WITH_AVX512:
        return "AVX-512"
    return "AVX2" if "avx2" in flags and named in _WITHOUT_AVX2 else None


def _from_abilities(flags: Set[str], caches: Sequence[Cache]) -> tuple[str | None, str | None]:
    """The one microarchitecture that has these instructions and caches, with what shows it."""
    if "amx_tile" not in flags:
        return None, None
    sizes = {(cache.level, cache.kind): cache.size_bytes for cache in caches}
    first, last = sizes.get((1, "instruction")), sizes.get((3, "unified"))
    if "amx_fp16" in flags:
        return "Granite Rapids", "AMX with FP16"
    if first == 64 << 10:  # Redwood Cove doubled the instruction cache
        large = f" and {last >> 20} MiB of L3" if last else ""
        return "Granite Rapids", f"AMX, 64 KiB of L1 instruction cache{large}"
    if first == 32 << 10 and last and last > _SAPPHIRE_L3_BYTES:
        return "Emerald Rapids", f"AMX, 32 KiB of L1 instruction cache and {last >> 20} MiB of L3"
    return "Sapphire Rapids or later", "AMX"
