"""When to stop before the end: a validation that no longer gets better."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn
from torch.optim.lr_scheduler import ReduceLROnPlateau

from flatout.errors import TaskError
from flatout.task.task import Task


@dataclass
class EarlyStopping:
    """Watches one validation figure and keeps the weights that gave the best of it.

    Args:
        monitor: the name of the figure.
        smaller_is_better: its direction.
        patience: validations without a better one after which training stops.
    """

    monitor: str
    smaller_is_better: bool
    patience: int
    best: float = math.nan
    best_step: int | None = None
    waited: int = 0
    weights: dict[str, Tensor] | None = None

    def saw(self, figures: dict[str, float], step: int, model: nn.Module) -> None:
        """Note a validation; keep the weights of `model` where it is the best so far."""
        value = figures[self.monitor]
        better = value < self.best if self.smaller_is_better else value > self.best
        if better or (self.best_step is None and not math.isnan(value)):
            self.best, self.best_step, self.waited = value, step, 0
            self.weights = {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}
        else:
            self.waited += 1

    @property
    def exhausted(self) -> bool:
        """Whether it is time to stop."""
        return self.waited >= self.patience

    @property
    def may_stop_next(self) -> bool:
        """Whether training stops after the next validation, if that is no better."""
        return self.waited + 1 >= self.patience

    def state(self) -> dict[str, Any]:
        """What a resumed training needs."""
        return {
            "best": self.best,
            "best_step": self.best_step,
            "waited": self.waited,
            "weights": self.weights,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from what `state` returned."""
        for name, value in state.items():
            setattr(self, name, value)


def early_stopping(task: Task, metrics: list[str]) -> EarlyStopping | None:
    """The early stopping a task asks for.

    Raises:
        TaskError: its monitor is none of the validation figures.
    """
    if task.monitor not in (None, "loss", *metrics):
        raise TaskError(f"monitor is {task.monitor!r}, but validation gives {', '.join(('loss', *metrics))}")
    if isinstance(task.scheduler, ReduceLROnPlateau):
        _check_direction(task, task.scheduler)
    if task.patience is None:
        return None
    monitor = task.monitor or (metrics[0] if metrics else "loss")
    return EarlyStopping(monitor, _direction(task, monitor) == "min", task.patience)


def _direction(task: Task, monitor: str) -> str:
    return task.monitor_mode or ("min" if monitor == "loss" else "max")


def _check_direction(task: Task, scheduler: ReduceLROnPlateau) -> None:
    """A scheduler that takes improvements for a plateau would stop the learning."""
    mode = "min" if task.monitor is None else _direction(task, task.monitor)
    if scheduler.mode != mode:
        raise TaskError(
            f"ReduceLROnPlateau has mode {scheduler.mode!r}, but {task.monitor or 'loss'} is better at its "
            f"{mode}imum; make it with mode={mode!r}, or give the monitor it should watch"
        )
