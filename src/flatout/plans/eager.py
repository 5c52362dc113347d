"""The plan `eager`: the loop a person would write, less what slows it down.

Bit for bit the losses of the hand-written loop. What is left out: reading the loss at every step (it
stays on the device until the chunk is over), and a `DataLoader` that fetches sample by sample.
"""

from __future__ import annotations

import inspect
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils import clip_grad_norm_

from flatout.data.source import Batch, Data
from flatout.hardware import explain_mismatch, is_device_mismatch
from flatout.plans.base import Loop, Plan, scheduler_of_steps
from flatout.plans.quick_step import (
    QuickBackward,
    all_parameters_at_once,
    quick_step,
    quick_zero_grad,
)
from flatout.step.loss import loss_function, raise_bad_loss, raise_independent_loss, trained_parameters
from flatout.step.random_operators import SameNumbers
from flatout.task.task import Task


class EagerPlan(Plan):
    """Runs each operation as PyTorch does by itself. It takes every task and every device."""

    name = "eager"

    def prepare(self, task: Task, data: Data) -> Loop:
        return EagerLoop(task, data)


class EagerLoop(Loop):
    """The steps of a task in plain PyTorch, working on its model and optimizer in place."""

    def __init__(self, task: Task, data: Data) -> None:
        self._data = data
        self._seed = task.seed
        self._model = task.model
        self._loss_of = loss_function(task)
        self._optimizer = task.optimizer
        self._step = quick_step(task.optimizer)
        self._zero_grad = quick_zero_grad(task.optimizer)
        self._backward = QuickBackward()
        self._scheduler = scheduler_of_steps(task, data)
        self._clip = task.clip_grad_norm
        self._parameters = trained_parameters(task)
        self._reached = False
        self._update = self._update_by_closure if _wants_closure(task) else self._update_by_step

    def advance(self, order: Tensor) -> Tensor:
        losses: list[Tensor] = []
        batch = None
        self._step = quick_step(self._optimizer)
        try:
            with all_parameters_at_once(self._optimizer):
                for batch in self._data.batches(order):
                    losses.append(self._update(batch))
                    if self._scheduler is not None:
                        self._scheduler.step()
        except RuntimeError as error:
            if batch is None or not is_device_mismatch(error):
                raise
            raise explain_mismatch(error, self._model, batch, lambda: self._loss_of(batch)) from error
        if not losses:
            return torch.empty(0, device=self._data.device)
        return torch.stack(losses)

    def advance_with_same_numbers(self, order: Tensor, step: int) -> Tensor:
        """Like `advance`, but random operators get the numbers that the traced plans draw.

        Args:
            order: as in `advance`.
            step: the number of the first step in the whole training.
        """
        losses = []
        for number, row in enumerate(order, step):
            with SameNumbers(self._seed, number):
                losses.append(self.advance(row.unsqueeze(0)))
        return torch.cat(losses) if losses else self.advance(order)

    def _update_by_step(self, batch: Batch) -> Tensor:
        loss = self._loss_of(batch)
        if not isinstance(loss, Tensor) or loss.dim() or not loss.requires_grad:
            raise_bad_loss(loss)
        self._zero_grad()
        self._backward(loss)
        if not self._reached:
            self._check_reached()
        if self._clip is not None:
            clip_grad_norm_(self._parameters, self._clip)
        self._step()
        return loss.detach()

    def _update_by_closure(self, batch: Batch) -> Tensor:
        """For optimizers that evaluate the loss themselves, several times a step, like L-BFGS."""

        def closure() -> Tensor:
            loss = self._loss_of(batch)
            if not isinstance(loss, Tensor) or loss.dim() or not loss.requires_grad:
                raise_bad_loss(loss)
            self._optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            if not self._reached:
                self._check_reached()
            if self._clip is not None:
                clip_grad_norm_(self._parameters, self._clip)
            return loss

        loss: Any = self._optimizer.step(closure)  # type: ignore[arg-type]
        return torch.as_tensor(loss, device=self._data.device).detach()

    def _check_reached(self) -> None:
        """In the first step: a loss can have a gradient that reaches none of the parameters."""
        self._reached = any(parameter.grad is not None for parameter in self._parameters)
        if not self._reached:
            raise_independent_loss()


def _wants_closure(task: Task) -> bool:
    closure = inspect.signature(type(task.optimizer).step).parameters.get("closure")
    return closure is not None and closure.default is inspect.Parameter.empty
