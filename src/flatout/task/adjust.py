"""A task with other options than it came with."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from flatout.errors import TaskError
from flatout.task.task import Task


def adjusted(task: Task, *, lr: float | None = None, **options: Any) -> Task:
    """The task with those options changed that are not None; the model and the optimizer stay the same.

    Args:
        task: what to change.
        lr: learning rate of all parameter groups.
        options: fields of `Task`; `epochs` takes the place of `steps` and the other way round.

    Raises:
        TaskError: epochs and steps at once, or a learning rate beside a scheduler.
    """
    changes = {name: value for name, value in options.items() if value is not None}
    if "epochs" in changes and "steps" in changes:
        raise TaskError("give epochs or steps, not both")
    if "epochs" in changes:
        changes["steps"] = None
    elif "steps" in changes:
        changes["epochs"] = None
    if lr is not None:
        _set_learning_rate(task, lr)
    return replace(task, **changes)


def _set_learning_rate(task: Task, lr: float) -> None:
    if not lr > 0:
        raise TaskError(f"the learning rate must be larger than 0, but is {lr:g}")
    if task.scheduler is not None:
        raise TaskError(
            f"the task's {type(task.scheduler).__name__} decides the learning rate; change it in the task"
        )
    for group in task.optimizer.param_groups:
        group["lr"] = lr
