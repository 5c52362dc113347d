"""What loops over a traced step share: a first step in eager, a graph a batch size, learning rates."""

from __future__ import annotations

import copy
from abc import abstractmethod
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from flatout.data.resident import ResidentData
from flatout.data.source import Data
from flatout.plans.base import Loop, scheduler_of_steps
from flatout.plans.eager import EagerLoop
from flatout.step.graph import Scalar, scalar_values, state_of
from flatout.task.task import Task


class TracedLoop(Loop):
    """Steps that run from a traced graph, on the live tensors of the task, in place.

    Args:
        task: what to train; it lies on the device of the data.
        data: its resident data.
    """

    def __init__(self, task: Task, data: ResidentData) -> None:
        self._bind(task, data)
        traced = with_state(task, data)
        for batch_size in data.batch_sizes:
            self.build(traced, batch_size)

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
        if has_state(self.task):
            return self.steps(order)
        first = self._eager.advance(order[:1])  # the optimizer makes its state in its own first step
        return torch.cat([first, self.steps(order[1:]).to(first.dtype)]) if len(order) > 1 else first

    def for_task(self, task: Task, data: Data) -> Loop | None:
        if not isinstance(data, ResidentData) or _layout(task, data) != _layout(self.task, self.data):
            return None
        twin = copy.copy(self)
        twin._bind(task, data)
        return twin

    def _bind(self, task: Task, data: ResidentData) -> None:
        self.task = task
        self.data = data
        self.leaves = pytree.tree_leaves(data.tensors)
        self._scheduler = scheduler_of_steps(task, data)
        self._eager = EagerLoop(task, data)

    def scalars_of(self, scalars: tuple[Scalar, ...], steps: int) -> list[list[float]]:
        """The learning rates of the next steps, a list a step; moves the scheduler on."""
        if self._scheduler is None:
            return [scalar_values(self.task, scalars)] * steps
        optimizer: Any = self.task.optimizer
        rows = []
        for _ in range(steps):
            rows.append(scalar_values(self.task, scalars))
            optimizer._opt_called = True  # schedulers watch for calls of `optimizer.step`; there are none
            self._scheduler.step()
        return rows


def _layout(task: Task, data: ResidentData) -> list[object]:
    """What a compiled step takes for granted."""
    tensors = [*task.model.parameters(), *task.model.buffers(), *pytree.tree_leaves(data.tensors)]
    return [data.batch_sizes, *((t.shape, t.stride(), t.dtype, t.device) for t in tensors)]


def with_state(task: Task, data: ResidentData) -> Task:
    """The task, or, where its optimizer has made no state yet, a copy that has taken a step."""
    if has_state(task):
        return task
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
