"""What to train: model, data, loss, optimizer, and for how long."""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler
from torch.utils import _pytree as pytree

Loss = Callable[[Any, Any], Tensor]
Objective = Callable[[nn.Module, Any], Tensor]
Metric = Callable[..., Any]


@dataclass(kw_only=True, eq=False)
class Task:
    """One training: everything `flatout.fit` needs to know.

    Args:
        model: the module to train. It holds the result afterwards.
        data: `(X, y)` or any nest of tensors whose first dimension counts the samples, a
            `TensorDataset`, any other `Dataset`, or a `DataLoader`.
        optimizer: a real `torch.optim.Optimizer` over parameters of `model`.
        loss: `loss(output, target) -> scalar`. The last tensor of the data is the target, the others
            are the arguments of the model.
        objective: `objective(model, batch) -> scalar`, instead of `loss`, for what does not fit that.
            `batch` has the structure of `data`.
        epochs: passes over the data. Give this or `steps`.
        steps: optimizer updates.
        batch_size: samples a step; None: all of them (full batch).
        shuffle: draw a new order each epoch; None: yes for batches, no for full batch.
        drop_last: leave out the last batch of an epoch where it is smaller.
        seed: of the order of the samples. It is that of
            `DataLoader(shuffle=True, generator=torch.Generator().manual_seed(seed))`.
        scheduler: a scheduler from `torch.optim.lr_scheduler` over `optimizer`. `ReduceLROnPlateau` moves
            after each validation and watches `monitor`, or the loss where that is None.
        scheduler_per: call `scheduler.step()` after each "epoch" or each "step".
        clip_grad_norm: clip the norm of all gradients to this before each update.
        validation: data like `data`, never trained on.
        validate_every: epochs between two validations; None: about twenty times over the training.
        metrics: name to `metric(output, target)` (with an objective: `metric(model, batch)`), computed
            on the validation data. None: accuracy for classification, R² for regression.
        patience: stop after this many validations without a better `monitor`, and keep the best weights.
        monitor: what `patience` watches: "loss" or the name of a metric. None: the first metric, or
            the loss where there is none.
        monitor_mode: whether a smaller ("min") or a larger ("max") value is better; None: "min" for the
            loss, "max" for metrics.
        workers: processes that load a `Dataset` that streams; 0: the training process itself.
        name: how the run is called.
        notes: what was decided about the data, in sentences, for the person who trains.
    """

    model: nn.Module
    data: Any
    optimizer: Optimizer
    loss: Loss | None = None
    objective: Objective | None = None
    epochs: int | None = None
    steps: int | None = None
    batch_size: int | None = None
    shuffle: bool | None = None
    drop_last: bool = False
    seed: int = 0
    scheduler: LRScheduler | None = None
    scheduler_per: Literal["epoch", "step"] = "epoch"
    clip_grad_norm: float | None = None
    validation: Any = None
    validate_every: int | None = None
    metrics: Mapping[str, Metric] | None = None
    patience: int | None = None
    monitor: str | None = None
    monitor_mode: Literal["min", "max"] | None = None
    workers: int = 0
    name: str = "task"
    notes: list[str] = field(default_factory=list)

    @property
    def shuffled(self) -> bool:
        """Whether each epoch draws a new order."""
        return self.batch_size is not None if self.shuffle is None else self.shuffle

    def to(self, device: torch.device | str) -> Task:
        """Move model and optimizer state to `device` in place; returns the task itself.

        The data stays: it is placed when training begins.
        """
        for module in self.modules():
            before = dict(module.named_parameters(remove_duplicate=False))
            module.to(device)
            after = dict(module.named_parameters(remove_duplicate=False))
            _retie_optimizer(self.optimizer, {before[name]: after[name] for name in before})
        _move_optimizer_state(self.optimizer)
        return self

    def modules(self) -> list[nn.Module]:
        """The model, and the loss or objective where that is a module: all that may hold parameters."""
        return [part for part in (self.model, self.loss, self.objective) if isinstance(part, nn.Module)]

    def copied_to(self, device: torch.device | str) -> Task:
        """A copy on `device`, its optimizer and scheduler tied to the copied model.

        The data is shared with the original; nothing trained in the copy shows in the original.

        Example:
            >>> import torch
            >>> model = torch.nn.Linear(2, 1)
            >>> task = Task(model=model, data=(torch.ones(4, 2), torch.ones(4, 1)), epochs=1,
            ...             optimizer=torch.optim.SGD(model.parameters(), lr=0.1), loss=torch.nn.MSELoss())
            >>> twin = task.copied_to("cpu")
            >>> twin.optimizer.param_groups[0]["params"][0] is twin.model.weight
            True
            >>> twin.model.weight is model.weight
            False
        """
        parts = (self.model, self.optimizer, self.scheduler, self.loss, self.objective, self.metrics)
        model, optimizer, scheduler, loss, objective, metrics = copy.deepcopy(parts)
        if scheduler is not None:
            _retie_scheduler(optimizer)
        twin = replace(
            self,
            model=model,
            optimizer=optimizer,
            scheduler=scheduler,
            loss=loss,
            objective=objective,
            metrics=metrics,
        )
        return twin.to(device)


def _move_optimizer_state(optimizer: Optimizer) -> None:
    """Bring the state of each parameter to where the parameter is, as loading a state dict does.

    A step counter stays on the host unless the optimizer was told to read it on the device.
    """
    on_device = {
        id(p): group.get("capturable") or group.get("fused")
        for group in optimizer.param_groups
        for p in group["params"]
    }
    for parameter, state in optimizer.state.items():
        move = functools.partial(_moved, device=parameter.device)
        for key, value in state.items():
            if key != "step" or on_device.get(id(parameter)):
                state[key] = pytree.tree_map(move, value)  # L-BFGS keeps lists of tensors


def _moved(value: Any, device: torch.device) -> Any:
    return value.to(device) if isinstance(value, Tensor) else value


def _retie_optimizer(optimizer: Optimizer, moved: dict[nn.Parameter, nn.Parameter]) -> None:
    """Where moving a module had to make new parameters, give the optimizer those."""
    for group in optimizer.param_groups:
        group["params"] = [moved.get(parameter, parameter) for parameter in group["params"]]
    for old, new in moved.items():
        if new is not old and old in optimizer.state:
            optimizer.state[new] = optimizer.state.pop(old)


def _retie_scheduler(optimizer: Optimizer) -> None:
    """Mark the `step` of a copied optimizer as its scheduler had marked the original's.

    A scheduler watches `optimizer.step` to warn about calls in the wrong order; a copy loses the mark.
    """
    untracked = optimizer.step

    @functools.wraps(untracked)
    def step(*args: Any, **kwargs: Any) -> Any:
        optimizer._opt_called = True  # type: ignore[attr-defined]
        return untracked(*args, **kwargs)

    step._wrapped_by_lr_sched = True  # type: ignore[attr-defined]
    optimizer.step = step  # type: ignore[method-assign]
