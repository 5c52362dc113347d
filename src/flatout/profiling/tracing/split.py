"""What a step does: how much of it computes, and how much only starts work, is Python, waits or moves data.

The profiler makes a step longer. So it says how the parts of a step are shared out, and how long they are is
taken from the steps that nobody watched. The shares add up to the step.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Final

from flatout.profiling.tracing.arithmetic import kind
from flatout.profiling.tracing.cpu import computing, cpu_parts, layer_times
from flatout.profiling.tracing.device import PARTS as ON_GPU
from flatout.profiling.tracing.device import Device, NoWorkError, add, device_of
from flatout.profiling.tracing.host import DISPATCH, PYTHON, Host, Reader
from flatout.profiling.tracing.layers import LayerTime, layers_of
from flatout.profiling.tracing.window import LEAST, Recording, Trace

STRONG: Final = 1.5  # a distortion that is said
TOO_STRONG: Final = 3.0  # of what the profiler sees then, the most is its own
_BUSY: Final = ("compute", "copy")

_HOW_ON_CPU: Final = (
    "compute is what the operators of a step take beyond the same operators on a single element, called by "
    "themselves afterwards; dispatch is the rest of the time within torch, and Python what lies between. "
    "Each part of the bare step is shared out as the profiler saw it, less what the profiler took itself"
)
_HOW_ON_GPU: Final = (
    "compute is when kernels ran, on any stream, and copy when only copies did. The rest of the bare step is "
    "shared out as the profiler saw the gaps: what came next was launched already (launch), or the GPU "
    "waited for the host: for data, Python, dispatch, or a sync that had emptied the queue"
)


@dataclass(frozen=True)
class Split:
    """What a step does.

    Attributes:
        parts: microseconds of each; they add up to the bare step.
        how: how this was measured, in words.
        distortion: how many times as long a step took under the profiler.
        steps: that the profiler saw.
        operators: a step calls that do work; on a GPU, the launches.
        replays: of CUDA graphs in a step.
    """

    parts: Mapping[str, float]
    how: str
    distortion: float
    steps: int
    operators: float
    replays: float = 0.0

    @property
    def step_us(self) -> float:
        """The bare step."""
        return sum(self.parts.values())

    @property
    def starting_us(self) -> float:
        """What starts work: Python, dispatch and launch."""
        return sum(self.parts.get(name, 0.0) for name in (PYTHON, DISPATCH, "launch"))


class WithheldError(ValueError):
    """There is no split; its text says why."""


def split_of(
    trace: Trace, bare: Mapping[str, float], quick_us: float, device: str | None
) -> tuple[Split, list[LayerTime]]:
    """What a step does, and the time of its layers.

    Args:
        trace: what the profiler saw.
        bare: microseconds of each part of the bare step; they add up to it.
        quick_us: the lower quartile of the bare steps.
        device: the type of the device where the model lies.

    Raises:
        WithheldError: the profiler saw too little, or disturbed too much.
    """
    if device not in ("cpu", "cuda"):
        raise WithheldError(f"the profiler does not tell what a device of type {device} does")
    if len(trace.times) < LEAST:
        raise WithheldError(trace.reason or f"the script ended before the profiler had seen {LEAST} steps")
    distortion = 1e6 * lower_quartile(trace.times) / quick_us
    if distortion > TOO_STRONG:
        raise WithheldError(f"the profiler made steps {distortion:.1f} times as long")
    read = [(recording, _hosts(recording)) for recording in trace.recordings]
    hosts = _ordinary([host for _, of_recording in read for host in of_recording])
    read = [(recording, [host for host in of if host in hosts]) for recording, of in read]
    step_us = sum(bare.values())
    if device == "cuda":
        seen = _device(read)
        parts = gpu_parts(step_us, {name: us / len(hosts) for name, us in seen.parts.items()})
        times = {place: us / len(hosts) for place, us in seen.layers.items()}
        counts = seen.launches / len(hosts), seen.replays / len(hosts)
        how = _HOW_ON_GPU
    else:
        parts = cpu_parts(bare, hosts, computing(hosts, read[0][0].shapes()))
        times = layer_times(bare, hosts)
        counts = fmean(sum(one.part != "data" for one in host.operators) for host in hosts), 0.0
        how = _HOW_ON_CPU
    return Split(parts, how, distortion, len(hosts), *counts), layers_of(trace.marks.layers, times, step_us)


def lower_quartile(times: Sequence[float]) -> float:
    """What a step takes that is not interrupted; of so few steps, the median often is.

    >>> lower_quartile([5.0, 1.0, 2.0, 9.0, 3.0])
    2.0
    """
    return sorted(times)[len(times) // 4]


def gpu_parts(step_us: float, seen: Mapping[str, float]) -> dict[str, float]:
    """Microseconds of each part on a GPU; they add up to the bare step.

    The profiler makes the host slower and not the kernels: these are as measured, and the rest is shared out.

    >>> seen = {"compute": 10.0, "python": 150.0, "sync": 50.0}
    >>> gpu_parts(110.0, seen)["python"]
    75.0
    """
    busy = sum(seen.get(name, 0.0) for name in _BUSY)
    fits = min(1.0, step_us / busy) if busy else 1.0
    parts = {name: fits * seen.get(name, 0.0) if name in _BUSY else 0.0 for name in ON_GPU}
    rest = max(0.0, step_us - sum(parts.values()))
    waiting = {name: seen.get(name, 0.0) for name in ON_GPU if name not in _BUSY}
    whole = sum(waiting.values())
    if whole <= 0.0:
        waiting, whole = {"launch": 1.0}, 1.0
    return parts | {name: rest * us / whole for name, us in waiting.items()}


def _hosts(recording: Recording) -> list[Host]:
    """The steps of a recording that count."""
    steps = Reader(kind).steps(recording.events())
    return [step for step, counts in zip(steps, recording.steps, strict=False) if counts]


def _ordinary(hosts: Sequence[Host]) -> list[Host]:
    """The quicker two thirds of the steps: few as they are, one that was interrupted would count for much."""
    ordered = sorted(hosts, key=lambda host: host.window[1] - host.window[0])
    return ordered[: max(LEAST, 2 * len(hosts) // 3)]


def _device(read: Sequence[tuple[Recording, list[Host]]]) -> Device:
    seen = Device()
    try:
        for recording, hosts in read:
            one = device_of(recording.events(), hosts)
            add(seen.parts, one.parts)
            add(seen.layers, one.layers)
            seen.launches += one.launches
            seen.replays += one.replays
    except NoWorkError as why:
        raise WithheldError(str(why)) from why
    return seen
