"""How long a step takes: steady, after the first ones, in little time."""

from __future__ import annotations

import copy
import time
from typing import Any

import torch

from flatout.data.source import Data
from flatout.plans.base import Loop, scheduler_of_steps
from flatout.task.task import Task

# A measurement of this length is worth believing: the clock and Python around it no longer show.
_LONG_ENOUGH = 0.01
_REPEATS = 5
_GROWTH = 4


class Stopwatch:
    """Times the steps of a prepared loop on a task that nobody needs afterwards.

    Args:
        task: the task of the loop, a copy.
        data: its data.
        loop: the prepared plan.
        total_steps: of the whole training: no more are ever run in a row.
    """

    def __init__(self, task: Task, data: Data, loop: Loop, total_steps: int) -> None:
        self._task, self._data, self._loop = task, data, loop
        self._most = max(1, total_steps)
        self._cross_epochs = task.scheduler is None or scheduler_of_steps(task, data) is not None
        # A scheduler may refuse to go beyond its last step, so each measurement starts where it was.
        self._scheduler = None if task.scheduler is None else copy.deepcopy(task.scheduler.state_dict())
        self._options: list[dict[str, Any]] = [
            {key: value for key, value in group.items() if key != "params"}
            for group in copy.deepcopy([{**g, "params": ()} for g in task.optimizer.param_groups])
        ]

    def run(self, steps: int) -> float:
        """Run so many steps; returns the seconds they took."""
        self._rewind()
        _wait_for(self._data.device)
        begun = time.perf_counter()
        done = 0
        while done < steps:
            losses = self._loop.advance(self._data.take(steps - done, cross_epochs=self._cross_epochs))
            if not len(losses):
                break
            done += len(losses)
        _wait_for(self._data.device)
        return (time.perf_counter() - begun) / max(done, 1) * steps

    def seconds_per_step(self, *, budget: float, hopeless_above: float | None = None) -> float:
        """The steady time of a step: the least of a few measurements, the first steps left out.

        The least and not the mean: what other programs do on the machine only ever adds.

        Args:
            budget: seconds to spend, about.
            hopeless_above: seconds a step; once every measurement is well above, no more are made.
        """
        begun = time.perf_counter()
        first = self.run(1)
        if self._most == 1:
            return first
        best, steps, repeats = first, 1, 0
        while repeats < _REPEATS:
            took = self.run(steps)
            best = min(best, took / steps)
            if took >= _LONG_ENOUGH or steps >= self._most:
                repeats += 1
                if hopeless_above is not None and best > 2 * hopeless_above:
                    break
            if time.perf_counter() - begun > budget:
                break
            if took < _LONG_ENOUGH:
                steps = min(_GROWTH * steps, self._most)
        return best

    def _rewind(self) -> None:
        if self._scheduler is None or self._task.scheduler is None:
            return
        self._task.scheduler.load_state_dict(copy.deepcopy(self._scheduler))
        for group, options in zip(self._task.optimizer.param_groups, self._options, strict=True):
            group.update(copy.deepcopy(options))


def _wait_for(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()
