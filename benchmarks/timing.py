"""Paired timing: two ways of the same work, turn by turn in one process, so that noise meets both."""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Ratio:
    """How long `ours` takes against `theirs`, from paired rounds.

    Attributes:
        ours, theirs: median seconds a round.
        ratio: median of ours / theirs over the rounds.
        low, high: the quartiles of that ratio.
    """

    ours: float
    theirs: float
    ratio: float
    low: float
    high: float


def paired(ours: Callable[[], float], theirs: Callable[[], float], rounds: int) -> Ratio:
    """Time both `rounds` times in turn, after one round each that is not counted.

    Args:
        ours, theirs: do the work once and return its seconds (see `seconds`).
        rounds: at least 3.
    """
    ours(), theirs()
    pairs = []
    for turn in range(rounds):
        first, second = (ours, theirs) if turn % 2 else (theirs, ours)
        gc.collect()
        a, b = first(), second()
        pairs.append((a, b) if turn % 2 else (b, a))
    ratios = sorted(a / b for a, b in pairs)
    low, middle, high = statistics.quantiles(ratios, n=4)
    return Ratio(
        statistics.median(a for a, _ in pairs), statistics.median(b for _, b in pairs), middle, low, high
    )


def seconds(work: Callable[[], object]) -> float:
    """How long `work` takes."""
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun
