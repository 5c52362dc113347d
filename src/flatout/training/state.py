"""The state of a training as one nest, and whether it fits another task."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn

from flatout.data.random_state import random_state, set_random_state
from flatout.data.source import Data
from flatout.errors import CheckpointError
from flatout.task.task import Task


def training_state(task: Task, data: Data) -> dict[str, Any]:
    """Model, optimizer, scheduler, random generators and the position in the order."""
    return {
        **live_state(task),
        "kinds": _kinds(task),
        "order": data.state(),
        "data": data.describe(),
        "random": random_state(),
    }


def live_state(task: Task) -> dict[str, Any]:
    """Model, loss, optimizer and scheduler; the tensors are the live ones."""
    return {
        "model": _tensors_of(task.model),
        "loss": _tensors_of(_loss_of(task)),
        "optimizer": task.optimizer.state_dict(),
        "scheduler": None if task.scheduler is None else task.scheduler.state_dict(),
    }


def load_live_state(task: Task, state: dict[str, Any]) -> None:
    """Put `live_state` of a task like this one into `task`; the two share nothing afterwards."""
    _load_tensors(task.model, state["model"])
    _load_tensors(_loss_of(task), state["loss"])
    # The optimizer keeps the tensors it is given where their type fits.
    task.optimizer.load_state_dict(copy.deepcopy(state["optimizer"]))
    if task.scheduler is not None:
        task.scheduler.load_state_dict(copy.deepcopy(state["scheduler"]))


def restore_training_state(task: Task, data: Data, state: dict[str, Any], where: str) -> None:
    """Put `training_state` back. The task is untouched where it does not fit.

    Args:
        task: like the one the state was taken from.
        data: its data.
        state: what `training_state` returned.
        where: where the state comes from, for the message.

    Raises:
        CheckpointError: it was made by another model, optimizer or data; the first difference is named.
    """
    difference = (
        _first_difference("model", _tensors_of(task.model), state["model"])
        or _first_difference("loss", _tensors_of(_loss_of(task)), state["loss"])
        or _kinds_difference(_kinds(task), state["kinds"])
        or _optimizer_difference(task.optimizer.state_dict(), state["optimizer"])
        or _data_difference(data.describe(), state["data"])
    )
    if difference:
        raise CheckpointError(f"{where} was made by another task: {difference}")
    load_live_state(task, state)
    data.restore(state["order"])
    set_random_state(state["random"])


def _loss_of(task: Task) -> Any:
    return task.loss if task.loss is not None else task.objective


def _kinds(task: Task) -> dict[str, str | None]:
    """The classes whose state is kept: another class may take that state and mean something else by it."""
    parts = {"optimizer": task.optimizer, "scheduler": task.scheduler}
    return {name: None if part is None else type(part).__name__ for name, part in parts.items()}


def _tensors_of(module: Any) -> dict[str, Tensor]:
    """Parameters and all buffers, those a state dict leaves out too: they may change while training."""
    if not isinstance(module, nn.Module):
        return {}
    return {
        **dict(module.named_parameters(remove_duplicate=False)),
        **dict(module.named_buffers(remove_duplicate=False)),
    }


@torch.no_grad()
def _load_tensors(module: Any, saved: dict[str, Tensor]) -> None:
    for name, tensor in _tensors_of(module).items():
        tensor.copy_(saved[name])


def _first_difference(kind: str, here: dict[str, Tensor], there: dict[str, Tensor]) -> str | None:
    for name, tensor in here.items():
        if name not in there:
            return f"this {kind} has {name}, that one has not"
        other = there[name]
        if tensor.shape != other.shape:
            return f"{name} is {list(tensor.shape)} here and {list(other.shape)} there"
        if tensor.dtype != other.dtype:
            return f"{name} is {tensor.dtype} here and {other.dtype} there"
    missing = [name for name in there if name not in here]
    return f"that {kind} has {missing[0]}, this one has not" if missing else None


def _optimizer_difference(here: dict[str, Any], there: dict[str, Any]) -> str | None:
    groups = list(zip(here["param_groups"], there["param_groups"], strict=False))
    if len(here["param_groups"]) != len(there["param_groups"]):
        return (
            f"the optimizer has {len(here['param_groups'])} parameter groups here "
            f"and {len(there['param_groups'])} there"
        )
    for mine, other in groups:
        if set(mine) != set(other):
            return f"{min(set(mine) ^ set(other))} is an option of one of the optimizers only"
        if len(mine["params"]) != len(other["params"]):
            return (
                f"the optimizer holds {len(mine['params'])} parameters here and {len(other['params'])} there"
            )
    return None


def _kinds_difference(here: dict[str, str | None], there: dict[str, str | None]) -> str | None:
    for name, kind in here.items():
        if kind != there[name]:
            return f"the {name} is {kind} here and {there[name]} there"
    return None


def _data_difference(here: dict[str, Any], there: dict[str, Any]) -> str | None:
    for key, value in here.items():
        other = there.get(key)
        if value == other:
            continue
        if key == "sha256":
            return "the values of the data are not the same"
        return f"{key} of the data: {value} here and {other} there"
    return None
