"""Events of the traces that PyTorch's profiler exports, as intervals of time.

The Chrome trace format: complete events (`"ph": "X"`) with `ts` and `dur` in microseconds, device work in
the categories kernel, gpu_memcpy and gpu_memset, calls of the runtime in *_runtime and *_driver, and both
sides of one launch with the same `correlation`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

_KERNELS: Final = ("kernel", "gpu_memset")
_COPIES: Final = ("gpu_memcpy",)

Interval = tuple[float, float]
Event = Mapping[str, Any]


def interval(event: Event) -> Interval:
    """When an event began and ended, in microseconds."""
    return float(event["ts"]), float(event["ts"]) + float(event["dur"])


def correlation(event: Event) -> Any:
    """What a launch and the work it launched have in common, or None."""
    return event.get("args", {}).get("correlation")


def is_runtime(event: Event) -> bool:
    """Whether it is a call of the device's runtime, made on the host."""
    return str(event.get("cat")).endswith(("_runtime", "_driver"))


@dataclass(frozen=True)
class DeviceEvents:
    """What a trace tells of a device.

    Attributes:
        calls: of the device's runtime, made on the host.
        launched: the call that launched a piece of work, by their correlation.
        kernels: that the device ran.
        work: these, and copies.
    """

    calls: Sequence[Event]
    launched: Mapping[Any, Event]
    kernels: Sequence[Event]
    work: Sequence[Event]

    @staticmethod
    def of(events: Iterable[Event]) -> DeviceEvents:
        """Those among all events of a trace."""
        complete = [event for event in events if event.get("ph") == "X"]
        calls = [event for event in complete if is_runtime(event)]
        launched = {correlation(call): call for call in calls if correlation(call) is not None}
        kernels = [event for event in complete if event.get("cat") in _KERNELS]
        copies = [event for event in complete if event.get("cat") in _COPIES]
        return DeviceEvents(calls, launched, kernels, kernels + copies)

    def launch_of(self, work: Event | None) -> Event | None:
        """The call that launched a piece of work, or None."""
        return None if work is None else self.launched.get(correlation(work))

    def busy(self, window: Interval) -> tuple[float, float]:
        """Microseconds of a window in which a kernel ran, and in which only a copy did."""
        computing = length(union(map(interval, self.kernels), window))
        return computing, length(union(map(interval, self.work), window)) - computing


def waits(call: Event) -> bool:
    """Calls in which the host waits: synchronisations, and copies that are not asynchronous."""
    name = str(call.get("name"))
    return "Synchronize" in name or ("Memcpy" in name and "Async" not in name)


def union(intervals: Iterable[Interval], window: Interval) -> list[Interval]:
    """The same moments as intervals that do not overlap, within a window.

    >>> union([(4, 6), (0, 2), (1, 3)], (1, 5))
    [(1, 3), (4, 5)]
    """
    joined: list[Interval] = []
    for start, stop in sorted(intervals):
        begin, end = max(start, window[0]), min(stop, window[1])
        if joined and begin <= joined[-1][1]:
            joined[-1] = joined[-1][0], max(joined[-1][1], end)
        elif begin < end:
            joined.append((begin, end))
    return joined


def length(intervals: Iterable[Interval]) -> float:
    """The time of intervals that do not overlap."""
    return sum(end - begin for begin, end in intervals)


def gaps(work: Iterable[Event], window: Interval) -> Iterator[tuple[float, float, Event | None]]:
    """When no work ran: begin, end, and the work that came next."""
    now = window[0]
    for event in sorted(work, key=lambda event: float(event["ts"])):
        begin, end = interval(event)
        if begin >= window[1]:
            break
        if begin > now:
            yield now, begin, event
        now = max(now, end)
    if now < window[1]:
        yield now, window[1], None
