"""Timing a piece of work on a device again and again: how long it takes, and how far that spreads."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

Work = Callable[[], object]

_LEAST_RUNS = 3


@dataclass(frozen=True)
class Spread:
    """A figure that was measured many times.

    Attributes:
        median: the middle one.
        low, high: the quartiles below and above it.
        best: of all: the highest rate or the shortest time. What disturbs a run only makes it slower.
        runs: how many there were.
    """

    median: float
    low: float
    high: float
    best: float
    runs: int

    def rate(self, amount: float) -> Spread:
        """Of times in seconds: the rates at which so much was done.

        >>> Spread(2.0, 1.0, 4.0, 1.0, 9).rate(8.0)
        Spread(median=4.0, low=2.0, high=8.0, best=8.0, runs=9)
        """
        return Spread(
            amount / self.median, amount / self.high, amount / self.low, amount / self.best, self.runs
        )


def spread_of(times: list[float]) -> Spread:
    """The spread of times in seconds.

    >>> spread_of([3.0, 1.0, 2.0])
    Spread(median=2.0, low=1.5, high=2.5, best=1.0, runs=3)
    """
    if len(times) == 1:
        return Spread(times[0], times[0], times[0], times[0], 1)
    low, median, high = statistics.quantiles(times, n=4, method="inclusive")
    return Spread(median, low, high, min(times), len(times))


def repeated(work: Work, device: torch.device, seconds: float) -> list[float]:
    """The seconds of each run, after one that finds cold caches, for about `seconds` and three runs at least.

    Args:
        work: what is timed; on a GPU, what it starts there.
        device: where it runs.
        seconds: how long to go on.
    """
    timed(work, device)
    until = time.perf_counter() + seconds
    times = [timed(work, device)]
    while len(times) < _LEAST_RUNS or time.perf_counter() < until:
        times.append(timed(work, device))
    return times


def timed(work: Work, device: torch.device) -> float:
    """The seconds of one run on the device: by its own clock on CUDA and ROCm, else by this computer's."""
    if device.type != "cuda":
        begun = time.perf_counter()
        work()
        synchronize(device)
        return max(time.perf_counter() - begun, 1e-9)
    event: Any = torch.cuda.Event
    begin, end = event(enable_timing=True), event(enable_timing=True)
    with torch.cuda.device(device):
        begin.record()
        work()
        end.record()
        end.synchronize()
    return max(float(begin.elapsed_time(end)) / 1e3, 1e-9)


def synchronize(device: torch.device) -> None:
    """Wait until the device has done all it was given; a CPU has."""
    if device.type != "cpu":
        torch.accelerator.synchronize(device)
