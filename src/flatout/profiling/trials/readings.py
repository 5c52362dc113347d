"""Experiments with what a script reads: how much longer the rest of a step takes beside a read.

A read that makes text or thousands of numbers drives the step's own code and data from the caches, and leaves
objects that have to be freed. Neither is in the time of the call.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from flatout.profiling.evidence import Evidence
from flatout.profiling.trials.setup import Setup
from flatout.profiling.trials.trial import Trial, read_name
from flatout.profiling.watch.seen import Reading

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
            costs[key] = cost.seconds, _Reads(readings, min(_TIMES, round(cost.count)))
    chosen = sorted(costs.items(), key=lambda item: -item[1][0])[:_MOST]
    return {read_name(*key): partial(_beside, reads=reads) for key, (_, reads) in chosen}


@dataclass(frozen=True)
class _Reads:
    """What a step reads at a line: these, so many times."""

    readings: Sequence[Reading]
    times: int

    def __call__(self) -> list[Any]:
        return [reading.again() for _ in range(self.times) for reading in self.readings]


def _beside(setup: Setup, reads: _Reads) -> Trial:
    """The step beside the reads and alone; the time of the reads themselves is in neither."""
    return setup.trial(setup.base.under(between=reads), setup.base, "")
