"""What a plan promises: prepare a task once, then run as many of its steps a call as it is asked to."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

from torch import Tensor
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from flatout.data.source import Data
from flatout.step.graph import StepGraph
from flatout.task.task import Task


class Loop(ABC):
    """A prepared plan: it holds the task's state on the device and runs its steps.

    Attributes:
        step: the number of the next step in the whole training. The loops over a traced step count it, as
            their random numbers depend on it; a training that is resumed sets it.
    """

    step: int = 0

    @abstractmethod
    def advance(self, order: Tensor) -> Tensor:
        """Run `len(order)` steps and return their losses `[steps]`, on the device, without waiting for it.

        Args:
            order: the samples of each step, int64 `[steps, batch]` as `Data.take` gives it.

        Returns:
            One loss a step; fewer than asked where data that streams reaches the end of its epoch.

        Raises:
            TaskError: the loss is no scalar, or does not depend on the parameters.
            DeviceMismatchError: tensors of one operation lie on different devices.
        """

    def store(self) -> None:
        """Bring the state back into the task's model and optimizer.

        Called before anything outside the plan looks at them. A plan that works on them in place has
        nothing to do.
        """

    def for_task(self, task: Task, data: Data) -> Loop | None:
        """The same preparation for another task of the same layout, or None where it has to be made anew.

        The race prepares a plan on a copy; with this its winner need not be prepared again.
        """
        return None

    def graph(self) -> StepGraph | None:
        """The traced step this loop was made from, of a whole batch; None where it needs none."""
        return None


class Plan(ABC):
    """A way to run the steps of a task on a device.

    Attributes:
        name: what it is asked for by.
        least_setup_s: seconds its set-up takes at the very least the first time.
    """

    name: ClassVar[str]
    least_setup_s: ClassVar[float] = 0.3

    def least_setup(self, task: Task) -> float:
        """Seconds the set-up for this task takes at least the first time.

        A race does not begin to set up what would still be at it when the best plan so far is done.
        """
        return self.least_setup_s

    def prepare_within(self, task: Task, data: Data, most_s: float) -> Loop:
        """`prepare`, but given up where it is foreseen to take longer than `most_s` seconds.

        Raises:
            PlanRefusedError: as `prepare` does.
            SetupTooLongError: it was given up.
        """
        return self.prepare(task, data)

    @abstractmethod
    def prepare(self, task: Task, data: Data) -> Loop:
        """Get ready to run the steps of `task`, whose model lies on `data.device`.

        Raises:
            PlanRefusedError: this plan cannot run this task; the message says why.
        """


def scheduler_of_steps(task: Task, data: Data) -> LRScheduler | None:
    """The scheduler a loop has to move after each step; None where training moves it, or there is none.

    With one step an epoch "each epoch" is "each step", and the loop need not be left for it.
    """
    if task.scheduler is None or isinstance(task.scheduler, ReduceLROnPlateau):
        return None
    return task.scheduler if task.scheduler_per == "step" or data.steps_per_epoch == 1 else None
