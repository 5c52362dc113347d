"""Now and then a step of a plan is replayed in eager, so that a wrong number is not kept.

At the first step, about every two seconds, and at the last step (that of an early stop and of Ctrl-C too), a
copy of the task gets the state before the step and makes the same step in eager. Where the two agree the
state is remembered; where they do not, training goes back to the state remembered last and on in eager.

The copy calls the real `forward`, with its random operators given the numbers the plan drew. Numbers the
model keeps in attributes, such as a count of its calls, are moved on as the calls that were not made would
have moved them. What is not seen: a count kept outside the modules, a change that shows only between two
checks, and what is done after the last check where the loss becomes NaN or infinite.
"""

from __future__ import annotations

import copy
import time
from typing import Any

import torch
from torch import Tensor

from flatout.data.random_state import random_state, set_random_state
from flatout.data.source import Data
from flatout.plans.eager import EagerLoop
from flatout.racing.check import NOISY_RUNS, Agreement, compare, perturb, spread, tensors_of
from flatout.task.task import Task
from flatout.training.python_state import Counters, python_state, set_python_state
from flatout.training.record import Record
from flatout.training.state import live_state, load_live_state
from flatout.training.stopping import EarlyStopping

SECONDS_BETWEEN = 2.0
# Checks may cost at most this share of the time.
_SHARE = 0.05


class SpotCheck:
    """The checks of one training.

    Args:
        task: the live task, before its first step.
        data: its data.
        record: its record.
        stopping: its early stopping, or None.
    """

    def __init__(self, task: Task, data: Data, record: Record, stopping: EarlyStopping | None) -> None:
        self._task, self._data, self._record, self._stopping = task, data, record, stopping
        self._twin = task.copied_to(data.device)
        self._eager = EagerLoop(self._twin, data)
        self._counters = Counters()
        self._random: dict[str, Any] = {}
        self._before: dict[Any, Any] = {}
        self._state: dict[str, Any] = {}
        self._checked_at: float | None = None
        self._cost = 0.0
        self._hurried = False
        self.agreed_step = record.step
        self._agreed = self._snapshot()

    def is_due(self, remaining: int | None) -> bool:
        """Whether the next step should be replayed; `remaining` are left to the one that may be the last."""
        if self._checked_at is None or remaining == 1 or self._hurried:
            return True
        pause = max(SECONDS_BETWEEN, self._cost / _SHARE)
        return time.perf_counter() - self._checked_at >= pause

    def hurry(self) -> None:
        """Check the next step: its state is wanted."""
        self._hurried = True

    def before_step(self) -> None:
        """Give the copy the state before the step."""
        begun = time.perf_counter()
        self._hurried = False
        self._before = self._counters.expected(self._task, self._record.step)
        self._random = random_state()
        self._state = _cloned(live_state(self._task))
        load_live_state(self._twin, self._state)
        for mine, other in zip(self._twin.modules(), self._task.modules(), strict=True):
            for twin, live in zip(mine.modules(), other.modules(), strict=True):
                twin.training = live.training
        set_python_state(self._twin, self._before)
        self._cost = time.perf_counter() - begun

    def after_step(self, order: Tensor, losses: Tensor) -> Agreement:
        """Replay the step and compare; the plan's state lies in the live task."""
        begun = time.perf_counter()
        found = {"the loss": losses.detach().cpu(), **tensors_of(self._task)}
        expected = self._replay(order)
        self._counters.learn(self._before, python_state(self._twin), self._task, self._record.step + 1)
        agreement = compare(found, expected)
        if not agreement.agrees:
            agreement = compare(found, expected, self._noise(order, expected))
        self._state = {}
        self._checked_at = time.perf_counter()
        self._cost += self._checked_at - begun
        return agreement

    def _replay(self, order: Tensor) -> dict[str, Tensor]:
        """The step of the copy in eager: all it gives."""
        now = random_state()
        set_random_state(self._random)
        losses = self._eager.advance_with_same_numbers(order, self._record.step)
        set_random_state(now)
        return {"the loss": losses.detach().cpu(), **tensors_of(self._twin)}

    def _noise(self, order: Tensor, expected: dict[str, Tensor]) -> dict[str, float]:
        """How far eager is from itself when the parameters differ in the last digit."""
        runs = []
        for seed in range(NOISY_RUNS):
            load_live_state(self._twin, _cloned(self._state))
            set_python_state(self._twin, self._before)
            perturb(self._twin, seed)
            runs.append(self._replay(order))
        return spread(expected, runs)

    def agreed(self) -> None:
        """Remember the state as it is now."""
        self.agreed_step = self._record.step
        self._agreed = self._snapshot()

    def go_back(self) -> None:
        """Put everything back to the state remembered last."""
        kept = self._agreed
        load_live_state(self._task, kept["live"])
        self._data.restore(kept["order"])
        set_random_state(kept["random"])
        set_python_state(self._task, kept["python"])
        record = self._record
        losses = record.losses[: self.agreed_step]
        record.restore({**kept["record"], "losses": losses, "seconds": record.seconds})
        if self._stopping is not None:
            self._stopping.restore(kept["stopping"])

    def _snapshot(self) -> dict[str, Any]:
        record = self._record
        return {
            "live": _cloned(live_state(self._task)),
            "order": copy.deepcopy(self._data.state()),
            "random": random_state(),
            "python": self._counters.expected(self._task, record.step),
            "record": {
                "history": [dict(entry) for entry in record.history],
                "first_bad_step": record.first_bad_step,
            },
            "stopping": None if self._stopping is None else copy.deepcopy(self._stopping.state()),
        }


def _cloned(state: dict[str, Any]) -> dict[str, Any]:
    with torch.no_grad():
        tensors = {
            part: {name: tensor.detach().clone() for name, tensor in state[part].items()}
            for part in ("model", "loss")
        }
    return {**tensors, **{part: copy.deepcopy(state[part]) for part in ("optimizer", "scheduler")}}
