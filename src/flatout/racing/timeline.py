"""What a GPU does during some steps of eager, from the trace of PyTorch's profiler.

At each moment it runs a kernel (compute), only copies (transfer), or nothing. Of the time with nothing to
run: what comes next was launched already (idle), or not yet, and then the host was waiting for the device
(sync) or busy with Python and launching (launch).

The trace is the Chrome trace format the profiler exports: complete events (`"ph": "X"`) with `ts` and `dur`
in microseconds, device work in the categories kernel, gpu_memcpy and gpu_memset, calls of the runtime in
*_runtime and *_driver, and both sides of one launch with the same `correlation`.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import torch

_MARK = "flatout: the steps that are timed"
_KERNELS = ("kernel", "gpu_memset")
_COPIES = ("gpu_memcpy",)

Interval = tuple[float, float]


def device_parts(run: Callable[[int], object], steps: int) -> dict[str, float]:
    """Microseconds a step of compute, launch, transfer, sync and idle, from profiled steps.

    Args:
        run: runs so many steps and waits for the device.
        steps: how many.
    """
    activities = [torch.profiler.ProfilerActivity.CPU, torch.profiler.ProfilerActivity.CUDA]
    with torch.profiler.profile(activities=activities) as profiler, torch.profiler.record_function(_MARK):
        run(steps)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "trace.json"
        profiler.export_chrome_trace(str(path))
        events = json.loads(path.read_text(encoding="utf-8"))["traceEvents"]
    return {part: time / steps for part, time in parts_of(events).items()}


def parts_of(events: Iterable[Mapping[str, Any]]) -> dict[str, float]:
    """Microseconds of each part between begin and end of the marked steps; they add up to that time.

    Raises:
        ValueError: the trace has no marked steps, or no work of a device.
    """
    complete = [event for event in events if event.get("ph") == "X"]
    window = next((_interval(e) for e in complete if e.get("name") == _MARK and "gpu" not in e["cat"]), None)
    calls = [e for e in complete if str(e.get("cat")).endswith(("_runtime", "_driver"))]
    launched = {_correlation(call): _interval(call)[1] for call in calls if _correlation(call) is not None}
    kernels = [event for event in complete if event.get("cat") in _KERNELS]
    work = kernels + [event for event in complete if event.get("cat") in _COPIES]
    if window is None or not work:
        raise ValueError(
            f"expected marked steps with device work in the trace, got {len(work)} pieces of work"
        )
    computing = _length(_union(map(_interval, kernels), window))
    busy = _length(_union(map(_interval, work), window))
    waits = _union((_interval(call) for call in calls if _waits(call)), window)
    parts = {"compute": computing, "transfer": busy - computing, "launch": 0.0, "sync": 0.0, "idle": 0.0}
    for begin, end, launch in _gaps(work, launched, window):
        ready = min(end, max(begin, launch))
        waited = _length(_union(waits, (begin, ready)))
        parts["sync"] += waited
        parts["launch"] += ready - begin - waited
        parts["idle"] += end - ready
    return parts


def _gaps(
    work: list[Mapping[str, Any]], launched: Mapping[Any, float], window: Interval
) -> Iterable[tuple[float, float, float]]:
    """When nothing ran: begin, end, and when what came next had been launched."""
    now = window[0]
    for event in sorted(work, key=lambda event: float(event["ts"])):
        begin, end = _interval(event)
        if begin >= window[1]:
            break
        if begin > now:
            yield now, begin, launched.get(_correlation(event), begin)
        now = max(now, end)
    if now < window[1]:
        yield now, window[1], window[1]


def _waits(call: Mapping[str, Any]) -> bool:
    """Calls in which the host waits: synchronisations, and copies that are not asynchronous."""
    name = str(call.get("name"))
    return "Synchronize" in name or ("Memcpy" in name and "Async" not in name)


def _union(intervals: Iterable[Interval], window: Interval) -> list[Interval]:
    """The same moments as intervals that do not overlap, within a window."""
    union: list[Interval] = []
    for start, stop in sorted(intervals):
        begin, end = max(start, window[0]), min(stop, window[1])
        if union and begin <= union[-1][1]:
            union[-1] = union[-1][0], max(union[-1][1], end)
        elif begin < end:
            union.append((begin, end))
    return union


def _length(intervals: Iterable[Interval]) -> float:
    return sum(end - begin for begin, end in intervals)


def _interval(event: Mapping[str, Any]) -> Interval:
    return float(event["ts"]), float(event["ts"]) + float(event["dur"])


def _correlation(event: Mapping[str, Any]) -> Any:
    return event.get("args", {}).get("correlation")
