"""The floor of a step on each device of a race."""

from __future__ import annotations

from contextlib import suppress

import torch

from flatout.errors import FlatoutError
from flatout.hardware.peaks import Peaks, kept_peaks, peaks_of
from flatout.step.cost import floor
from flatout.step.graph import StepGraph
from flatout.step.trace_task import trace
from flatout.task.task import Task


def floor_us(graph: StepGraph | None, device: torch.device, *, measure: bool) -> float | None:
    """Microseconds a step takes at least, or None where step or device is unknown.

    Args:
        graph: the step.
        device: where it runs.
        measure: whether to measure peaks that nobody has measured yet, which takes under a second.
    """
    if graph is None:
        return None
    peaks: Peaks | None = peaks_of(device) if measure else kept_peaks(device)
    return None if peaks is None else 1e6 * floor(graph.flops, graph.bytes, peaks)


def traced(task: Task) -> StepGraph | None:
    """The step of a task, or None where it cannot be one graph."""
    with suppress(FlatoutError):
        return trace(task, next((p.device for p in task.model.parameters()), "cpu"))
    return None
