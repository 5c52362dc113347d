"""What is known about a CPU. Anything not known is None, never 0."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Cache:
    """Caches of one kind and size.

    Attributes:
        level: 1 is nearest to the core.
        kind: "data", "instruction" or "unified".
        size_bytes: of one of them.
        instances: how many there are.
    """

    level: int
    kind: str
    size_bytes: int
    instances: int


@dataclass(frozen=True)
class Limits:
    """What a container, a job or an affinity mask leaves to this process; None where nothing limits it.

    Attributes:
        cpus: the CPU time it may use, in CPUs: 1.5 is one and a half.
        affinity: on how many hardware threads it may run; None where the system has no such mask.
        memory_bytes: the memory its container may use.
    """

    cpus: float | None = None
    affinity: int | None = None
    memory_bytes: int | None = None


@dataclass(frozen=True)
class Cpu:
    """A machine's CPU and what this process may use of it.

    Attributes:
        name: as the system gives it.
        vendor: "Intel", "AMD", "Apple", "Arm", ...
        microarchitecture: "Zen 5", "Sapphire Rapids", "Apple M3"; of two kinds of ARM cores "A + B".
        generation: how the maker counts: "12th Gen Intel Core", "EPYC 4th Gen (Genoa)".
        evidence: what the microarchitecture was told from.
        family: of x86, as CPUID counts; of ARM, the implementer.
        model: of x86, as CPUID counts; of ARM, the part.
        stepping: of ARM, the revision.
        isa_level: what compilers may assume: "x86-64-v3", "armv8.4-a".
        physical_cores: cores of all sockets.
        performance_cores: None where all cores are of one kind, or the system does not tell them apart.
        efficiency_cores: likewise.
        threads: what the system calls CPUs: two a core with hyper-threading.
        caches: level 1 first.
        vectors: instruction sets for vectors and matrices, the narrowest first.
        vector_bits: the width of the widest vector registers (not AMX or SME tiles).
        base_mhz: the clock the maker guarantees.
        now_mhz: of the fastest core at the moment of asking.
        memory_bytes: of the machine.
        numa_nodes: groups of cores with memory of their own.
        virtual: whether this is a virtual machine.
        hypervisor: its name.
        limits: what this process may use.
    """

    name: str | None = None
    vendor: str | None = None
    microarchitecture: str | None = None
    generation: str | None = None
    evidence: str | None = None
    family: int | None = None
    model: int | None = None
    stepping: int | None = None
    isa_level: str | None = None
    physical_cores: int | None = None
    performance_cores: int | None = None
    efficiency_cores: int | None = None
    threads: int | None = None
    caches: tuple[Cache, ...] = ()
    vectors: tuple[str, ...] = ()
    vector_bits: int | None = None
    base_mhz: float | None = None
    now_mhz: float | None = None
    memory_bytes: int | None = None
    numa_nodes: int | None = None
    virtual: bool | None = None
    hypervisor: str | None = None
    limits: Limits = Limits()

    @property
    def usable_cpus(self) -> float | None:
        """How many CPUs this process can keep busy: the least of threads, affinity and quota."""
        known = [each for each in (self.threads, self.limits.affinity, self.limits.cpus) if each is not None]
        return float(min(known)) if known else None

    @property
    def usable_memory_bytes(self) -> int | None:
        """The memory this process can have at most: the machine's, or its container's if that is less."""
        known = [each for each in (self.memory_bytes, self.limits.memory_bytes) if each is not None]
        return min(known, default=None)
