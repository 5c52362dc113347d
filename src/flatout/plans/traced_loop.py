"""What loops over a traced step share: a first step in eager, a graph a batch size, learning rates."""

from __future__ import annotations

import copy
from abc import abstractmethod
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from flatout.data.resident import ResidentData
from flatout.data.source import Data
from flatout.errors import PlanRefusedError
from flatout.plans.base import Loop, scheduler_of_steps
from flatout.plans.eager import EagerLoop
from flatout.step.graph import Scalar, scalar_values, state_of
from flatout.task.task import Task


class TracedLoop(Loop):
    """Steps that run from a traced graph, on the live tensors of the task, in place.

    Args:
        task: what to train; it lies on the device of the data.
        data: its resident data.

    Attributes:
        plan: the name of the plan, for its messages.
        task, data: the arguments.
        leaves: the tensors of the data, contiguous.
    """

    plan: ClassVar[str]

    def __init__(self, task: Task, data: ResidentData) -> None:
        self._refuse_cycled_options(task)
        self._options = _options(task)
        self._bind(task, data)
        traced = with_state(task, data)
        try:
            for batch_size in data.batch_sizes:
                self.build(traced, batch_size)
        except PlanRefusedError:
            if traced is task:
                a_step_ahead(task, data)  # raises where it is the task, not the plan, that is at fault
            raise

    @abstractmethod
    def build(self, task: Task, batch_size: int) -> None:
        """Make the step for one batch size, from a task whose optimizer has its state.

        That task may be a copy of the one that is trained.

        Raises:
            PlanRefusedError: it cannot be made; the message says why.
        """

    @abstractmethod
    def steps(self, order: Tensor) -> Tensor:
        """Run the steps of `order`; the optimizer has its state."""

    def advance(self, order: Tensor) -> Tensor:
        if _options(self.task) != self._options:
            return self._eager.advance(order)  # someone changed what is a constant in the step
        if has_state(self.task):
            return self.steps(order)
        first = self._eager.advance(order[:1])  # the optimizer makes its state in its own first step
        return torch.cat([first, self.steps(order[1:]).to(first.dtype)]) if len(order) > 1 else first

    def for_task(self, task: Task, data: Data) -> Loop | None:
        if not isinstance(data, ResidentData) or _options(task) != self._options:
            return None
        if self.layout(task, data) != self.layout(self.task, self.data):
            return None
        twin = copy.copy(self)
        twin._bind(task, data)
        return twin

    def _bind(self, task: Task, data: ResidentData) -> None:
        self.task = task
        self.data = data
        self.leaves = [leaf.contiguous() for leaf in pytree.tree_leaves(data.tensors)]
        self._scheduler = scheduler_of_steps(task, data)
        self._eager = EagerLoop(task, data)

    def layout(self, task: Task, data: ResidentData) -> list[object]:
        """What a prepared step takes for granted of a task and its data."""
        tensors = [*task.model.parameters(), *task.model.buffers(), *pytree.tree_leaves(data.tensors)]
        return [
            type(task.optimizer),
            task.clip_grad_norm,
            data.batch_sizes,
            *((t.shape, t.stride(), t.dtype, t.device, t.requires_grad) for t in tensors),
        ]

    def scalars_of(self, scalars: tuple[Scalar, ...], steps: int) -> Tensor:
        """The learning rates of the next steps, float64 `[steps, scalars]`; moves the scheduler on."""
        if self._scheduler is None:
            now = torch.tensor([scalar_values(self.task, scalars)], dtype=torch.float64)
            return now.expand(steps, -1).contiguous()
        optimizer: Any = self.task.optimizer
        rows = []
        for _ in range(steps):
            rows.append(scalar_values(self.task, scalars))
            optimizer._opt_called = True  # schedulers watch for calls of `optimizer.step`; there are none
            self._scheduler.step()
        return torch.tensor(rows, dtype=torch.float64).view(steps, -1)

    def _refuse_cycled_options(self, task: Task) -> None:
        pending: list[Any] = [task.scheduler]
        while pending:
            scheduler = pending.pop()
            if getattr(scheduler, "cycle_momentum", False):
                raise PlanRefusedError(
                    f"the plan {self.plan} has the momentum as a constant, and {type(scheduler).__name__} "
                    "changes it at each step (cycle_momentum=False leaves it alone)"
                )
            pending += getattr(scheduler, "_schedulers", [])


# Of a group of parameters: what comes in with each step, and what schedulers note for themselves.
_NOT_BAKED = {"params", "lr", "initial_lr", "max_lr", "min_lr", "swa_lr"}


def _options(task: Task) -> list[dict[str, Any]]:
    """The options of the optimizer that a prepared step has as constants."""
    return [
        {key: value for key, value in group.items() if key not in _NOT_BAKED and "momentum_" not in key}
        for group in task.optimizer.param_groups
    ]


def with_state(task: Task, data: ResidentData) -> Task:
    """The task, or, where its optimizer has made no state yet, a copy that has taken a step."""
    return task if has_state(task) else a_step_ahead(task, data)


def a_step_ahead(task: Task, data: ResidentData) -> Task:
    """A copy that has taken one step in eager.

    Raises:
        TaskError: the loss is no scalar, or does not depend on the parameters.
    """
    ahead = task.copied_to(data.device)
    EagerLoop(ahead, data).advance(torch.arange(data.batch_size).view(1, -1))
    return ahead


def live_state(task: Task) -> list[Tensor]:
    """The tensors a step of the task reads and writes, in the order of the layout."""
    return [tensor.detach() for _, tensor in state_of(task).values()]


def has_state(task: Task) -> bool:
    """Whether the optimizer has made its state."""
    groups = task.optimizer.param_groups
    if type(task.optimizer) is torch.optim.SGD and not any(group["momentum"] for group in groups):
        return True  # it keeps none
    return bool(task.optimizer.state)
