"""What a CPU's instructions are called, from the flags its system lists (in the words of /proc/cpuinfo).

The levels of x86-64 are those of its psABI: v2 is Nehalem, v3 Haswell, v4 Skylake with AVX-512. The
levels of ARM are told from instructions that each version made mandatory and user code can see.
"""

from __future__ import annotations

from collections.abc import Set

_X86_LEVELS = {
    "x86-64-v2": {"cx16", "lahf_lm", "popcnt", "pni", "sse4_1", "sse4_2", "ssse3"},
    "x86-64-v3": {"avx", "avx2", "bmi1", "bmi2", "f16c", "fma", "abm", "movbe", "xsave"},
    "x86-64-v4": {"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"},
}

_ARM_LEVELS = {
    "armv8.1-a": {"atomics", "asimdrdm"},
    "armv8.2-a": {"dcpop"},
    "armv8.3-a": {"jscvt", "fcma", "lrcpc"},
    "armv8.4-a": {"uscat", "ilrcpc", "flagm"},
    "armv8.5-a": {"sb", "flagm2", "frint"},
    "armv8.6-a": {"i8mm", "bf16", "bti"},
}

_X86_VECTORS = (  # flag, name, bits
    ("sse4_2", "SSE4.2", 128),
    ("avx", "AVX", 256),
    ("avx2", "AVX2", 256),
    ("fma", "FMA", 256),
    ("avx_vnni", "AVX-VNNI", 256),
    ("avx512f", "AVX-512", 512),
    ("avx512_vnni", "AVX-512 VNNI", 512),
    ("avx512_bf16", "AVX-512 BF16", 512),
    ("avx512_fp16", "AVX-512 FP16", 512),
    ("amx_tile", "AMX", None),
    ("amx_bf16", "AMX BF16", None),
    ("amx_int8", "AMX INT8", None),
    ("amx_fp16", "AMX FP16", None),
)

_ARM_VECTORS = (
    ("asimd", "NEON", 128),
    ("asimdhp", "NEON FP16", 128),
    ("bf16", "BF16", None),
    ("i8mm", "I8MM", None),
    ("sve", "SVE", None),  # its width is the machine's own
    ("sve2", "SVE2", None),
    ("sme", "SME", None),
    ("sme2", "SME2", None),
)


def isa_level(flags: Set[str]) -> str | None:
    """The level of x86-64 or ARM that the flags reach; None without flags of either.

    Example:
        >>> isa_level({"fp", "asimd", "atomics", "asimdrdm"})
        'armv8.1-a'
    """
    if flags & {"lm", "sse2"}:
        return _highest("x86-64", _X86_LEVELS, flags)
    if "asimd" not in flags:
        return None
    level = _highest("armv8-a", _ARM_LEVELS, flags)
    # Version 9 is 8.5 with SVE2. Apple's M4 has SME and SVE2's instructions only within it.
    return "armv9-a" if "sve2" in flags and level in {"armv8.5-a", "armv8.6-a"} else level


def vectors(flags: Set[str]) -> tuple[str, ...]:
    """The names of the instruction sets for vectors and matrices, the narrowest first."""
    return tuple(name for flag, name, _ in (*_X86_VECTORS, *_ARM_VECTORS) if flag in flags)


def vector_bits(flags: Set[str], sve_bits: int | None = None) -> int | None:
    """The width of the widest vector registers. `sve_bits`: of SVE's, where the system says it."""
    if "sve" in flags:
        return sve_bits
    widths = [bits for flag, _, bits in (*_X86_VECTORS, *_ARM_VECTORS) if flag in flags and bits]
    return max(widths, default=128 if flags & {"sse2", "lm"} else None)


def _highest(lowest: str, levels: dict[str, set[str]], flags: Set[str]) -> str:
    reached = lowest
    for level, needed in levels.items():
        if not needed <= flags:
            break
        reached = level
    return reached
