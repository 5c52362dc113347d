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
    DeviceEvents,
    gaps,
    interval,
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
    events = list(events)
    marked = (e for e in events if e.get("ph") == "X" and e.get("name") == _MARK and "gpu" not in e["cat"])
    window = next(map(interval, marked), None)
    device = DeviceEvents.of(events)
    if window is None or not device.work:
        raise ValueError(
            f"expected marked steps with device work in the trace, got {len(device.work)} pieces of work"
        )
    compute, transfer = device.busy(window)
    waiting = union((interval(call) for call in device.calls if waits(call)), window)
    parts = {"compute": compute, "transfer": transfer, "launch": 0.0, "sync": 0.0, "idle": 0.0}
    for begin, end, following in gaps(device.work, window):
        call = device.launch_of(following)
        launch = interval(call)[1] if call else begin if following else end
        ready = min(end, max(begin, launch))
        waited = length(union(waiting, (begin, ready)))
        parts["sync"] += waited
        parts["launch"] += ready - begin - waited
        parts["idle"] += end - ready
    return parts
