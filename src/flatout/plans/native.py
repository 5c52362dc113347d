"""The plan `native`: the whole step as generated C, thousands of steps a call.

The step is traced, lowered to loop nests and compiled once. It works in place on the tensors of the model
and the optimizer. What it cannot do it refuses, naming the operator and the layer.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from flatout.codegen.build import CacheError
from flatout.codegen.compiler import CompilerFailedError, NoCompilerError
from flatout.codegen.lower import NotLoweredError
from flatout.codegen.native_step import NativeStep
from flatout.data.resident import ResidentData
from flatout.data.source import Data
from flatout.errors import PlanRefusedError
from flatout.plans.base import Loop, Plan, scheduler_of_steps
from flatout.plans.eager import EagerLoop
from flatout.step.graph import StepGraph, scalar_values, state_of
from flatout.step.trace import trace
from flatout.step.untouched import NotTracedError
from flatout.task.task import Task


class NativePlan(Plan):
    """Generated C. For resident data on the CPU, and operators that have a lowering."""

    name = "native"

    def prepare(self, task: Task, data: Data) -> Loop:
        if data.device.type != "cpu":
            raise PlanRefusedError(f"the plan native runs on the CPU, and the task lies on {data.device}")
        if not isinstance(data, ResidentData):
            raise PlanRefusedError("the plan native needs resident data (tensors), and this data streams in")
        return NativeLoop(task, data)


class NativeLoop(Loop):
    """Steps in C, a function for each batch size (that of the last batch of an epoch may differ)."""

    def __init__(self, task: Task, data: ResidentData) -> None:
        self._belong_to(task, data)
        self._steps: dict[int, tuple[StepGraph, NativeStep]] = {}
        self._options = _options(task)
        _refuse_cycled_options(task)
        traced = task
        if not _has_state(task):
            # The optimizer makes its state in its first step: a copy makes it ahead, to be traced.
            traced = task.copied_to("cpu")
            EagerLoop(traced, data).advance(torch.arange(data.batch_size).view(1, -1))
        for batch_size in data.batch_sizes:
            self._steps[batch_size] = make_step(traced, data, batch_size)

    def _belong_to(self, task: Task, data: ResidentData) -> None:
        self._task = task
        self._data = data
        self._scheduler = scheduler_of_steps(task, data)
        self._eager = EagerLoop(task, data)

    def for_task(self, task: Task, data: Data) -> Loop | None:
        if not isinstance(data, ResidentData) or _options(task) != self._options:
            return None
        self._belong_to(task, data)
        for _, step in self._steps.values():
            step.use_data(pytree.tree_leaves(data.tensors))
        return self

    def advance(self, order: Tensor) -> Tensor:
        if _has_state(self._task):
            return self._run(order)
        # The optimizer makes its state in its own first step.
        first = self._eager.advance(order[:1])
        return torch.cat([first, self._run(order[1:]).to(first.dtype)]) if len(order) > 1 else first

    def _run(self, order: Tensor) -> Tensor:
        if _options(self._task) != self._options:
            return self._eager.advance(order)  # someone changed what is a constant in the generated code
        graph, step = self._steps[order.shape[1]]
        step.bind(live_state(self._task))  # loading a state puts new tensors into the optimizer
        return step.run(order, self._scalars(graph, len(order)))

    def _scalars(self, graph: StepGraph, steps: int) -> Tensor:
        """The learning rates of the next steps, float64 `[steps, scalars]`; moves the scheduler on."""
        if self._scheduler is None:
            now = torch.tensor([scalar_values(self._task, graph.scalars)], dtype=torch.float64)
            return now.expand(steps, -1).contiguous()
        rows = []
        for _ in range(steps):
            rows.append(scalar_values(self._task, graph.scalars))
            _tell_scheduler(self._task)
            self._scheduler.step()
        return torch.tensor(rows, dtype=torch.float64).view(steps, -1)


def make_step(task: Task, data: ResidentData, batch_size: int) -> tuple[StepGraph, NativeStep]:
    """Trace and build the step of a task for one batch size.

    Raises:
        PlanRefusedError: it cannot be traced, lowered or compiled; the message says what stands in the way.
    """
    (batch,) = data.batches(torch.arange(batch_size).view(1, -1))
    try:
        graph = trace(task, batch)
        title = f"{task.name}: steps of {batch_size} samples"
        return graph, NativeStep(graph, live_state(task), pytree.tree_leaves(data.tensors), title)
    except (NotTracedError, NotLoweredError, NoCompilerError, CompilerFailedError, CacheError) as error:
        raise PlanRefusedError(f"the plan native cannot run {task.name}: {error}") from error


def live_state(task: Task) -> list[Tensor]:
    """The tensors a step of the task reads and writes, in the order of the layout."""
    return [tensor.detach() for _, tensor in state_of(task).values()]


# Of a group of parameters: what comes in with each step, and what schedulers note for themselves.
_NOT_BAKED = {"params", "lr", "initial_lr", "max_lr", "min_lr", "swa_lr"}


def _options(task: Task) -> list[dict[str, Any]]:
    """The options of the optimizer that the generated code has as constants."""
    return [
        {key: value for key, value in group.items() if key not in _NOT_BAKED and "momentum_" not in key}
        for group in task.optimizer.param_groups
    ]


def _refuse_cycled_options(task: Task) -> None:
    pending: list[Any] = [task.scheduler]
    while pending:
        scheduler = pending.pop()
        if getattr(scheduler, "cycle_momentum", False):
            raise PlanRefusedError(
                f"the plan native has the momentum as a constant, and {type(scheduler).__name__} changes it "
                "at each step (cycle_momentum=False leaves it alone)"
            )
        pending += getattr(scheduler, "_schedulers", [])


def _has_state(task: Task) -> bool:
    """Whether the optimizer has made its state for every parameter it updates."""
    if type(task.optimizer) is torch.optim.SGD and not any(
        g["momentum"] for g in task.optimizer.param_groups
    ):
        return True  # it keeps none
    return bool(task.optimizer.state)


def _tell_scheduler(task: Task) -> None:
    """Schedulers watch for calls of `optimizer.step`, which the generated steps do not make."""
    optimizer: Any = task.optimizer
    optimizer._opt_called = True
