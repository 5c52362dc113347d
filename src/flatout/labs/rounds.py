"""Measurements taken in turn: every arm once a round, in an order drawn anew, so noise meets all alike."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

Arm = TypeVar("Arm", bound=Hashable)
Part = TypeVar("Part")
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
    whole = {arm: _ignoring_the_part(measure) for arm, measure in arms.items()}
    found = in_parts(whole, (None,), effort, watch=watch, seed=seed)
    return {arm: [only for (only,) in rounds] for arm, rounds in found.items()}


def in_parts(
    arms: Mapping[Arm, Callable[[Part], Result]],
    parts: Sequence[Part],
    effort: Effort,
    *,
    watch: Watch | None = None,
    seed: int = 0,
) -> dict[Arm, list[list[Result]]]:
    """As `interleaved`, with rounds in which the arms take turns at every part, in an order drawn anew.

    So noise that lasts longer than a part meets all arms of a round alike.

    Args:
        arms: what is measured: each does one part after the other, in their order.
        parts: of a round.
        effort: how many rounds.
        watch: called with the rounds that are done and those there will be.
        seed: of the orders.

    Returns:
        For each arm what it gave: rounds of parts.
    """
    shuffled = random.Random(seed)
    begun = effort.clock()
    for part in parts:
        for measure in arms.values():
            measure(part)
    rounds = effort.count(effort.clock() - begun)
    found: dict[Arm, list[list[Result]]] = {arm: [] for arm in arms}
    for done in range(rounds):
        if watch is not None:
            watch(done, rounds)
        for arm in arms:
            found[arm].append([])
        for part in parts:
            for arm in shuffled.sample(list(arms), len(arms)):
                found[arm][-1].append(arms[arm](part))
    return found


def _ignoring_the_part(measure: Callable[[], Result]) -> Callable[[None], Result]:
    return lambda _: measure()
