"""What loops over a traced step share: a first step in eager, a graph a batch size, options that change."""

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
from flatout.step.graph import scalar_values, state_of
from flatout.step.options import changes_only_rates, constant_options, scalars_of
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
        self._bind(task, data)
        traced = with_state(task, data)
        self._scalars = scalars_of(traced)
        self._constants = constant_options(traced, self._scalars)
        self._tensors = len(state_of(traced))
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
    def steps(self, order: Tensor, scalars: Tensor) -> Tensor:
        """Run the steps of `order`, the first of them number `self.step`; the optimizer has its state.

        Args:
            order: the samples of each step.
            scalars: the numbers that come in with each step, float64 `[steps, scalars]` on the host.
        """

    def advance(self, order: Tensor) -> Tensor:
        if has_state(self.task):
            return self._steps_of_graph(order)
        first = self._in_eager(order[:1])  # the optimizer makes its state in its own first step
        rest = self._steps_of_graph(order[1:]) if len(order) > 1 else first[:0]
        return torch.cat([first, rest.to(first.dtype)])

    def _steps_of_graph(self, order: Tensor) -> Tensor:
        """The steps the graph can make, and those after them in eager."""
        scalars = self._upcoming(len(order))
        done = len(scalars)
        parts = [self._counted(self.steps(order[:done], scalars))] if done else []
        if done < len(order):
            parts.append(self._in_eager(order[done:]))
        return torch.cat(parts) if len(parts) != 1 else parts[0]

    def _in_eager(self, order: Tensor) -> Tensor:
        return self._counted(self._eager.advance_with_same_numbers(order, self.step))

    def _counted(self, losses: Tensor) -> Tensor:
        self.step += len(losses)
        return losses

    def for_task(self, task: Task, data: Data) -> Loop | None:
        if not isinstance(data, ResidentData) or self._differs(task):
            return None
        if self.layout(task, data) != self.layout(self.task, self.data):
            return None
        twin = copy.copy(self)
        twin._bind(task, data)
        twin.step = 0
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

    def _upcoming(self, steps: int) -> Tensor:
        """The scalars of the next steps, float64 `[steps, scalars]`; moves the scheduler on.

        There are fewer rows where an option that is a constant of the step changes on the way.
        """
        if self._differs(self.task) or len(state_of(self.task)) != self._tensors:
            return torch.empty(0, len(self._scalars), dtype=torch.float64)
        if self._scheduler is None:
            now = torch.tensor([scalar_values(self.task, self._scalars)], dtype=torch.float64)
            return now.expand(steps, -1).contiguous()
        optimizer: Any = self.task.optimizer
        watched = not changes_only_rates(self._scheduler)
        rows: list[list[float]] = []
        while len(rows) < steps and not (watched and self._differs(self.task)):
            rows.append(scalar_values(self.task, self._scalars))
            optimizer._opt_called = True  # schedulers watch for calls of `optimizer.step`; there are none
            self._scheduler.step()
        return torch.tensor(rows, dtype=torch.float64).view(len(rows), len(self._scalars))

    def _differs(self, task: Task) -> bool:
        """Whether an option that is a constant of the step has another value now."""
        return constant_options(task, self._scalars) != self._constants


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
