"""All that the windows saw of a script, as the rules read it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import fmean
from typing import Final

from flatout.profiling.stamps import StepTime
from flatout.profiling.subject import Subject
from flatout.profiling.tracing.seen import Traced
from flatout.profiling.trials.trial import Trial, Trials
from flatout.profiling.watch.compiled import Recompiled
from flatout.profiling.watch.passes import Passes
from flatout.profiling.watch.seen import Seen

_OFTEN: Final = 0.5  # times a step
_SELDOM: Final = 0.02
_TAKES: Final = 0.05  # of a step
_SURE: Final = 3  # times
_SLOWEST: Final = 20  # one of so many is out of the ordinary


@dataclass(frozen=True)
class Evidence:
    """What was measured; there is at least one bare step and one whose lines were looked at.

    Attributes:
        bare: the ordinary steps of the bare windows.
        seen: what the windows of lines saw.
        device: the type of the device where the model lies, or None.
        every: all steps of the bare windows.
        passes: how models were called, in every window.
        detach_s: seconds that `loss.detach()` and `append` take, which a read put off costs instead.
        clock_s: seconds that reading the clock adds to every call that is timed.
        cpus: how many CPUs this process can keep busy, or None.
        threads: with how many torch computes.
        recompiled: what torch.compile compiled again after the warm-up.
        subject: the model that experiments copy, or None.
        trials: what they measured.
        traced: what the profiler's trace tells: what a step does, and its layers.
    """

    bare: Sequence[StepTime]
    seen: Seen
    device: str | None
    every: Sequence[StepTime] = ()
    passes: Passes = field(default_factory=Passes)
    detach_s: float = 0.0
    clock_s: float = 0.0
    cpus: float | None = None
    threads: int = 1
    recompiled: Sequence[Recompiled] = ()
    subject: Subject | None = None
    trials: Trials = field(default_factory=Trials.not_made)
    traced: Traced = field(default_factory=Traced)

    @property
    def step_s(self) -> float:
        """Seconds of an ordinary step."""
        return fmean(time.total for time in self.bare)

    @property
    def mean_s(self) -> float:
        """Seconds of a step where all count, also those out of the ordinary: for what is seldom."""
        return self.passes.seconds / self.passes.steps if self.passes.steps else self.step_s

    @property
    def on_cpu(self) -> bool:
        """Whether the model lies on the CPU, where a read waits for nothing."""
        return self.device == "cpu"

    def cost(self, times: Sequence[float]) -> Cost | None:
        """What calls that took these seconds, in the windows of lines, cost a step.

        None where they are no matter: they have to be in most steps, or else in every fiftieth or more, take
        a twentieth of the time, and have been seen three times.
        """
        spent = [max(0.0, seconds - self.clock_s) for seconds in times]
        if not spent:
            return None
        count = len(spent) / self.seen.steps
        cost = Cost(count, count * typical(spent), count * quantile(spent, 0.25))
        matters = len(spent) >= _SURE and count > _SELDOM and cost.seconds >= _TAKES * self.step_s
        return cost if count >= _OFTEN or matters else None

    def trial(self, name: str) -> Trial | None:
        """What an experiment measured; None where there was nothing to change.

        Raises:
            AbstainError: it was not possible.
        """
        why = self.trials.none or self.trials.impossible.get(name)
        if why is not None:
            raise AbstainError(why)
        return self.trials.measured.get(name)


@dataclass(frozen=True)
class Cost:
    """What calls cost.

    Attributes:
        count: of them, a step.
        seconds: they take of a step, without the slowest of them.
        low: seconds, were each as quick as the quickest quarter of them.
    """

    count: float
    seconds: float
    low: float


class AbstainError(Exception):
    """A rule cannot judge; its text says which signal is missing."""


def typical(values: Sequence[float]) -> float:
    """The mean without the largest 5 %, as for the steps.

    >>> typical([1.0] * 19 + [50.0])
    1.0
    """
    ordered = sorted(values)
    return fmean(ordered[: len(ordered) - len(ordered) // _SLOWEST])


def quantile(values: Sequence[float], part: float) -> float:
    """The value below which a part of the values lie.

    >>> quantile([3.0, 1.0, 2.0], 0.5)
    2.0
    """
    ordered = sorted(values)
    return ordered[round(part * (len(ordered) - 1))]
