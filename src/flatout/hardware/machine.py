"""Where facts about a machine are read: the machine itself, or a recording of one.

A machine answers questions by name, and None where it has no answer:

    /proc/cpuinfo         a file (any path)
    affinity              on how many hardware threads this process may run
    sysctl                macOS: what `sysctl` prints of the hardware
    registry:KEY\\VALUE    Windows: a value under HKEY_LOCAL_MACHINE
    feature:NUMBER        Windows: IsProcessorFeaturePresent, "0" or "1"
    processors            Windows: GetLogicalProcessorInformationEx, in hexadecimal
    memory                Windows: bytes of memory
"""

from __future__ import annotations

import os
import subprocess
import sys
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path

_SYSCTL = ("/usr/sbin/sysctl", "-i", "hw", "machdep.cpu", "kern.hv_vmm_present")


class Machine(ABC):
    """Something that answers questions about a machine; `system` is as in `sys.platform`."""

    system: str

    @abstractmethod
    def read(self, name: str) -> str | None:
        """The answer to a question, or None."""

    @abstractmethod
    def names(self, folder: str) -> list[str]:
        """What lies in a folder; nothing where it does not exist."""

    def count(self, name: str) -> int | None:
        """A whole number above 0, or None where there is none."""
        return count(self.read(name))


class ThisMachine(Machine):
    """The machine this process runs on."""

    def __init__(self) -> None:
        self.system = sys.platform

    def read(self, name: str) -> str | None:
        if name.startswith("/"):
            return _file(name)
        if name == "affinity" and hasattr(os, "sched_getaffinity"):
            return str(len(os.sched_getaffinity(0)))
        if sys.platform == "win32":
            from flatout.hardware.windows_answers import answer

            return answer(name)
        if name == "sysctl" and sys.platform == "darwin":
            return _printed(_SYSCTL)
        return None

    def names(self, folder: str) -> list[str]:
        try:
            return sorted(path.name for path in Path(folder).iterdir())
        except OSError:
            return []


class Recorded(Machine):
    """A recording: answers by name.

    Example:
        >>> machine = Recorded("linux", {"/proc/meminfo": "MemTotal:  16 kB"})
        >>> machine.read("/proc/meminfo"), machine.read("/proc/cpuinfo"), machine.names("/proc")
        ('MemTotal:  16 kB', None, ['meminfo'])
    """

    def __init__(self, system: str, answers: Mapping[str, str]) -> None:
        self.system = system
        self._answers = dict(answers)

    def read(self, name: str) -> str | None:
        return self._answers.get(name)

    def names(self, folder: str) -> list[str]:
        start = folder.rstrip("/") + "/"
        return sorted({name[len(start) :].split("/")[0] for name in self._answers if name.startswith(start)})


def whole(text: str | None) -> int | None:
    """The whole number a text is (0x… is read as hexadecimal), or None."""
    try:
        return int(text, 16 if text.strip().startswith("0x") else 10) if text is not None else None
    except ValueError:
        return None


def count(text: str | None) -> int | None:
    """The whole number above 0 that a text is, or None."""
    number = whole(text)
    return number if number is not None and number > 0 else None


def _file(path: str) -> str | None:
    try:
        with open(path, "rb") as opened:  # noqa: PTH123 (a server has thousands of small files)
            return opened.read().decode("utf-8", "replace").rstrip("\0\n")
    except (OSError, ValueError):
        return None


def _printed(command: tuple[str, ...]) -> str | None:
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=5, check=False).stdout
    except (OSError, subprocess.TimeoutExpired):
        return None
