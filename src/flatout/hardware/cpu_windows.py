"""A CPU as Windows describes it: registry, IsProcessorFeaturePresent, GetLogicalProcessorInformationEx."""

from __future__ import annotations

import re
import struct
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from flatout.hardware.cpu_facts import Cache, Cpu, Limits
from flatout.hardware.cpu_x86 import Identity, clock_in, identify
from flatout.hardware.hypervisor import named_by_firmware
from flatout.hardware.instruction_sets import isa_level, vector_bits, vectors
from flatout.hardware.machine import Machine

_REGISTRY = r"registry:HARDWARE\DESCRIPTION\System"
_CORE, _NUMA_NODE, _CACHE, _NUMA_NODE_EX = 0, 1, 2, 6  # LOGICAL_PROCESSOR_RELATIONSHIP
_CACHE_KINDS = {0: "unified", 1: "instruction", 2: "data"}  # PROCESSOR_CACHE_TYPE

# Windows tells few features, by the numbers of winnt.h. The rest of a level of x86-64 has come with AVX2 and
# with AVX-512 in every CPU but the Knights (Xeon Phi).
_FEATURES = {
    10: {"lm", "sse2"},
    13: {"pni"},
    36: {"ssse3"},
    37: {"sse4_1"},
    38: {"sse4_2", "cx16", "lahf_lm", "popcnt"},
    39: {"avx", "xsave"},
    40: {"avx2", "bmi1", "bmi2", "f16c", "fma", "abm", "movbe"},
    41: {"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"},
}
_ARM_FEATURES = {
    29: {"asimd"},
    34: {"atomics", "asimdrdm"},
    43: {"asimddp"},
    44: {"jscvt"},
    45: {"lrcpc"},
    46: {"sve"},
    47: {"sve2"},
}


@dataclass(frozen=True)
class _Layout:
    """What GetLogicalProcessorInformationEx says."""

    core_classes: tuple[int, ...]  # the efficiency class of each core: a higher one is faster
    threads: int
    caches: tuple[Cache, ...]
    nodes: int


def windows_cpu(machine: Machine) -> Cpu:
    """The CPU of a Windows machine."""
    name = _registered(machine, "ProcessorNameString")
    identifier = _registered(machine, "Identifier") or ""
    on_arm = identifier.startswith("ARM")
    flags = _flags(machine, on_arm)
    layout = _layout(machine.read("processors"))
    family, model, stepping = [
        int(found[1]) if (found := _number(word, identifier)) else None for word in _NUMBERS
    ]
    vendor = _registered(machine, "VendorIdentifier")
    if on_arm:
        identity = Identity(vendor, "Oryon" if "Snapdragon(R) X" in (name or "") else None, None, None)
    else:
        identity = identify(vendor, name, family, model, stepping, flags, layout.caches)
    if (identity.microarchitecture or "").startswith("Knights"):
        flags -= {"avx512bw", "avx512dq", "avx512vl"}
    maker, product = (_text(machine, rf"BIOS\{key}") for key in ("SystemManufacturer", "SystemProductName"))
    hypervisor = named_by_firmware(maker, product)
    clock = machine.count(rf"{_REGISTRY}\CentralProcessor\0\~MHz")
    fast, slow = _core_kinds(layout.core_classes)
    return Cpu(
        name=name,
        vendor=identity.vendor,
        microarchitecture=identity.microarchitecture,
        generation=identity.generation,
        evidence=identity.evidence,
        family=family,
        model=model,
        stepping=stepping,
        isa_level=isa_level(flags),
        physical_cores=len(layout.core_classes) or None,
        performance_cores=fast,
        efficiency_cores=slow,
        threads=layout.threads or None,
        caches=layout.caches,
        vectors=vectors(flags),
        vector_bits=vector_bits(flags),
        base_mhz=float(clock) if clock else clock_in(name),
        memory_bytes=machine.count("memory"),
        numa_nodes=layout.nodes or None,
        virtual=hypervisor is not None if maker or product else None,
        hypervisor=hypervisor,
        limits=Limits(affinity=machine.count("affinity")),
    )


_NUMBERS = ("Family", "Model", "Stepping")


def _number(word: str, identifier: str) -> re.Match[str] | None:
    return re.search(rf"\b{word} (\d+)", identifier)


def _registered(machine: Machine, value: str) -> str | None:
    return _text(machine, rf"CentralProcessor\0\{value}")


def _text(machine: Machine, path: str) -> str | None:
    return (machine.read(rf"{_REGISTRY}\{path}") or "").strip() or None


def _flags(machine: Machine, on_arm: bool) -> frozenset[str]:
    table = _ARM_FEATURES if on_arm else _FEATURES
    found = (flags for number, flags in table.items() if machine.read(f"feature:{number}") == "1")
    return frozenset().union(*found)


def _core_kinds(classes: tuple[int, ...]) -> tuple[int | None, int | None]:
    fastest = max(classes, default=0)
    fast = sum(each == fastest for each in classes)
    return (fast, len(classes) - fast) if fast < len(classes) else (None, None)


def _layout(answer: str | None) -> _Layout:
    classes, threads, nodes = [], 0, 0
    caches: Counter[tuple[int, str, int]] = Counter()
    for relation, body in _relations(answer):
        if relation == _CORE and len(body) >= 24:
            classes.append(body[1])
            threads += sum(mask.bit_count() for mask in _group_masks(body))
        elif relation == _CACHE and len(body) >= 12:
            level, _, _, size, kind = struct.unpack_from("<BBHII", body)
            if kind in _CACHE_KINDS and size:
                caches[level, _CACHE_KINDS[kind], size] += 1
        elif relation in {_NUMA_NODE, _NUMA_NODE_EX}:
            nodes += 1
    order = {"data": 0, "instruction": 1, "unified": 2}
    sizes = sorted(caches, key=lambda key: (key[0], order[key[1]], -key[2]))
    return _Layout(tuple(classes), threads, tuple(Cache(*key, caches[key]) for key in sizes), nodes)


def _relations(answer: str | None) -> Iterator[tuple[int, bytes]]:
    """(kind, body) of each SYSTEM_LOGICAL_PROCESSOR_INFORMATION_EX: kind and size lead, 4 bytes each."""
    try:
        data = bytes.fromhex(answer or "")
    except ValueError:
        return
    at = 0
    while at + 8 <= len(data):
        relation, size = struct.unpack_from("<II", data, at)
        if size < 8:
            return
        yield relation, data[at + 8 : at + size]
        at += size


def _group_masks(core: bytes) -> Iterator[int]:
    """The masks of a PROCESSOR_RELATIONSHIP: their number at byte 22, then 16 bytes each."""
    (count,) = struct.unpack_from("<H", core, 22)
    for at in range(24, min(24 + 16 * count, len(core) - 7), 16):
        yield struct.unpack_from("<Q", core, at)[0]
