"""A CPU in words, a line a fact."""

from __future__ import annotations

from collections.abc import Iterator

from flatout.hardware.cpu_facts import Cache, Cpu

_UNKNOWN = "unknown"


def describe(cpu: Cpu) -> list[tuple[str, str]]:
    """(label, text) of each line of a table about the CPU. What is not known says so.

    Example:
        >>> describe(Cpu(threads=4))[2]
        ('cores', 'unknown; 4 threads')
    """
    return [
        ("CPU", _plain(cpu.name) or _UNKNOWN),
        ("microarchitecture", _microarchitecture(cpu)),
        ("cores", _cores(cpu)),
        ("vectors", _vectors(cpu)),
        ("caches", "; ".join(_cache(cache) for cache in cpu.caches) or _UNKNOWN),
        ("clock", _clock(cpu)),
        ("memory", _memory(cpu)),
        ("machine", _machine(cpu)),
        ("this process", _process(cpu)),
    ]


def size(count: int | None) -> str:
    """Bytes in the largest unit that leaves at least 1.

    Example:
        >>> size(48 << 10), size(3 << 29), size(None)
        ('48 KiB', '1.5 GiB', 'unknown')
    """
    if count is None:
        return _UNKNOWN
    value, unit = float(count), "bytes"
    for larger in ("KiB", "MiB", "GiB", "TiB"):
        if value < 1024:
            break
        value, unit = value / 1024, larger
    return f"{round(value, 2 if value < 10 else 1):g} {unit}"


def _plain(name: str | None) -> str:
    """A name without the marks of trade and double spaces."""
    return " ".join((name or "").replace("(R)", "").replace("(TM)", "").split())


def _microarchitecture(cpu: Cpu) -> str:
    text = cpu.microarchitecture or _UNKNOWN
    if cpu.generation and cpu.generation not in text:
        text += f": {cpu.generation}"
    return text + (f" (told from {cpu.evidence})" if cpu.evidence else "")


def _cores(cpu: Cpu) -> str:
    text = _UNKNOWN if cpu.physical_cores is None else str(cpu.physical_cores)
    if cpu.performance_cores and cpu.efficiency_cores:
        text += f" ({cpu.performance_cores} performance, {cpu.efficiency_cores} efficiency)"
    threads = "1 thread" if cpu.threads == 1 else f"{cpu.threads or _UNKNOWN} threads"
    return f"{text}; {threads}"


def _vectors(cpu: Cpu) -> str:
    text = ", ".join(cpu.vectors) or _UNKNOWN
    facts = [f"{cpu.vector_bits} bits" if cpu.vector_bits else "", cpu.isa_level or ""]
    said = ", ".join(filter(None, facts))
    return f"{text} ({said})" if said else text


def _cache(cache: Cache) -> str:
    kind = "" if cache.kind == "unified" else f" {cache.kind}"
    times = f"{cache.instances} × " if cache.instances > 1 else ""
    return f"L{cache.level}{kind} {times}{size(cache.size_bytes)}"


def _clock(cpu: Cpu) -> str:
    known = ((cpu.base_mhz, "base"), (cpu.now_mhz, "now"))
    return ", ".join(f"{mhz / 1000:.2f} GHz {when}" for mhz, when in known if mhz) or _UNKNOWN


def _memory(cpu: Cpu) -> str:
    if not cpu.numa_nodes:
        return size(cpu.memory_bytes)
    return f"{size(cpu.memory_bytes)} in {cpu.numa_nodes} NUMA node{'s' if cpu.numa_nodes > 1 else ''}"


def _machine(cpu: Cpu) -> str:
    if cpu.virtual is None:
        return _UNKNOWN
    if not cpu.virtual:
        return "physical"
    return f"virtual ({cpu.hypervisor})" if cpu.hypervisor else "virtual"


def _process(cpu: Cpu) -> str:
    cpus = _UNKNOWN if cpu.usable_cpus is None else f"{cpu.usable_cpus:g}"
    text = f"may use {cpus} of {cpu.threads or _UNKNOWN} CPUs and {size(cpu.usable_memory_bytes)}"
    reasons = "; ".join(_reasons(cpu))
    return f"{text} ({reasons})" if reasons else text


def _reasons(cpu: Cpu) -> Iterator[str]:
    """What makes it less than the machine has."""
    limits = cpu.limits
    if limits.cpus is not None:
        yield f"its container has {limits.cpus:g} CPUs"
    if limits.affinity is not None and cpu.threads is not None and limits.affinity < cpu.threads:
        yield f"its affinity mask has {limits.affinity}"
    if limits.memory_bytes is not None:
        yield f"its container has {size(limits.memory_bytes)}"
