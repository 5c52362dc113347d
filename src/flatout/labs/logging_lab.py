"""How often to read the loss: the iris run as a plain loop, with `.item()` every epoch down to never.

All arms run the same lines; only the interval differs. They take turns of a hundredth of a second or so, in
an order drawn anew each time, and are compared round by round.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from flatout.errors import LabError
from flatout.hardware.repeat import Spread, spread_of, synchronize
from flatout.labs.paired import Interval, interval_of, least_rounds, slope_of
from flatout.labs.rounds import Effort, Watch, in_parts
from flatout.task.builtin import iris

INTERVALS = (1, 100, 200, 1000, 2000)
COURSE_EPOCHS = 20_000

_LEARNING_RATE = 0.01
_WARM_UP = 10  # epochs that are not timed: the optimizer's first step, the first gradients
# Epochs in a row. The device is waited for at their end, so that end must not be where the loss is read: that
# wait would be free.
_TURN = 97
_NEVER = 1 << 62  # an interval no run is as long as


@dataclass(frozen=True)
class Arm:
    """One way to train: where, and after how many epochs the loss is read; None: never."""

    device: str
    every: int | None


@dataclass(frozen=True)
class Timed:
    """A run of an arm, or a turn of it: its seconds, and the losses it read."""

    seconds: float
    losses: tuple[float, ...]


@dataclass(frozen=True)
class Row:
    """What an arm came to.

    Attributes:
        every: epochs between two reads; None: never.
        reads: of the loss in a run, each one a sync.
        runs: seconds an epoch takes, in each round.
        epoch: their spread.
        against_never: seconds an epoch takes longer than without reads, paired round by round; None for the
            arm without reads.
        only_noise: whether that is no more than noise; None for the arm without reads.
    """

    every: int | None
    reads: int
    runs: tuple[float, ...]
    epoch: Spread
    against_never: Interval | None
    only_noise: bool | None


@dataclass(frozen=True)
class OnDevice:
    """What a device came to.

    Attributes:
        device: for example "cpu" or "cuda:0".
        rows: the arms, the one that reads most first.
        a_read: seconds of one read: the slope of the time over the count of reads, from all arms.
    """

    device: str
    rows: tuple[Row, ...]
    a_read: Interval

    @property
    def never(self) -> Row:
        """The arm without reads."""
        return self.rows[-1]


Measure = Callable[[Arm, range], Timed]


def run_lab(
    devices: Sequence[torch.device],
    *,
    intervals: Sequence[int] = INTERVALS,
    epochs: int = 2000,
    effort: Effort | None = None,
    measure: Measure | None = None,
    watch: Watch | None = None,
) -> tuple[OnDevice, ...]:
    """Time every interval on every device.

    Args:
        devices: where to train.
        intervals: epochs between two reads; never is always among the arms.
        epochs: of a run.
        effort: how many rounds.
        measure: trains an arm for these epochs, counted from 1, at which it begins anew; None: the loop of
            `train`, by the clock.
        watch: called with the rounds that are done and those there will be.

    Raises:
        LabError: an interval is longer than a run, or there are too few rounds to say anything.
    """
    effort = effort or Effort()
    _check(intervals, epochs, effort)
    one = measure or _Measure(devices)
    everies: list[int | None] = [*sorted(set(intervals)), None]
    arms = [Arm(str(device), every) for device in devices for every in everies]
    found = in_parts({arm: partial(one, arm) for arm in arms}, turns(epochs), effort, watch=watch)
    runs = {arm: [_whole(run) for run in found[arm]] for arm in arms}
    return tuple(
        on_device(str(device), {every: runs[Arm(str(device), every)] for every in everies}, epochs)
        for device in devices
    )


def turns(epochs: int) -> list[range]:
    """The epochs of each turn of a run.

    >>> turns(200)
    [range(1, 98), range(98, 195), range(195, 201)]
    """
    return [range(first, min(first + _TURN, epochs + 1)) for first in range(1, epochs + 1, _TURN)]


def _whole(parts: Sequence[Timed]) -> Timed:
    return Timed(sum(part.seconds for part in parts), tuple(loss for part in parts for loss in part.losses))


def on_device(device: str, runs: dict[int | None, list[Timed]], epochs: int) -> OnDevice:
    """What the runs of a device say: for each interval those of all rounds, in the order of the rounds.

    Fewer reads cannot cost more than many: from the first arm on that differs by no more than noise, none
    does. So a table raises a false alarm as rarely as its first row.
    """
    never = [run.seconds for run in runs[None]]
    rows: list[Row] = []
    drowned = False  # in noise
    for every, timed in runs.items():
        an_epoch = tuple(run.seconds / epochs for run in timed)
        gap = [mine - bare / epochs for mine, bare in zip(an_epoch, never, strict=True)]
        against = None if every is None else interval_of(gap)
        drowned |= against is not None and against.has_zero
        rows.append(
            Row(
                every,
                len(timed[0].losses),
                an_epoch,
                spread_of(list(an_epoch)),
                against,
                None if against is None else drowned,
            )
        )
    seconds = np.array([[run.seconds for run in timed] for timed in runs.values()]).T
    return OnDevice(device, tuple(rows), slope_of([row.reads for row in rows], seconds))


def train(
    model: nn.Module, optimizer: torch.optim.Optimizer, X: Tensor, y: Tensor, epochs: range, every: int
) -> list[float]:
    """The loop that is timed, as a first lesson writes it; returns the losses that were read.

    Args:
        model: is trained in place.
        optimizer: of the model.
        X: measurements, float32 [120, 4].
        y: species, int64 [120].
        epochs: full-batch steps, by number.
        every: read the loss at the epochs that this divides.
    """
    loss_function = nn.CrossEntropyLoss()
    losses = []
    for epoch in epochs:
        optimizer.zero_grad()
        loss = loss_function(model(X), y)
        loss.backward()
        optimizer.step()
        if epoch % every == 0:
            losses.append(loss.item())
    return losses


class _Measure:
    """Turns of the real loop, by the clock on the wall; every run begins at the same weights."""

    def __init__(self, devices: Sequence[torch.device]) -> None:
        task = iris()
        data: tuple[Tensor, Tensor] = task.data
        self._model = task.model
        self._data = {str(device): (data[0].to(device), data[1].to(device)) for device in devices}
        self._running: dict[Arm, tuple[nn.Module, torch.optim.Optimizer]] = {}

    def __call__(self, arm: Arm, epochs: range) -> Timed:
        device = torch.device(arm.device)
        X, y = self._data[arm.device]
        if epochs.start == 1:
            model = copy.deepcopy(self._model).to(device)
            self._running[arm] = model, torch.optim.SGD(model.parameters(), lr=_LEARNING_RATE)
            train(*self._running[arm], X, y, range(1, 1 + _WARM_UP), _NEVER)
        synchronize(device)
        begun = time.perf_counter()
        losses = train(*self._running[arm], X, y, epochs, arm.every or _NEVER)
        synchronize(device)
        return Timed(time.perf_counter() - begun, tuple(losses))


def _check(intervals: Sequence[int], epochs: int, effort: Effort) -> None:
    if not intervals or min(intervals) < 1:
        raise LabError(f"--every must be 1 epoch or more, but is {min(intervals, default=0)}")
    if max(intervals) > epochs:
        raise LabError(
            f"a run of {epochs:,} epochs never reads a loss every {max(intervals):,}; "
            f"give --epochs {max(intervals)} or more, or shorter intervals with --every"
        )
    if effort.rounds is not None and effort.rounds < least_rounds():
        raise LabError(
            f"{effort.rounds} rounds cannot tell a difference from noise; "
            f"give --rounds {least_rounds()} or more"
        )


def document(found: Sequence[OnDevice], *, epochs: int) -> dict[str, Any]:
    """What was found as one JSON document; times in µs."""
    return {
        "lab": "logging",
        "epochs": epochs,
        "rounds": found[0].never.epoch.runs,
        "devices": [
            {
                "device": one.device,
                "rows": [_row_document(row) for row in one.rows],
                "us_per_read": _micro(one.a_read),
            }
            for one in found
        ],
    }


def _row_document(row: Row) -> dict[str, Any]:
    against = row.against_never
    return {
        "every": row.every,
        "reads": row.reads,
        "us_per_epoch": 1e6 * row.epoch.median,
        "quartiles": [1e6 * row.epoch.low, 1e6 * row.epoch.high],
        "runs_us": [1e6 * run for run in row.runs],
        "against_never": None if against is None else _micro(against),
        "only_noise": row.only_noise,
    }


def _micro(interval: Interval) -> dict[str, float]:
    us = interval.times(1e6)
    return {"us": us.estimate, "low": us.low, "high": us.high}
