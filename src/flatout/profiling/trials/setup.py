"""What all experiments work with: the copy as the script has it, a clock, and the seconds that are left."""

from __future__ import annotations

from collections.abc import Callable
from statistics import median
from typing import Any, Final

import torch

from flatout.hardware.free_memory import free_memory
from flatout.profiling.evidence import AbstainError
from flatout.profiling.subject import Subject
from flatout.profiling.trials.pairs import compare
from flatout.profiling.trials.replica import PARTS, Replica, check_repeatable
from flatout.profiling.trials.trial import STEP, Trial

_EACH: Final = 0.5  # seconds for an experiment, where its steps are quick
_COPIES: Final = 10  # two copies, each with gradients and two states of an optimizer, and what a step keeps


class Setup:
    """One script's copy, and how to time it.

    Args:
        subject: what is copied.
        seconds: for all experiments together.
        zeroes: whether the script's `zero_grad` keeps the gradients and fills them with zeros.
        cpus: that this process may use.
        clock: tells the seconds.

    Raises:
        AbstainError: no experiment is possible.
    """

    def __init__(
        self, subject: Subject, *, seconds: float, zeroes: bool, cpus: int, clock: Callable[[], float]
    ) -> None:
        _check(subject)
        self.subject, self.zeroes, self.cpus, self.clock = subject, zeroes, cpus, clock
        self._until = clock() + seconds
        self.base = Replica(subject, clock=clock)
        self.base.set_to_none = not zeroes
        check_repeatable(self.base)

    @property
    def left(self) -> float:
        """Seconds."""
        return max(0.0, self._until - self.clock())

    def copy(self, **options: Any) -> Replica:
        """Another copy; takes what `Replica` takes."""
        new = Replica(self.subject, clock=self.clock, **options)
        new.set_to_none = self.base.set_to_none
        return new

    def trial(
        self,
        before: Replica,
        after: Replica,
        setting: str,
        *,
        parts: tuple[str, ...] = PARTS,
        alike: tuple[str, ...] = STEP,
    ) -> Trial:
        """Time both in turn.

        Args:
            before: as the script does it.
            after: with one thing changed.
            setting: what that is.
            parts: of a step that count. A GPU's are always all.
            alike: see `Trial`.

        Raises:
            AbstainError: there is not the time.
        """
        common: list[float] = []

        def as_it_is(steps: int) -> float:
            before.run(steps)
            common.append(before.took(alike))
            return before.took(parts)

        def changed(steps: int) -> float:
            after.run(steps)
            return after.took(parts)

        found = compare(as_it_is, changed, budget=min(_EACH, self.left), most=self.left, clock=self.clock)
        return Trial(
            found.before,
            found.after,
            found.gain,
            found.low,
            found.high,
            found.count,
            alike,
            median(common),
            setting,
        )


def _check(subject: Subject) -> None:
    if not subject.alone:
        raise AbstainError("the script trains in several processes: one of them cannot run its model alone")
    if any(_compiled(module) for module in subject.model.modules()):
        raise AbstainError("the model is compiled: its copy would be compiled anew")
    tensors = [*subject.model.parameters(), *subject.model.buffers()]
    needed = _COPIES * sum(t.numel() * t.element_size() for t in tensors) + _worst(subject.device)
    free = free_memory(subject.device)
    if free is not None and needed > free:
        raise AbstainError(
            f"copies of the model need about {needed / 1e9:.1f} GB of memory; {free / 1e9:.1f} GB are free"
        )


def _compiled(module: torch.nn.Module) -> bool:
    return type(module).__name__ == "OptimizedModule" or module._compiled_call_impl is not None


def _worst(device: torch.device) -> int:
    """The memory that the script needed at its worst moment, beyond what is still there."""
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device) - torch.cuda.memory_allocated(device))
    return 0
