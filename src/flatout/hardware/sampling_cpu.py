"""The CPU, the memory and the processes, through psutil. Nothing here may raise: what fails is None."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from pathlib import PurePath
from typing import TypeVar

import psutil

from flatout.hardware.sample import CpuSample, OnGpu, ProcessSample

T = TypeVar("T")

# The drivers of sensors that sit in a CPU, the best first: Intel, AMD, AMD (another driver), ARM.
_CPU_SENSORS = ("coretemp", "k10temp", "zenpower", "cpu_thermal", "cpu-thermal", "soc_thermal")
# psutil lets some errors of the system through, and not every platform has every reading.
_FAILURES = (psutil.Error, OSError, NotImplementedError, AttributeError, RuntimeError, ValueError)
_HEAVIEST = 5
_AT_WORK = 0.005  # cores: what uses less is at rest


class Cpu:
    """The CPU and the memory; the first reading counts from when this was made."""

    def __init__(self) -> None:
        self._ticks = 0.0
        self._cores()

    def read(self) -> CpuSample:
        """Now."""
        memory = _tried(psutil.virtual_memory)
        return CpuSample(
            cores=self._cores(),
            memory_used=None if memory is None else memory.total - memory.available,
            memory_total=None if memory is None else memory.total,
            temperature=_tried(_temperature),
            clock=_tried(_clock),
        )

    def _cores(self) -> tuple[float, ...] | None:
        shares = _tried(lambda: psutil.cpu_percent(percpu=True))
        ticks = _tried(lambda: float(sum(psutil.cpu_times())))
        if not shares or ticks is None or ticks == self._ticks:
            return None  # some sandboxes have counters that stand still: that is no 0 %
        self._ticks = ticks
        return tuple(min(share, 100.0) / 100 for share in shares)


def _clock() -> float | None:
    frequency = psutil.cpu_freq()
    return frequency.current if frequency and frequency.current > 0 else None


def _temperature() -> float | None:
    """Of the hottest sensor of the CPU. Only Linux and FreeBSD tell; a virtual machine has no sensor."""
    if sys.platform in ("win32", "darwin"):
        return None
    sensors = psutil.sensors_temperatures()
    for driver in _CPU_SENSORS:
        if driver in sensors:
            return max((entry.current for entry in sensors[driver] if entry.current > 0), default=None)
    return None


class Processes:
    """The processes on a GPU, whoever's they are, and the heaviest of this user."""

    def __init__(self) -> None:
        self._known: dict[int, psutil.Process] = {}
        self._not_mine: set[int] = set()
        self._names: dict[int, str] = {}
        self.read({})  # from now on their CPU time is counted

    def read(self, on_gpus: Mapping[int, tuple[OnGpu, ...]]) -> tuple[ProcessSample, ...]:
        """Those on a GPU first, then by CPU time.

        Args:
            on_gpus: the processes on each GPU, by its index.
        """
        held: dict[int, dict[int, int | None]] = {}
        computes: dict[int, set[int]] = {}
        for index, processes in on_gpus.items():
            for process in processes:
                held.setdefault(process.pid, {})[index] = process.memory
                if process.computes:
                    computes.setdefault(process.pid, set()).add(index)
        cores = self._cores(set(held))
        heaviest = sorted((pid for pid in cores if pid not in held), key=lambda pid: -(cores[pid] or 0))
        shown = [*held, *(pid for pid in heaviest[:_HEAVIEST] if (cores[pid] or 0) >= _AT_WORK)]
        return tuple(
            ProcessSample(
                pid,
                self._name(pid),
                cores.get(pid),
                self._memory(pid),
                held.get(pid, {}),
                frozenset(computes.get(pid, ())),
            )
            for pid in shown
        )

    def _cores(self, wanted: set[int]) -> dict[int, float | None]:
        """Use of each process of this user and of each `wanted` one, in cores; None in its first sample."""
        here = set(_tried(psutil.pids) or ())
        for gone in self._known.keys() - here:
            del self._known[gone]
            self._names.pop(gone, None)
        self._not_mine &= here
        cores: dict[int, float | None] = {}
        for pid in here if wanted <= here else here | wanted:
            if pid in self._not_mine and pid not in wanted:
                continue
            is_new = pid not in self._known
            process = self._known.get(pid) or _tried(lambda pid=pid: psutil.Process(pid))  # type: ignore[misc]
            if process is None or (is_new and pid not in wanted and not _is_mine(process)):
                self._not_mine.add(pid)
                continue
            self._known[pid] = process
            percent = _tried(lambda process=process: process.cpu_percent(None))  # type: ignore[misc]
            cores[pid] = None if is_new or percent is None else percent / 100
        return cores

    def _memory(self, pid: int) -> int | None:
        process = self._known.get(pid)
        return None if process is None else _tried(lambda: process.memory_info().rss)

    def _name(self, pid: int) -> str | None:
        process = self._known.get(pid)
        if process is None:
            return None
        if pid not in self._names:
            name = _tried(process.name)
            if name is None:
                return None
            self._names[pid] = _what_runs(name, _tried(process.cmdline) or [])
        return self._names[pid]


def _is_mine(process: psutil.Process) -> bool:
    if sys.platform == "win32":
        mine = _tried(psutil.Process().username)
        return mine is not None and _tried(process.username) == mine
    uids = _tried(process.uids)
    return uids is not None and uids.real == os.getuid()


def _what_runs(name: str, command: list[str]) -> str:
    """A name that tells two Pythons apart: "python train.py", "python -m pytest"; no other argument."""
    if not name.lower().startswith("python"):
        return name
    rest = command[1:]
    while rest and rest[0].startswith("-"):
        if rest[0] == "-m" and len(rest) > 1:
            return f"python -m {rest[1]}"
        if rest[0] == "-c":
            return "python -c"
        rest = rest[2:] if rest[0] in ("-W", "-X") else rest[1:]
    return f"python {PurePath(rest[0]).name}" if rest else name


def _tried(read: Callable[[], T]) -> T | None:
    try:
        return read()
    except _FAILURES:
        return None
