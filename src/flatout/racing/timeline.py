"""What a GPU does during some steps of eager, from the trace of PyTorch's profiler.

At each moment it runs a kernel (compute), only copies (transfer), or nothing. Of the time with nothing to
run: what comes next was launched already (idle), or not yet, and then the host was waiting for the device
(sync) or busy with Python and launching (launch).
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import torch

from flatout.racing.trace_events import (
    COPIES,
    KERNELS,
    correlation,
    gaps,
    interval,
    is_runtime,
    length,
    union,
    waits,
)

_MARK = "flatout: the steps that are timed"


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
    window = next((interval(e) for e in complete if e.get("name") == _MARK and "gpu" not in e["cat"]), None)
    calls = [event for event in complete if is_runtime(event)]
    launched = {correlation(call): interval(call)[1] for call in calls if correlation(call) is not None}
    kernels = [event for event in complete if event.get("cat") in KERNELS]
    work = kernels + [event for event in complete if event.get("cat") in COPIES]
    if window is None or not work:
        raise ValueError(
            f"expected marked steps with device work in the trace, got {len(work)} pieces of work"
        )
    computing = length(union(map(interval, kernels), window))
    busy = length(union(map(interval, work), window))
    waiting = union((interval(call) for call in calls if waits(call)), window)
    parts = {"compute": computing, "transfer": busy - computing, "launch": 0.0, "sync": 0.0, "idle": 0.0}
    for begin, end, following in gaps(work, window):
        launch = end if following is None else launched.get(correlation(following), begin)
        ready = min(end, max(begin, launch))
        waited = length(union(waiting, (begin, ready)))
        parts["sync"] += waited
        parts["launch"] += ready - begin - waited
        parts["idle"] += end - ready
    return parts
