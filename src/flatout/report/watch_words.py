"""What `flatout watch` says in words: a verdict over the last samples, warnings, and a summary at the end.

The rules are few, look at means of a few seconds, and abstain where a reading is missing:

    waits     less than half busy, and a process that computes on it (or a core) is at its limit
    works     at least 80 % busy
    idle      less than 1 % busy
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from flatout.hardware.sample import GpuSample, ProcessSample, Sample
from flatout.report.text import UNKNOWN, seconds

LEAST_SAMPLES: Final = 3
LAST_SAMPLES: Final = 5

_WAITS_BELOW: Final = 0.5
_WORKS_FROM: Final = 0.8
_IDLE_BELOW: Final = 0.01
_AT_WORK: Final = 0.1  # below, nobody minds a low clock
_WHOLE_CORE: Final = 0.9
_FULL_CORE: Final = 0.95
_HOT: Final = 80.0  # °C
_HOT_FOR: Final = 60.0  # seconds
_FULL_MEMORY: Final = 0.95
_GIB: Final = 2**30

# The states of a GPU, what matters most first: (singular, plural).
_VERBS: Final = {
    "lost": ("gives", "give"),
    "waits": ("waits", "wait"),
    "partly": ("is", "are"),
    "works": ("works", "work"),
    "held": ("is", "are"),
    "idle": ("is", "are"),
    "unknown": ("does", "do"),
}


@dataclass(frozen=True)
class _State:
    kind: str
    tail: str
    busy: float | None = None

    def sentence(self, subject: str, several: bool, busy: float | None) -> str:
        verb = _VERBS[self.kind][several]
        share = percent(busy)
        if self.kind in ("waits", "works"):
            return f"{subject} {verb}: {share} busy{self.tail}"
        if self.kind == "partly":
            return f"{subject} {verb} {share} busy"
        return f"{subject} {verb} {self.tail}"


def verdict(samples: Sequence[Sample]) -> list[str]:
    """What the last samples show, what matters most first, a line each; [] where there are too few."""
    last = samples[-LAST_SAMPLES:]
    if len(last) < LEAST_SAMPLES:
        return []
    groups: dict[tuple[str, str], list[tuple[int, float | None]]] = {}
    states: dict[tuple[str, str], _State] = {}
    for gpu in last[-1].gpus:
        state = _state(gpu, last)
        groups.setdefault((state.kind, state.tail), []).append((gpu.index, state.busy))
        states[state.kind, state.tail] = state
    order = list(_VERBS)
    sentences = [
        states[key].sentence(
            f"GPU {_listed(index for index, _ in group)}", len(group) > 1, _mean(busy for _, busy in group)
        )
        for key, group in sorted(groups.items(), key=lambda item: order.index(item[0][0]))
    ]
    if not any(kind in ("waits", "works", "partly") for kind, _ in groups):
        sentences.append(_cpu(last))
    return [sentence for sentence in sentences if sentence]


def _state(gpu: GpuSample, last: Sequence[Sample]) -> _State:
    if gpu.error is not None:
        return _State("lost", f"no readings: {gpu.error}")
    busy = _mean(each.utilisation for sample in last for each in sample.gpus if each.index == gpu.index)
    if busy is None:
        return _State("unknown", "not tell how busy it is")
    if busy >= _WORKS_FROM:
        return _State("works", "", busy)
    computing = [process for process in last[-1].processes if gpu.index in process.computes_on]
    if busy < _WAITS_BELOW:
        reason = _why_it_waits(busy, computing, last)
        if reason is not None:
            return _State("waits", reason, busy)
    if busy >= _IDLE_BELOW:
        return _State("partly", "", busy)
    if computing:
        holder = computing[0]
        held = holder.gpu_memory.get(gpu.index)
        return _State("held", f"idle, though {who(holder)} holds {memory(held)} of it", busy)
    return _State("idle", "idle", busy)


def _why_it_waits(busy: float, computing: Sequence[ProcessSample], last: Sequence[Sample]) -> str | None:
    """What holds up a GPU that is less than half busy; None where the readings do not tell."""
    if not computing:
        return None
    means = {
        process.pid: _mean(each.cores for s in last for each in s.processes if each.pid == process.pid)
        for process in computing
    }
    ending = "the host cannot keep up" if busy >= _IDLE_BELOW else "it waits for the host"
    for process in computing:
        if (means[process.pid] or 0) >= _WHOLE_CORE:
            return f" while {who(process)} keeps a core at 100 %: {ending}"
    core = _mean(sample.cpu.busiest_core for sample in last)
    if core is None:
        return None
    if core >= _FULL_CORE:
        return f" while a core is at {percent(core)}: perhaps {ending}"
    if busy >= _IDLE_BELOW and core < _WAITS_BELOW:
        return ", and no core is busy either: look at the disk, the network, or pauses in the program"
    return None


def _cpu(last: Sequence[Sample]) -> str:
    busy = _mean(sample.cpu.utilisation for sample in last)
    cores = len(last[-1].cpu.cores or ())
    if busy is None:
        return ""
    if busy >= _WHOLE_CORE:
        return f"the CPU works: {percent(busy)} of {cores} cores"
    heaviest = last[-1].processes[:1]
    if cores > 1 and heaviest and busy * cores < 1.5 and 0.9 <= (heaviest[0].cores or 0) <= 1.1:
        return f"{who(heaviest[0])} runs on one core of {cores}"
    return f"the CPU is {percent(busy)} busy" if busy >= _IDLE_BELOW else "the CPU is idle"


class Warnings:
    """What a person should look at now. Heat counts once it has been there for a minute."""

    def __init__(self) -> None:
        self._hot_since: dict[int, float] = {}

    def of(self, sample: Sample) -> dict[str, str]:
        """Warnings that hold at this sample, by a key that stays the same while they last."""
        found: dict[str, str] = {}
        for gpu in sample.gpus:
            name = f"GPU {gpu.index}"
            slowdown = gpu.slowdown_temperature
            if gpu.temperature is None or gpu.temperature < _HOT:
                self._hot_since.pop(gpu.index, None)
            else:
                since = self._hot_since.setdefault(gpu.index, sample.time)
                now = f"{gpu.temperature:.0f} °C"
                if slowdown is not None and gpu.temperature >= slowdown:
                    found[f"{name} slowdown"] = f"{name} is at {now}; from {slowdown:.0f} °C on it slows down"
                elif sample.time - since >= _HOT_FOR:
                    found[f"{name} hot"] = f"{name} has been at 80 °C or more for a minute (now {now})"
            if gpu.slowed_by and (gpu.utilisation is None or gpu.utilisation >= _AT_WORK):
                reasons = " and ".join(gpu.slowed_by)
                found[f"{name} {reasons}"] = f"{name} runs below its highest clock: {reasons}"
        share = _share(sample.cpu.memory_used, sample.cpu.memory_total)
        if share is not None and share >= _FULL_MEMORY:
            found["memory"] = f"the machine's memory is {percent(share)} full"
        return found


@dataclass
class _Total:
    """Of one device: sum and count for the mean, and the highest values seen."""

    shares: float = 0.0
    counted: int = 0
    highest: dict[str, float] = field(default_factory=dict)

    def add(self, share: float | None, **values: float | None) -> None:
        if share is not None:
            self.shares += share
            self.counted += 1
        for name, value in {"share": share, **values}.items():
            if value is not None:
                self.highest[name] = max(value, self.highest.get(name, value))

    def words(self) -> str:
        mean = self.shares / self.counted if self.counted else None
        words = f"mean {percent(mean)}, most {percent(self.highest.get('share'))}"
        if "memory" in self.highest:
            words += f", {memory(self.highest['memory'])}"
        if "temperature" in self.highest:
            words += f", {self.highest['temperature']:.0f} °C"
        if "power" in self.highest:
            words += f", {self.highest['power']:.0f} W"
        return words


class Summary:
    """Means and highest values over everything watched, in memory that does not grow."""

    def __init__(self) -> None:
        self._first = self._last = 0.0
        self._samples = 0
        self._totals: dict[str, _Total] = {}

    def add(self, sample: Sample) -> None:
        """Count a sample in."""
        self._first = self._first or sample.time
        self._last = sample.time
        self._samples += 1
        cpu = sample.cpu
        self._totals.setdefault("CPU", _Total()).add(
            cpu.utilisation, memory=cpu.memory_used, temperature=cpu.temperature
        )
        for gpu in sample.gpus:
            self._totals.setdefault(f"GPU {gpu.index}", _Total()).add(
                gpu.utilisation, memory=gpu.memory_used, temperature=gpu.temperature, power=gpu.power
            )

    def words(self) -> str:
        """One line."""
        if not self._samples:
            return "watched nothing: no sample was taken"
        samples = "1 sample" if self._samples == 1 else f"{self._samples} samples"
        devices = "; ".join(f"{name} {total.words()}" for name, total in self._totals.items())
        return f"watched {samples} in {seconds(max(self._last - self._first, 0))}: {devices}"


def percent(share: float | None) -> str:
    """A share of 1 in per cent.

    >>> percent(0.034), percent(None)
    ('3 %', '–')
    """
    return UNKNOWN if share is None else f"{100 * share:.0f} %"


def memory(size: float | None) -> str:
    """Bytes in GiB or, where they are few, in MiB.

    >>> memory(25769803776), memory(35651584), memory(None)
    ('24.0 GiB', '34 MiB', '–')
    """
    if size is None:
        return UNKNOWN
    return f"{size / _GIB:.1f} GiB" if size >= _GIB / 10 else f"{size / 2**20:.0f} MiB"


def who(process: ProcessSample) -> str:
    """A process by name and number.

    >>> who(ProcessSample(12, "python train.py"))
    'python train.py (12)'
    """
    return f"{process.name or 'process'} ({process.pid})"


def _share(used: int | None, total: int | None) -> float | None:
    return used / total if used is not None and total else None


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def _listed(indices: Iterable[int]) -> str:
    """0, 1 and 5; 0-7 for a row of at least three."""
    numbers = sorted(indices)
    if len(numbers) > 2 and numbers == list(range(numbers[0], numbers[-1] + 1)):
        return f"{numbers[0]}-{numbers[-1]}"
    *rest, last = map(str, numbers)
    return f"{', '.join(rest)} and {last}" if rest else last
