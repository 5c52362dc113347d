"""A CPU as Linux describes it, in /proc/cpuinfo and under /sys/devices.

Most files exist once a hardware thread: on a server with hundreds of them, what threads share is read once.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass

from flatout.hardware import cpu_arm
from flatout.hardware.container_limits import cpu_quota, memory_limit
from flatout.hardware.cpu_facts import Cache, Cpu, Limits
from flatout.hardware.cpu_x86 import Identity, clock_in, identify
from flatout.hardware.hypervisor import named_by_clocks, named_by_firmware
from flatout.hardware.instruction_sets import isa_level, vector_bits, vectors
from flatout.hardware.machine import Machine, whole

_CPU = "/sys/devices/system/cpu"
_CACHE_KINDS = {"Data": "data", "Instruction": "instruction", "Unified": "unified"}
_SMALL = 0.6  # of the largest capacity: below it a core of big.LITTLE is an efficiency core
_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30}

Block = Mapping[str, str]  # one processor of /proc/cpuinfo


@dataclass(frozen=True)
class _Layout:
    """Which hardware threads there are, and the first one of each core."""

    threads: Sequence[int]
    cores: Sequence[int]


def linux_cpu(machine: Machine) -> Cpu:
    """The CPU of a Linux machine."""
    blocks = _processors(machine.read("/proc/cpuinfo") or "")
    first = blocks[0] if blocks else {}
    flags = frozenset((first.get("flags") or first.get("Features") or "").split())
    layout = _layout(machine, blocks)
    caches = _caches(machine, layout.threads)
    performance, efficiency = _core_kinds(machine, layout)
    virtual, hypervisor = _hypervisor(machine, flags)
    name, identity = _identity(machine, blocks, flags, caches)
    sve_bytes = machine.count("/proc/sys/abi/sve_default_vector_length")
    base, now = _clocks(machine, blocks, flags)
    return Cpu(
        name=name,
        vendor=identity.vendor,
        microarchitecture=identity.microarchitecture,
        generation=identity.generation,
        evidence=identity.evidence,
        family=whole(first.get("cpu family") or first.get("CPU implementer")),
        model=whole(first.get("model") or first.get("CPU part")),
        stepping=whole(first.get("stepping") or first.get("CPU revision")),
        isa_level=isa_level(flags),
        physical_cores=len(layout.cores) or None,
        performance_cores=performance,
        efficiency_cores=efficiency,
        threads=len(layout.threads) or None,
        caches=caches,
        vectors=vectors(flags),
        vector_bits=vector_bits(flags, sve_bytes * 8 if sve_bytes else None),
        base_mhz=base if base is not None else clock_in(name),
        now_mhz=now,
        memory_bytes=_memory(machine),
        numa_nodes=_numa_nodes(machine),
        virtual=virtual,
        hypervisor=hypervisor,
        limits=Limits(cpu_quota(machine), machine.count("affinity"), memory_limit(machine)),
    )


def cpus_in(text: str | None) -> list[int]:
    """The CPUs in a list as Linux writes it.

    Example:
        >>> cpus_in("0-2,8")
        [0, 1, 2, 8]
    """
    found: list[int] = []
    for part in (text or "").strip().split(","):
        if match := re.fullmatch(r"(\d+)(?:-(\d+))?", part.strip()):
            found.extend(range(int(match[1]), int(match[2] or match[1]) + 1))
    return found


def _processors(text: str) -> list[Block]:
    """The processors of /proc/cpuinfo, each with its lines; what stands after them is left out."""
    blocks: list[Block] = []
    for part in re.split(r"\n\s*\n", text):
        lines = (line.partition(":") for line in part.splitlines())
        block = {key.strip(): value.strip() for key, _, value in lines}
        if "processor" in block:
            blocks.append(block)
    return blocks


def _layout(machine: Machine, blocks: Sequence[Block]) -> _Layout:
    threads = cpus_in(machine.read(f"{_CPU}/online")) or [
        int(block["processor"]) for block in blocks if block["processor"].isdigit()
    ]
    cores, seen = [], set()
    for cpu in threads:
        if cpu in seen:
            continue
        folder = f"{_CPU}/cpu{cpu}/topology"
        siblings = machine.read(f"{folder}/core_cpus_list") or machine.read(f"{folder}/thread_siblings_list")
        if siblings is None:
            return _Layout(threads, _cores_of(blocks))
        seen.update(cpus_in(siblings))
        cores.append(cpu)
    return _Layout(threads, cores)


def _cores_of(blocks: Sequence[Block]) -> list[int]:
    """The first thread of each core as /proc/cpuinfo tells it, where it does."""
    cores: dict[tuple[str, str], int] = {}
    for block in blocks:
        if "core id" in block and block["processor"].isdigit():
            cores.setdefault((block.get("physical id", ""), block["core id"]), int(block["processor"]))
    return list(cores.values())


def _core_kinds(machine: Machine, layout: _Layout) -> tuple[int | None, int | None]:
    """How many performance and efficiency cores; None where there are not both."""
    performance = set(cpus_in(machine.read("/sys/devices/cpu_core/cpus")))
    efficiency = set(cpus_in(machine.read("/sys/devices/cpu_atom/cpus")))
    efficiency |= set(cpus_in(machine.read("/sys/devices/cpu_lowpower/cpus")))
    if not performance:
        sizes = {cpu: machine.count(f"{_CPU}/cpu{cpu}/cpu_capacity") or 0 for cpu in layout.cores}
        largest = max(sizes.values(), default=0)
        performance = {cpu for cpu, size in sizes.items() if size >= _SMALL * largest > 0}
        efficiency = {cpu for cpu, size in sizes.items() if 0 < size < _SMALL * largest}
    counts = tuple(sum(cpu in kind for cpu in layout.cores) for kind in (performance, efficiency))
    return (counts[0], counts[1]) if all(counts) else (None, None)


def _caches(machine: Machine, threads: Sequence[int]) -> tuple[Cache, ...]:
    """All caches, those of one level, kind and size as one."""
    counts: Counter[tuple[int, str, int]] = Counter()
    for index, level, kind in _cache_indices(machine, threads):
        covered: set[int] = set()
        for cpu in threads:
            if cpu in covered:
                continue
            folder = f"{_CPU}/cpu{cpu}/cache/{index}"
            covered.update(cpus_in(machine.read(f"{folder}/shared_cpu_list")))
            size = _bytes(machine.read(f"{folder}/size"))
            if size:
                counts[level, kind, size] += 1
    order = {"data": 0, "instruction": 1, "unified": 2}
    return tuple(
        Cache(level, kind, size, counts[level, kind, size])
        for level, kind, size in sorted(counts, key=lambda key: (key[0], order[key[1]], -key[2]))
    )


def _cache_indices(machine: Machine, threads: Sequence[int]) -> Iterator[tuple[str, int, str]]:
    """(index, level, kind) of the first thread's caches; the others number theirs alike."""
    folder = f"{_CPU}/cpu{threads[0] if threads else 0}/cache"
    for index in machine.names(folder):
        level = machine.count(f"{folder}/{index}/level")
        kind = _CACHE_KINDS.get((machine.read(f"{folder}/{index}/type") or "").strip())
        if level is not None and kind is not None:
            yield index, level, kind


def _bytes(text: str | None) -> int:
    """A size as "48K"; 0 where it is none."""
    size = re.fullmatch(r"(\d+)([KMG]?)", (text or "").strip())
    return int(size[1]) * _UNITS[size[2]] if size else 0


def _identity(
    machine: Machine, blocks: Sequence[Block], flags: Set[str], caches: Sequence[Cache]
) -> tuple[str | None, Identity]:
    """The name of the CPU and what its numbers mean."""
    first = blocks[0] if blocks else {}
    name = first.get("model name")
    if "CPU implementer" in first:
        return _arm_identity(machine, blocks)
    family, model, stepping = (whole(first.get(key)) for key in ("cpu family", "model", "stepping"))
    return name, identify(first.get("vendor_id"), name, family, model, stepping, flags, caches)


def _arm_identity(machine: Machine, blocks: Sequence[Block]) -> tuple[str | None, Identity]:
    parts = [(whole(block.get("CPU implementer")), whole(block.get("CPU part"))) for block in blocks]
    # Boards list their small cores first.
    kinds = list(dict.fromkeys(reversed(parts)))
    known = [cpu_arm.core(*kind) for kind in kinds]
    cores = " + ".join(dict.fromkeys(core for core in known if core)) or None
    maker = cpu_arm.maker(kinds[0][0])
    firmware = " ".join(filter(None, _firmware(machine)))
    chip = cpu_arm.chip(cores, firmware)
    told = " and ".join(f"implementer {maker:#x}, part {part:#x}" for maker, part in kinds if maker and part)
    evidence = told if cores else None
    named = cores if cores is None or maker is None or cores.startswith(maker) else f"{maker} {cores}"
    return chip or named, Identity(maker, cores, chip, evidence)


def _clocks(machine: Machine, blocks: Sequence[Block], flags: Set[str]) -> tuple[float | None, float | None]:
    """(base clock, current clock) in MHz."""
    policy = f"{_CPU}/cpu0/cpufreq"
    base = _mhz(machine.count(f"{policy}/base_frequency"), 1000)
    base = base or _mhz(machine.count(f"{_CPU}/cpu0/acpi_cppc/nominal_freq"), 1)
    shown = [float(block["cpu MHz"]) for block in blocks if _is_number(block.get("cpu MHz"))]
    fastest = max(shown, default=0.0) or None
    if "aperfmperf" in flags:
        return base, fastest
    folders = [name for name in machine.names(f"{_CPU}/cpufreq") if name.startswith("policy")]
    speeds = [machine.count(f"{_CPU}/cpufreq/{name}/scaling_cur_freq") or 0 for name in folders]
    if any(speeds):
        return base, max(speeds) / 1000
    # Without either, "cpu MHz" is the rate of the time stamp counter: the base clock.
    return base or (fastest if "constant_tsc" in flags else None), None


def _mhz(value: int | None, divisor: int) -> float | None:
    return value / divisor if value else None


def _is_number(text: str | None) -> bool:
    return re.fullmatch(r"\d+(\.\d+)?", text or "") is not None


def _memory(machine: Machine) -> int | None:
    found = re.search(r"^MemTotal:\s*(\d+) kB", machine.read("/proc/meminfo") or "", re.MULTILINE)
    return int(found[1]) * 1024 if found else None


def _numa_nodes(machine: Machine) -> int | None:
    """Nodes with CPUs: some GPUs show their memory as a node without any."""
    folder = "/sys/devices/system/node"
    nodes = machine.read(f"{folder}/has_cpu") or machine.read(f"{folder}/online")
    return len(cpus_in(nodes)) or None


def _firmware(machine: Machine) -> tuple[str | None, str | None]:
    """What the firmware calls maker and product of the machine."""
    maker = machine.read("/sys/class/dmi/id/sys_vendor")
    product = machine.read("/sys/class/dmi/id/product_name")
    if maker is None and product is None:
        product = machine.read("/sys/firmware/devicetree/base/compatible")
    return maker, product


def _hypervisor(machine: Machine, flags: Set[str]) -> tuple[bool | None, str | None]:
    """(is this a virtual machine, of which hypervisor)."""
    named = named_by_firmware(*_firmware(machine))
    if "microsoft" in (machine.read("/proc/sys/kernel/osrelease") or "").lower():
        named = "Hyper-V (WSL 2)"
    clocks = machine.read("/sys/devices/system/clocksource/clocksource0/available_clocksource")
    named = named or named_by_clocks(clocks)
    if flags & {"lm", "sse2"}:  # x86 has a flag for it
        return "hypervisor" in flags, named if "hypervisor" in flags else None
    if named:
        return True, named
    return (False if any(_firmware(machine)) else None), None
