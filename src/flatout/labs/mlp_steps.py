"""Training steps of a small network of any batch and width: as a plain loop, or as the plan `native`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from flatout.data.load import load_data
from flatout.hardware.repeat import timed
from flatout.plans.native import NativePlan
from flatout.task.task import Task

INPUTS, CLASSES = 64, 10

Run = Callable[[int], float]

_MANY = 1 << 40  # steps a task could go on for


def mlp(batch: int, width: int) -> Task:
    """A network 64 - width - width - 10 with ReLU, SGD and cross-entropy, on one batch of random numbers.

    >>> [tuple(part.shape) for part in mlp(8, 16).data]
    [(8, 64), (8,)]
    """
    generator = torch.Generator().manual_seed(0)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = nn.Sequential(
            nn.Linear(INPUTS, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, CLASSES)
        )
    X = torch.randn(batch, INPUTS, generator=generator)
    y = torch.randint(CLASSES, (batch,), generator=generator)
    return Task(
        model=model,
        data=(X, y),
        optimizer=torch.optim.SGD(model.parameters(), lr=0.001),
        loss=nn.CrossEntropyLoss(),
        steps=_MANY,
        name=f"mlp of width {width}, batch {batch}",
    )


def weights(width: int) -> int:
    """The parameters of the network, to which its work is proportional.

    >>> weights(16) == sum(p.numel() for p in mlp(1, 16).model.parameters())
    True
    """
    return (INPUTS + 1) * width + (width + 1) * width + (width + 1) * CLASSES


def width_of(parameters: float) -> float:
    """The width at which the network has so many parameters.

    >>> width_of(weights(100))
    100.0
    """
    half = (INPUTS + 2 + CLASSES) / 2
    return float((half**2 + max(parameters - CLASSES, 0.0)) ** 0.5 - half)


def prepare(plan: str, device: torch.device, batch: int, width: int) -> Run:
    """A function that trains for so many steps and returns the seconds they took, by the device's own clock.

    Raises:
        PlanRefusedError: the plan cannot run it here.
    """
    task = mlp(batch, width).to(device)
    return _eager(task, device) if plan == "eager" else _native(task, device)


def operators() -> int:
    """How many operators forward and backward of a step start: those that are no views.

    A GPU starts at least one kernel for each. The update is left out: a GPU does it in one or two.
    """
    task = mlp(8, 8)
    loss_function = task.loss
    assert loss_function is not None
    X, y = task.data
    with _Counting() as counting:
        loss_function(task.model(X), y).backward()  # type: ignore[no-untyped-call]
    started: int = counting.started
    return started


class _Counting(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts operators that start work; a view shares what is there."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.started = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.started += not _is_view(func)
        return func(*args, **(kwargs or {}))


def _is_view(func: Any) -> bool:
    aliases = [result.alias_info for result in func._schema.returns]
    return any(alias is not None and not alias.is_write for alias in aliases)


def _eager(task: Task, device: torch.device) -> Run:
    model, optimizer, loss_function = task.model, task.optimizer, task.loss
    assert loss_function is not None
    X, y = (part.to(device) for part in task.data)

    def train(steps: int) -> None:
        for _ in range(steps):
            optimizer.zero_grad()
            loss = loss_function(model(X), y)
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()

    return lambda steps: timed(lambda: train(steps), device)


def _native(task: Task, device: torch.device) -> Run:
    data = load_data(task, device)
    loop = NativePlan().prepare(task, data)
    return lambda steps: timed(lambda: loop.advance(data.take(steps)), device)
