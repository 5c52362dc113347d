"""The CPU here, or that of a recorded machine: what it is, and what this process may use of it."""

from __future__ import annotations

from flatout.hardware.cpu_facts import Cache, Cpu, Limits
from flatout.hardware.cpu_linux import linux_cpu
from flatout.hardware.cpu_macos import macos_cpu
from flatout.hardware.cpu_text import describe
from flatout.hardware.cpu_windows import windows_cpu
from flatout.hardware.machine import Machine, ThisMachine

__all__ = ["Cache", "Cpu", "Limits", "cpu", "describe"]

_READERS = {"linux": linux_cpu, "darwin": macos_cpu, "win32": windows_cpu}


def cpu(source: Machine | None = None) -> Cpu:
    """The CPU of this machine, or of a recorded one.

    It takes milliseconds and imports no torch. What cannot be found out is None; nothing is raised.

    Args:
        source: where to read; this machine unless told.

    Example:
        >>> from flatout.hardware.machine import Recorded
        >>> cpuinfo = "processor: 0\\nvendor_id: GenuineIntel\\ncpu family: 6\\nmodel: 143\\nstepping: 8"
        >>> found = cpu(Recorded("linux", {"/proc/cpuinfo": cpuinfo}))
        >>> found.microarchitecture, found.threads, found.memory_bytes
        ('Sapphire Rapids', 1, None)
    """
    machine = source if source is not None else ThisMachine()
    reader = _READERS.get(machine.system)
    return reader(machine) if reader else Cpu()
