"""The traced step of a task, with the task left as it was."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from flatout.data.load import load_data
from flatout.data.resident import ResidentData
from flatout.data.source import Batch
from flatout.errors import TaskError
from flatout.hardware.placement import find_device
from flatout.step.graph import StepGraph
from flatout.step.loss import loss_function, raise_bad_loss, raise_independent_loss, trained_parameters
from flatout.step.trace import trace as trace_step
from flatout.step.untouched import NotTracedError
from flatout.task.check import check_task
from flatout.task.task import Task


def trace(task: Task, device: torch.device | str = "cpu") -> StepGraph:
    """One whole training step of `task` as a graph: what it computes, moves and starts.

    Nothing of the task changes: the optimizer makes its state in a copy.

    Args:
        task: what to train. Data that streams is asked for its first batch.
        device: where the step would run.

    Raises:
        TaskError, DataError: the task cannot be trained as it is described, or its step cannot be one graph.
        DeviceNotFoundError: there is no such device.

    Example:
        >>> import torch, flatout
        >>> model = torch.nn.Linear(3, 2)
        >>> task = flatout.Task(model=model, data=(torch.ones(5, 3), torch.ones(5, 2)), epochs=1,
        ...                     optimizer=torch.optim.SGD(model.parameters()), loss=torch.nn.MSELoss())
        >>> graph = flatout.trace(task)
        >>> graph.flops, graph.bytes
        (208, 168)
    """
    return traced_copy(task, device)[0]


def traced_copy(task: Task, device: torch.device | str = "cpu") -> tuple[StepGraph, Task]:
    """The traced step, and the copy of the task it was traced from, on the device and after one step."""
    check_task(task)
    place = find_device(device) if isinstance(device, str) else device
    copy = task.copied_to(place)
    copy.model.train()
    with torch.random.fork_rng(devices=[place] if place.type == "cuda" else []):
        batch = _first_batch(copy, place)
        _one_step(copy, batch)
        try:
            return trace_step(copy, batch), copy
        except NotTracedError as error:
            raise TaskError(f"{task.name}: {error}") from error


def _first_batch(task: Task, device: torch.device) -> Batch:
    data = load_data(task, device)
    if isinstance(data, ResidentData):
        return next(iter(data.batches(torch.arange(data.batch_size).view(1, -1))))
    return next(iter(data.batches(data.take(1))))


def _one_step(task: Task, batch: Batch) -> None:
    """A first step in eager, in which the optimizer makes its state."""
    loss = loss_function(task)(batch)
    if not isinstance(loss, Tensor) or loss.dim() or not loss.requires_grad:
        raise_bad_loss(loss)
    parameters = trained_parameters(task)
    gradients = torch.autograd.grad(loss, parameters, allow_unused=True)
    if all(gradient is None for gradient in gradients):
        raise_independent_loss()
    for parameter, gradient in zip(parameters, gradients, strict=True):
        parameter.grad = gradient
    step: Any = task.optimizer.step
    step(lambda: loss)  # some optimizers want a closure
    task.optimizer.zero_grad()
