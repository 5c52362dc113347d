"""Measurements taken in turn: every arm once a round, in an order drawn anew, so noise meets all alike."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from typing import TypeVar

Arm = TypeVar("Arm", bound=Hashable)
Result = TypeVar("Result")
Watch = Callable[[int, int], object]

_MOST = 60


@dataclass(frozen=True)
class Effort:
    """How much to measure.

    Args:
        rounds: how many; None: as many as the seconds give.
        seconds: for all rounds together, about.
        least: fewer rounds than this say nothing.
        clock: what the seconds are read from.
    """

    rounds: int | None = None
    seconds: float = 60.0
    least: int = 8
    clock: Callable[[], float] = time.perf_counter

    def count(self, a_round: float) -> int:
        """The rounds, where one takes so many seconds.

        >>> Effort().count(3.0), Effort().count(100.0), Effort().count(0.1), Effort(rounds=9).count(3.0)
        (20, 8, 60, 9)
        """
        if self.rounds is not None:
            return self.rounds
        return max(self.least, min(_MOST, round(self.seconds / max(a_round, 1e-9))))


def interleaved(
    arms: Mapping[Arm, Callable[[], Result]], effort: Effort, *, watch: Watch | None = None, seed: int = 0
) -> dict[Arm, list[Result]]:
    """What each arm gave in each round; a first round, which finds cold caches, is not kept.

    Args:
        arms: what is measured: each returns its measurement.
        effort: how many rounds.
        watch: called with the rounds that are done and those there will be.
        seed: of the orders.

    Example:
        >>> found = interleaved({"a": lambda: 1.0, "b": lambda: 2.0}, Effort(rounds=3))
        >>> found["a"], found["b"]
        ([1.0, 1.0, 1.0], [2.0, 2.0, 2.0])
    """
    shuffled = random.Random(seed)
    begun = effort.clock()
    for measure in arms.values():
        measure()
    rounds = effort.count(effort.clock() - begun)
    found: dict[Arm, list[Result]] = {arm: [] for arm in arms}
    for done in range(rounds):
        if watch is not None:
            watch(done, rounds)
        for arm in shuffled.sample(list(arms), len(arms)):
            found[arm].append(arms[arm]())
    return found
