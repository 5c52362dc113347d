"""Is the task one that can be trained? What can be told without its data."""

from __future__ import annotations

from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import ReduceLROnPlateau

from flatout.errors import TaskError
from flatout.task.task import Task


def check_task(task: Task) -> None:
    """Raise `TaskError` with what was expected, what was found and what to do, or return."""
    if not isinstance(task.model, nn.Module):
        raise TaskError(f"model must be a torch.nn.Module, but is {_kind(task.model)}")
    _check_objective(task)
    _check_length(task)
    _check_optimizer(task)
    _check_options(task)


def _check_objective(task: Task) -> None:
    if (task.loss is None) == (task.objective is None):
        given = "neither" if task.loss is None else "both"
        raise TaskError(
            "a task needs either loss (of output and target) or objective (of model and batch); "
            f"{given} given"
        )
    function, name = (task.loss, "loss") if task.loss is not None else (task.objective, "objective")
    if not callable(function):
        raise TaskError(f"{name} must be something that can be called, but is {_kind(function)}")
    if isinstance(function, type):
        raise TaskError(f"{name} is the class {function.__name__}; make one: {function.__name__}()")


def _check_length(task: Task) -> None:
    if (task.epochs is None) == (task.steps is None):
        given = "neither" if task.epochs is None else "both"
        raise TaskError(f"a task needs either epochs or steps; {given} given")
    for name in ("epochs", "steps", "batch_size", "validate_every", "patience"):
        value = getattr(task, name)
        if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < 1):
            raise TaskError(f"{name} must be a whole number of at least 1, but is {value!r}")


def _check_optimizer(task: Task) -> None:
    trainable = [p for p in task.model.parameters() if p.requires_grad]
    if not trainable:
        raise TaskError(
            "the model has no trainable parameters: nothing can be learned "
            "(is requires_grad False on all of them?)"
        )
    optimizer = task.optimizer
    if not isinstance(optimizer, Optimizer):
        raise TaskError(
            f"optimizer must be a torch.optim.Optimizer, but is {_kind(optimizer)}; "
            "for example torch.optim.Adam(model.parameters(), lr=1e-3)"
        )
    own = {id(p) for module in task.modules() for p in module.parameters()}
    held = [p for group in optimizer.param_groups for p in group["params"]]
    foreign = [p for p in held if id(p) not in own]
    if foreign:
        raise TaskError(
            f"the optimizer holds {len(foreign)} of {len(held)} parameters that are not the model's "
            f"(the first has shape {list(foreign[0].shape)}); make it over this model: "
            f"{type(optimizer).__name__}(model.parameters(), ...)"
        )
    if not any(p.requires_grad for p in held):
        raise TaskError("all parameters the optimizer holds are frozen (requires_grad is False)")
    if task.scheduler is not None and getattr(task.scheduler, "optimizer", None) is not optimizer:
        raise TaskError("the scheduler belongs to another optimizer; make it over this task's optimizer")


def _check_options(task: Task) -> None:
    if task.scheduler_per not in ("epoch", "step"):
        raise TaskError(f'scheduler_per must be "epoch" or "step", but is {task.scheduler_per!r}')
    if task.monitor_mode not in (None, "min", "max"):
        raise TaskError(f'monitor_mode must be "min" or "max", but is {task.monitor_mode!r}')
    if task.clip_grad_norm is not None and not task.clip_grad_norm > 0:
        raise TaskError(f"clip_grad_norm must be larger than 0, but is {task.clip_grad_norm!r}")
    if task.workers < 0:
        raise TaskError(f"workers must be 0 or more, but is {task.workers}")
    if task.patience is not None and task.validation is None:
        raise TaskError("patience needs validation data to watch; give validation=(X, y)")
    if isinstance(task.scheduler, ReduceLROnPlateau) and task.validation is None:
        raise TaskError("ReduceLROnPlateau needs validation data to watch; give validation=(X, y)")


def _kind(value: object) -> str:
    return "None" if value is None else f"a {type(value).__name__}"
