"""The loss of a task as a function of a batch alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn

from torch import Tensor

from flatout.data.source import Batch, split_batch
from flatout.errors import TaskError
from flatout.task.task import Task


def loss_function(task: Task) -> Callable[[Batch], Tensor]:
    """The loss of a task as a function of a batch alone."""
    model = task.model
    if task.objective is not None:
        objective = task.objective
        return lambda batch: objective(model, batch)
    assert task.loss is not None
    loss = task.loss

    def of_pair(batch: Batch) -> Tensor:
        if len(batch) == 2:  # the usual case, without the detour
            return loss(model(batch[0]), batch[1])
        inputs, target = split_batch(batch)
        return loss(model(*inputs), target)

    return of_pair


def raise_bad_loss(loss: Any) -> NoReturn:
    """Say what is wrong with a loss that no gradient can be taken of."""
    if not isinstance(loss, Tensor):
        raise TaskError(
            f"the loss must be a scalar tensor, but is a {type(loss).__name__}; "
            "return it as it is, without .item() or float()"
        )
    if loss.dim():
        raise TaskError(
            f"the loss must be a scalar, but has shape {list(loss.shape)}; "
            "reduce it, for example with .mean()"
        )
    raise_independent_loss()


def raise_independent_loss() -> NoReturn:
    """Say that no gradient reaches what is trained."""
    raise TaskError(
        "the loss does not depend on the parameters of the model: no gradient reaches them "
        "(was it computed under torch.no_grad(), or from .detach(), .item() or .numpy()?)"
    )


def trained_parameters(task: Task) -> list[Tensor]:
    """What the optimizer holds, in the order of the model; the gradients of others are never cleared."""
    held = {id(p) for group in task.optimizer.param_groups for p in group["params"]}
    own = {id(p): p for module in task.modules() for p in module.parameters()}
    return [parameter for key, parameter in own.items() if key in held]
