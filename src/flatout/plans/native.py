"""The plan `native`: the whole step as generated C, thousands of steps a call.

The step is traced, lowered to loop nests and compiled once. It works in place on the tensors of the model
and the optimizer. What it cannot do it refuses, naming the operator and the layer.
"""

from __future__ import annotations

import math
import os
import time

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from flatout.codegen.build import CacheError
from flatout.codegen.compiler import CompilerFailedError, NoCompilerError
from flatout.codegen.lower import NotLoweredError
from flatout.codegen.native_step import NativeStep, narrow_leaves
from flatout.data.check import is_cross_entropy
from flatout.data.resident import ResidentData
from flatout.data.source import Data
from flatout.errors import PlanRefusedError
from flatout.plans.base import Loop, Plan
from flatout.plans.traced_loop import TracedLoop, live_state
from flatout.step.graph import StepGraph
from flatout.step.loss import loss_function
from flatout.step.trace import trace
from flatout.step.untouched import NotTracedError
from flatout.task.task import Task


class NativePlan(Plan):
    """Generated C. For resident data on the CPU, and operators that have a lowering."""

    name = "native"

    def least_setup(self, task: Task) -> float:
        matrices = sum(p.requires_grad and p.dim() > 1 for m in task.modules() for p in m.parameters())
        update = 1.0 if isinstance(task.optimizer, torch.optim.SGD) else 1.5
        return 0.2 + 0.2 * matrices * update  # on two cores, to trace and build

    def prepare(self, task: Task, data: Data) -> Loop:
        return self.prepare_within(task, data, math.inf)

    def prepare_within(self, task: Task, data: Data, most_s: float) -> Loop:
        if data.device.type != "cpu":
            raise PlanRefusedError(f"the plan native runs on the CPU, and the task lies on {data.device}")
        if not isinstance(data, ResidentData):
            raise PlanRefusedError("the plan native needs resident data (tensors), and this data streams in")
        return NativeLoop(task, data, most_s)


class NativeLoop(TracedLoop):
    """Steps in C, a function for each batch size (that of the last batch of an epoch may differ)."""

    plan = "native"

    def __init__(self, task: Task, data: ResidentData, most_s: float = math.inf) -> None:
        self._deadline = time.perf_counter() + most_s
        self._steps: dict[int, tuple[StepGraph, NativeStep]] = {}
        _check_indices(task, data)
        super().__init__(task, data)
        edit = os.environ.get("FLATOUT_SOURCE")
        if edit and not any(step.built.edited for _, step in self._steps.values()):
            raise PlanRefusedError(
                f"the plan native does not run {edit} (FLATOUT_SOURCE): its first line is not that of "
                f"the C of {task.name}, so it was made from another step; write it anew with "
                "flatout graph --code and edit that, keeping its first line"
            )

    def build(self, task: Task, batch_size: int) -> None:
        (batch,) = self.data.batches(torch.arange(batch_size).view(1, -1))
        title = f"{task.name}: steps of {batch_size} samples"
        try:
            graph = trace(task, batch)
            left = (self._deadline - time.perf_counter()) / (len(self.data.batch_sizes) - len(self._steps))
            step = NativeStep(graph, live_state(task), self.leaves, title, left)
            self._steps[batch_size] = graph, step
        except (NotTracedError, NotLoweredError, NoCompilerError, CompilerFailedError, CacheError) as error:
            raise PlanRefusedError(f"the plan native cannot run {task.name}: {error}") from error

    def layout(self, task: Task, data: ResidentData) -> list[object]:
        return [*super().layout(task, data), narrow_leaves(pytree.tree_leaves(data.tensors))]

    def graph(self) -> StepGraph:
        return self._steps[self.data.batch_size][0]

    def steps(self, order: Tensor, scalars: Tensor) -> Tensor:
        _, step = self._steps[order.shape[1]]
        # Loading a state puts new tensors into the optimizer, and another task may share the step.
        step.bind(live_state(self.task), self.leaves)
        return step.run(order, scalars, self.task.seed, self.step)


def _check_indices(task: Task, data: ResidentData) -> None:
    """Let eager look at every sample once where whole numbers of the data may be indices.

    Generated C reads at an index without asking whether it is one of the tensor's; eager asks, and what it
    raises is raised here. The labels of a cross-entropy were checked with the data.
    """
    leaves = pytree.tree_leaves(data.tensors)
    known = leaves[-1:] if is_cross_entropy(task.loss) else []
    if all(leaf.is_floating_point() or any(leaf is one for one in known) for leaf in leaves):
        return
    twin = task.copied_to(data.device)
    loss_of = loss_function(twin)
    size = data.batch_size
    with torch.random.fork_rng(devices=[]):
        for begin in range(0, data.samples, size):
            index = torch.arange(size) + min(begin, data.samples - size)
            loss_of(next(iter(data.batches(index.view(1, -1)))))
