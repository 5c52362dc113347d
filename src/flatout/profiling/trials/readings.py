"""Experiments with what a script reads: how much longer the rest of a step takes beside a read.

A read that makes text or thousands of numbers drives the step's own code and data from the caches, and leaves
objects that have to be freed. Neither is in the time of the call.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final

from flatout.profiling.evidence import Evidence
from flatout.profiling.trials.setup import Setup
from flatout.profiling.trials.trial import Trial, read_name
from flatout.profiling.watch.reading import Reading

_MOST: Final = 3  # reads
_WORTH: Final = 0.05  # of a step
_TIMES: Final = 100  # a step, at most


def costly(evidence: Evidence) -> Mapping[str, Callable[[Setup], Trial]]:
    """An experiment for each of the costliest reads that can be made again, by its name in the trials."""
    if not evidence.on_cpu:
        return {}
    costs = {}
    for key, readings in evidence.seen.readings.items():
        cost = evidence.cost(evidence.seen.calls.get(key, ()))
        if cost is not None and cost.seconds >= _WORTH * evidence.step_s and round(cost.count):
            times = min(_TIMES, round(cost.count))
            costs[cost.seconds] = read_name(*key), partial(_beside, readings=readings, times=times)
    return dict(costs[seconds] for seconds in sorted(costs, reverse=True)[:_MOST])


def _beside(setup: Setup, readings: Sequence[Reading], times: int) -> Trial:
    """The step beside the reads and alone; the time of the reads themselves is in neither."""
    calls = [reading.again() for reading in readings] * times

    def read() -> list[Any]:
        return [call() for call in calls]

    return setup.trial(setup.base.under(between=read), setup.base, "")
