"""What a GPU does in the traced steps, and what it waits for where it does nothing.

All streams are joined: at each moment a kernel runs (compute), only a copy does (copy), or nothing. In the
last part of such a gap, the work that comes next has been launched, or is being launched (launch). Before,
the host had not come so far, and what it did then is what the GPU waited for: data, Python, dispatch. A sync
that had emptied the queue held the host up for as long as it lasted; so much of the gap is the sync's.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterable, Mapping, MutableMapping
from dataclasses import dataclass, field
from typing import Final, TypeVar

from flatout.profiling.tracing.host import COMPILED, DISPATCH, Host
from flatout.racing.trace_events import (
    DeviceEvents,
    Event,
    Interval,
    correlation,
    gaps,
    interval,
    waits,
)

PARTS: Final = ("compute", "copy", "data", "python", "dispatch", "sync", "launch")


@dataclass
class Device:
    """What was seen of a GPU.

    Attributes:
        parts: microseconds of each of PARTS; they add up to the steps.
        layers: microseconds of the work that each layer started, by its number and the part of the step.
        launches: calls that started work, a replay of a graph among them.
        replays: of graphs.
    """

    parts: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    layers: dict[tuple[int, str], float] = field(default_factory=lambda: defaultdict(float))
    launches: int = 0
    replays: int = 0


class NoWorkError(ValueError):
    """The trace shows no work of a GPU."""


def device_of(events: Iterable[Event], hosts: Iterable[Host]) -> Device:
    """What a GPU did in some steps.

    Args:
        events: the whole trace.
        hosts: the steps.

    Raises:
        NoWorkError: the trace shows none.
    """
    seen = DeviceEvents.of(events)
    if not seen.work:
        raise NoWorkError("the profiler saw no work of the GPU")
    waiting = [interval(call) for call in seen.calls if waits(call)]
    started = {correlation(event) for event in seen.work}
    device = Device()
    for host in hosts:
        compute, copy = seen.busy(host.window)
        add(device.parts, {"compute": compute, "copy": copy})
        for begin, end, following in gaps(seen.work, host.window):
            call = seen.launch_of(following)
            add(device.parts, _gap(host, (begin, end), call, waiting, before=following is not None))
        _of_layers(device, host, seen)
        inside = [call for call in seen.calls if host.window[0] <= float(call["ts"]) < host.window[1]]
        device.launches += sum(correlation(call) in started for call in inside)
        device.replays += sum("GraphLaunch" in str(call["name"]) for call in inside)
    return device


Key = TypeVar("Key", bound=Hashable)


def add(into: MutableMapping[Key, float], more: Mapping[Key, float]) -> None:
    """Add the values of one mapping to those of another, which has 0 where it has none."""
    for key, value in more.items():
        into[key] += value


def _gap(
    host: Host, gap: Interval, call: Event | None, waiting: Iterable[Interval], *, before: bool
) -> dict[str, float]:
    """The parts of a time in which nothing ran.

    Args:
        host: what it did then.
        gap: when nothing ran.
        call: that launched what came next, or None.
        waiting: when the host waited for the device.
        before: what came next was launched before the trace began, where there is no call.
    """
    begin, end = gap
    launch = float(call["ts"]) if call is not None else begin if before else end
    ready = min(end, max(begin, launch))
    parts: dict[str, float] = defaultdict(float, launch=end - ready)
    emptied = max((stop - start for start, stop in waiting if start <= begin < stop), default=0.0)
    held_up = min(ready, begin + emptied)
    parts["sync"] += held_up - begin
    rest = ready - held_up
    for segment in host.at(host.thread if call is None else call["tid"], held_up, ready):
        took = segment.end - segment.begin
        parts[DISPATCH if segment.does == COMPILED else segment.does] += took
        rest -= took
    parts["python"] += rest
    return parts


def _of_layers(device: Device, host: Host, seen: DeviceEvents) -> None:
    """Add the work to the layers that started it in this step."""
    for event in seen.work:
        call = seen.launch_of(event)
        if call is None or not host.window[0] <= float(call["ts"]) < host.window[1]:
            continue
        at = host.when(call["tid"], float(call["ts"]))
        if at is not None and at.layer is not None:
            device.layers[at.layer, at.part] += float(event["dur"])
