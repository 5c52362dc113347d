"""Which plan on which device a training takes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from flatout.data.source import Data
from flatout.errors import PlanRefusedError
from flatout.plans.base import Loop, Plan
from flatout.plans.eager import EagerPlan
from flatout.plans.registry import find_plan
from flatout.racing.race import CopyError, decide, undisturbed
from flatout.racing.words import first_line
from flatout.task.task import Task
from flatout.training.python_state import python_state, set_python_state


@dataclass
class Choice:
    """A plan, where it runs, and why.

    Attributes:
        plan: the plan.
        device: where.
        auto: whether it was chosen here, so that eager may take its place.
        why: the reason in words, or None where the user asked for it.
        loop: prepared by the race, on a copy of the task.
    """

    plan: Plan
    device: torch.device
    auto: bool
    why: str | None = None
    loop: Loop | None = None

    def prepare(self, task: Task, data: Data) -> Loop:
        """The loop of the plan on the live task, whose Python state stays as it is.

        Raises:
            PlanRefusedError: the plan was asked for and cannot run this task.
        """
        before = python_state(task)
        try:
            with undisturbed():
                ready = None if self.loop is None else self.loop.for_task(task, data)
                return self.plan.prepare(task, data) if ready is None else ready
        except PlanRefusedError as refusal:
            if not self.auto:
                raise
            self.why = f"{self.plan.name} was chosen before, but now {first_line(str(refusal))}"
            self.plan = EagerPlan()
            return self.plan.prepare(task, data)
        finally:
            self.loop = None  # with it goes the copy
            set_python_state(task, before)


def choose(
    task: Task, wish: str, devices: Sequence[torch.device], recorded: str | None, *, check: bool = True
) -> Choice:
    """The plan asked for; for "auto" that of the resumed run, else the winner of a race.

    Args:
        task: checked, on the first of `devices`.
        wish: a plan or "auto".
        devices: where it may run.
        recorded: the plan of the run that is resumed, or None.
        check: whether a plan has to agree with eager before it may win.

    Raises:
        PlanRefusedError: there is no plan of that name.
    """
    if wish != "auto":
        return Choice(find_plan(wish), devices[0], auto=False)
    if recorded is not None:
        return Choice(find_plan(recorded), devices[0], auto=True)
    try:
        race = decide(task, devices, check=check)
    except CopyError as error:
        return Choice(EagerPlan(), devices[0], auto=True, why=str(error))
    except Exception:  # noqa: BLE001
        # The task itself raises, and will again: training says so with all it knows.
        return Choice(EagerPlan(), devices[0], auto=True)
    plan, device = find_plan(race.winner.plan), torch.device(race.winner.device)
    return Choice(plan, device, auto=True, why=race.reason, loop=race.loop)
