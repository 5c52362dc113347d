"""From what size on is which device faster? Time of a training step against batch and against width.

Every contestant at every size takes a turn in every round. What a step costs whatever its size is Python,
dispatch and launches; the rest grows with the work. A device that computes faster but starts more slowly wins
only beyond the crossing.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch

from flatout.errors import LabError, PlanRefusedError
from flatout.labs import mlp_steps
from flatout.labs.line import Floats, Line, crossing_of, line_of
from flatout.labs.mlp_steps import Run
from flatout.labs.paired import Interval
from flatout.labs.rounds import Effort, Watch, interleaved

BATCH, WIDTH = 64, 64
"""What stays the same while the other one grows."""
LEAST_ROUNDS = 5

_SMALLEST_WIDTH = 8
_LONG_ENOUGH = 0.015  # seconds: the clock and Python around a run no longer show
_MOST_STEPS = 1 << 16


@dataclass(frozen=True)
class Contestant:
    """A way to run the steps."""

    plan: str
    device: str

    @property
    def name(self) -> str:
        """For people.

        >>> Contestant("eager", "cuda:0").name
        'eager on cuda:0'
        """
        return f"{self.plan} on {self.device}"


@dataclass(frozen=True)
class Sweep:
    """What grows, and through which sizes.

    Attributes:
        what: "batch" or "width".
        sizes: rising.
    """

    what: Literal["batch", "width"]
    sizes: tuple[int, ...]

    def shape(self, size: int) -> tuple[int, int]:
        """Batch and width."""
        return (size, WIDTH) if self.what == "batch" else (BATCH, size)

    def work(self, size: float) -> float:
        """To what the work of a step is proportional: samples, or weights."""
        return size if self.what == "batch" else mlp_steps.weights(round(size))

    def size_of(self, work: float) -> float:
        """The size at which there is so much work."""
        return work if self.what == "batch" or not np.isfinite(work) else mlp_steps.width_of(work)


@dataclass(frozen=True)
class Curve:
    """A contestant over the sizes of a sweep.

    Attributes:
        contestant: which.
        times: seconds a step, [rounds, sizes].
        line: the fit, over the work.
        balance: the size at which the fixed cost and the work take the same time.
    """

    contestant: Contestant
    times: Floats
    line: Line
    balance: Interval


@dataclass(frozen=True)
class Crossing:
    """From what size on one contestant is faster than another.

    Attributes:
        first, second: the second is the faster one beyond `size`.
        size: 0: it is at every size that was measured; infinity: at none.
        by_fit: where the lines cross beyond the sizes that were measured; None: they do not, or within.
        but: sizes below the crossing at which the second was the faster one all the same.
    """

    first: Contestant
    second: Contestant
    size: Interval
    by_fit: float | None
    but: tuple[int, ...]


@dataclass(frozen=True)
class Swept:
    """What a sweep came to."""

    sweep: Sweep
    curves: tuple[Curve, ...]
    crossings: tuple[Crossing, ...]


Prepare = Callable[[str, torch.device, int, int], Run]


def sweeps(largest_batch: int, largest_width: int) -> tuple[Sweep, Sweep]:
    """The sizes, each four times (batch) or twice (width) the one before.

    Raises:
        LabError: too few sizes fit below the largest to see anything.

    Example:
        >>> sweeps(64, 64)[0].sizes, sweeps(64, 64)[1].sizes
        ((1, 4, 16, 64), (8, 16, 32, 64))
    """
    if largest_batch < 64:
        raise LabError(f"--largest-batch must be 64 or more, to see anything grow, but is {largest_batch}")
    if largest_width < 64:
        raise LabError(f"--largest-width must be 64 or more, to see anything grow, but is {largest_width}")
    return (
        Sweep("batch", tuple(_growing(1, 4, largest_batch))),
        Sweep("width", tuple(_growing(_SMALLEST_WIDTH, 2, largest_width))),
    )


def _growing(size: int, factor: int, largest: int) -> list[int]:
    return list(itertools.takewhile(lambda s: s <= largest, (size * factor**i for i in range(64))))


def run_lab(
    devices: Sequence[torch.device],
    asked: Sequence[Sweep],
    *,
    native: bool = True,
    effort: Effort | None = None,
    prepare: Prepare = mlp_steps.prepare,
    watch: Watch | None = None,
    say: Callable[[str], object] = lambda _: None,
) -> tuple[tuple[Swept, ...], tuple[str, ...]]:
    """Time every contestant at every size; returns what each sweep came to, and why some are left out.

    Args:
        devices: where eager runs.
        asked: the sweeps.
        native: whether the plan `native` takes part where the CPU does.
        effort: how many rounds.
        prepare: makes the steps of a plan on a device for a batch and a width.
        watch: called with the rounds that are done and those there will be.
        say: called with what is prepared.

    Raises:
        LabError: there are too few rounds for an interval.
    """
    effort = effort or Effort(seconds=30.0)
    if effort.rounds is not None and effort.rounds < LEAST_ROUNDS:
        raise LabError(
            f"{effort.rounds} rounds are too few for an interval; give --rounds {LEAST_ROUNDS} or more"
        )
    contestants = [Contestant("eager", str(device)) for device in devices]
    if native and any(device.type == "cpu" for device in devices):
        contestants.append(Contestant("native", "cpu"))
    arms: dict[tuple[Contestant, int, int], Callable[[], float]] = {}
    left_out = []
    for contestant in contestants:
        try:
            arms |= _prepared(contestant, asked, prepare, say)
        except PlanRefusedError as error:
            left_out.append(f"{contestant.name} is left out: {str(error).partition(chr(10))[0]}")
    found = interleaved(arms, effort, watch=watch)
    running = [one for one in contestants if any(one == key[0] for key in arms)]
    swept = []
    for sweep in asked:
        times = {one: np.array([found[one, *sweep.shape(size)] for size in sweep.sizes]).T for one in running}
        swept.append(swept_of(sweep, times))
    return tuple(swept), tuple(left_out)


def _prepared(
    contestant: Contestant, asked: Sequence[Sweep], prepare: Prepare, say: Callable[[str], object]
) -> dict[tuple[Contestant, int, int], Callable[[], float]]:
    """For each size a function that runs enough steps and returns the seconds of one."""
    arms: dict[tuple[Contestant, int, int], Callable[[], float]] = {}
    for batch, width in dict.fromkeys(sweep.shape(size) for sweep in asked for size in sweep.sizes):
        say(f"{contestant.name}: batch {batch:,}, width {width:,}")
        run = prepare(contestant.plan, torch.device(contestant.device), batch, width)
        arms[contestant, batch, width] = _a_step(run, _enough(run))
    return arms


def _a_step(run: Run, steps: int) -> Callable[[], float]:
    return lambda: run(steps) / steps


def _enough(run: Run) -> int:
    """The steps of a run that is long enough to be timed."""
    run(1)
    steps = 1
    # The least of three: one that was disturbed would end this too soon.
    while (took := min(run(steps) for _ in range(3))) < _LONG_ENOUGH / 3 and steps < _MOST_STEPS:
        steps *= 4
    return max(1, min(_MOST_STEPS, round(steps * _LONG_ENOUGH / max(took, 1e-9))))


def swept_of(sweep: Sweep, times: dict[Contestant, Floats]) -> Swept:
    """The curves of a sweep and where they cross, from seconds a step, [rounds, sizes] each."""
    work = [sweep.work(size) for size in sweep.sizes]
    curves = []
    for contestant, measured in times.items():
        line = line_of(work, measured)
        ends = (line.balance.estimate, line.balance.low, line.balance.high)
        balance = Interval(*(sweep.size_of(end) for end in ends))
        curves.append(Curve(contestant, measured, line, balance))
    pairs = [pair for pair in itertools.permutations(curves, 2) if _is_asked(*pair)]
    return Swept(sweep, tuple(curves), tuple(_crossing(sweep, *pair) for pair in pairs))


def _is_asked(first: Curve, second: Curve) -> bool:
    """Whether somebody may expect the second to overtake: a GPU the CPU, eager what starts nothing."""
    one, other = first.contestant, second.contestant
    if one.plan == other.plan == "eager":
        return one.device == "cpu" and other.device != "cpu"
    return one.plan == "native" and other.plan == "eager"


def _crossing(sweep: Sweep, first: Curve, second: Curve) -> Crossing:
    work = crossing_of([sweep.work(size) for size in sweep.sizes], first.times, second.times)
    size = Interval(*(sweep.size_of(end) for end in (work.estimate, work.low, work.high)))
    by_fit = None
    if size.estimate > sweep.sizes[-1]:
        gained = first.line.slope.estimate - second.line.slope.estimate
        lost = second.line.fixed.estimate - first.line.fixed.estimate
        beyond = sweep.size_of(lost / gained) if gained > 0 else 0.0
        by_fit = beyond if beyond > sweep.sizes[-1] else None
    ahead = np.median(second.times, axis=0) < np.median(first.times, axis=0)
    but = tuple(s for s, won in zip(sweep.sizes, ahead, strict=True) if won and s < size.estimate)
    return Crossing(first.contestant, second.contestant, size, by_fit, but)
