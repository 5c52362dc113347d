"""A CPU as macOS describes it, in what `sysctl` prints."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from flatout.hardware import cpu_arm
from flatout.hardware.cpu_facts import Cache, Cpu
from flatout.hardware.cpu_x86 import Identity, clock_in, identify
from flatout.hardware.instruction_sets import isa_level, vector_bits, vectors
from flatout.hardware.machine import Machine, count, whole

# What macOS calls otherwise than /proc/cpuinfo, as CPUs of Apple and Intel have it.
_FEATURES = {
    "AdvSIMD": "asimd",
    "FEAT_BF16": "bf16",
    "FEAT_BTI": "bti",
    "FEAT_DPB": "dcpop",
    "FEAT_FCMA": "fcma",
    "FEAT_FP16": "asimdhp",
    "FEAT_FRINTTS": "frint",
    "FEAT_FlagM": "flagm",
    "FEAT_FlagM2": "flagm2",
    "FEAT_I8MM": "i8mm",
    "FEAT_JSCVT": "jscvt",
    "FEAT_LRCPC": "lrcpc",
    "FEAT_LRCPC2": "ilrcpc",
    "FEAT_LSE": "atomics",
    "FEAT_LSE2": "uscat",
    "FEAT_RDM": "asimdrdm",
    "FEAT_SB": "sb",
    "FEAT_SME": "sme",
    "FEAT_SME2": "sme2",
}
_INTEL_FLAGS = {
    "avx1.0": "avx",
    "em64t": "lm",
    "lahf": "lahf_lm",
    "lzcnt": "abm",
    "sse3": "pni",
    "sse4.1": "sse4_1",
    "sse4.2": "sse4_2",
}
_CACHES = ((1, "data", "l1dcachesize"), (1, "instruction", "l1icachesize"), (2, "unified", "l2cachesize"))

Answers = Mapping[str, str]


def macos_cpu(machine: Machine) -> Cpu:
    """The CPU of a Mac."""
    said = dict(_lines(machine.read("sysctl") or ""))
    name = said.get("machdep.cpu.brand_string")
    flags = frozenset(_flags(said))
    apple = "hw.optional.arm64" in said or (name or "").startswith(("Apple", "VirtualApple"))
    caches = tuple(_caches(said))
    performance, efficiency = _core_kinds(said)
    guest = whole(said.get("kern.hv_vmm_present"))
    base = count(said.get("hw.cpufrequency"))
    identity = _apple(said, name) if apple else _intel(said, name, flags, caches)
    return Cpu(
        name=name,
        vendor=identity.vendor,
        microarchitecture=identity.microarchitecture,
        generation=identity.generation,
        evidence=identity.evidence,
        family=whole(said.get("machdep.cpu.family")),
        model=whole(said.get("machdep.cpu.model")),
        stepping=whole(said.get("machdep.cpu.stepping")),
        isa_level=isa_level(flags),
        physical_cores=_first(said, "hw.physicalcpu", "machdep.cpu.core_count"),
        performance_cores=performance,
        efficiency_cores=efficiency,
        threads=_first(said, "hw.logicalcpu", "hw.ncpu", "machdep.cpu.thread_count"),
        caches=caches,
        vectors=vectors(flags),
        vector_bits=vector_bits(flags),
        base_mhz=None if apple else base / 1e6 if base else clock_in(name),
        memory_bytes=_first(said, "hw.memsize"),
        virtual=None if guest is None else bool(guest),
        hypervisor="Apple Virtualization" if guest and apple else None,
    )


def _lines(text: str) -> Iterator[tuple[str, str]]:
    for line in text.splitlines():
        name, colon, value = line.partition(":")
        if colon:
            yield name.strip(), value.strip()


def _first(said: Answers, *names: str) -> int | None:
    """The first of these numbers that is known."""
    return next((number for name in names if (number := count(said.get(name)))), None)


def _flags(said: Answers) -> Iterator[str]:
    """The flags in the words of /proc/cpuinfo; under Rosetta those of the Intel CPU that it plays."""
    for name in ("features", "leaf7_features", "extfeatures"):
        for flag in said.get(f"machdep.cpu.{name}", "").lower().split():
            yield _INTEL_FLAGS.get(flag, flag)
    if "machdep.cpu.features" in said:
        return
    for name, value in said.items():
        if value == "1" and name.startswith("hw.optional."):
            yield _FEATURES.get(name.rpartition(".")[2], "")
    if said.get("hw.optional.neon") == "1" or said.get("hw.optional.arm64") == "1":
        yield "asimd"
    if said.get("hw.optional.armv8_1_atomics") == "1":
        yield "atomics"


def _apple(said: Answers, name: str | None) -> Identity:
    found, evidence = cpu_arm.apple(name, whole(said.get("hw.cpufamily")))
    if "machdep.cpu.features" in said and evidence:
        evidence += "; Rosetta translates this process and shows it an Intel CPU's instructions"
    return Identity("Apple", found, None, evidence)


def _intel(said: Answers, name: str | None, flags: frozenset[str], caches: tuple[Cache, ...]) -> Identity:
    family, model, stepping = [
        whole(said.get(f"machdep.cpu.{key}")) for key in ("family", "model", "stepping")
    ]
    return identify(said.get("machdep.cpu.vendor"), name, family, model, stepping, flags, caches)


def _core_kinds(said: Answers) -> tuple[int | None, int | None]:
    """(performance, efficiency) cores; level 0 is the fastest."""
    if (_first(said, "hw.nperflevels") or 2) < 2:
        return None, None
    levels = (_first(said, f"hw.perflevel{level}.physicalcpu") for level in (0, 1))
    fast, slow = levels
    return (fast, slow) if fast and slow else (None, None)


def _caches(said: Answers) -> Iterator[Cache]:
    levels = [f"hw.perflevel{level}" for level in (0, 1) if f"hw.perflevel{level}.physicalcpu" in said]
    for level, kind, key in _CACHES:
        for prefix in levels or ["hw"]:
            size = _first(said, f"{prefix}.{key}")
            cores = _first(said, f"{prefix}.physicalcpu")
            sharing = _first(said, f"{prefix}.cpusperl2") if level == 2 else 1
            if size and cores:
                yield Cache(level, kind, size, -(-cores // (sharing or 1)))
    last, packages = _first(said, "hw.l3cachesize"), _first(said, "hw.packages")
    if last:
        yield Cache(3, "unified", last, packages or 1)
