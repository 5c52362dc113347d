"""Train a task: `fit`."""

from __future__ import annotations

import inspect
import os
import sys
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from flatout.errors import TaskError
from flatout.report.progress import Progress, progress_for
from flatout.task.task import Loss, Metric, Objective, Task
from flatout.training.run import Run
from flatout.training.train import Options, train


def fit(
    model: nn.Module | Task,
    data: Any = None,
    *,
    optimizer: Optimizer | None = None,
    loss: Loss | None = None,
    objective: Objective | None = None,
    epochs: int | None = None,
    steps: int | None = None,
    batch_size: int | None = None,
    shuffle: bool | None = None,
    drop_last: bool = False,
    seed: int = 0,
    scheduler: LRScheduler | None = None,
    scheduler_per: Literal["epoch", "step"] = "epoch",
    clip_grad_norm: float | None = None,
    validation: Any = None,
    validate_every: int | None = None,
    metrics: Mapping[str, Metric] | None = None,
    patience: int | None = None,
    monitor: str | None = None,
    monitor_mode: Literal["min", "max"] | None = None,
    workers: int = 0,
    name: str = "task",
    plan: str = "auto",
    device: str | torch.device = "auto",
    progress: bool | Progress | None = None,
    run_dir: str | os.PathLike[str] | None = None,
    resume: str | os.PathLike[str] | None = None,
    checkpoint_every: float = 10.0,
    keep_going: bool = False,
    check: bool = True,
    source: dict[str, Any] | None = None,
) -> Run:
    """Train a model and return the record; the model and the optimizer hold the result, in plain PyTorch.

    Call it with a `Task`, or with what a Task is made of (see `Task` for those arguments).

    Args:
        model: the module to train, or a Task that says it all.
        data: `(X, y)`, a `TensorDataset`, any other `Dataset`, or a `DataLoader`.
        optimizer, loss, objective, epochs, steps, batch_size, shuffle, drop_last, seed, scheduler,
            scheduler_per, clip_grad_norm, validation, validate_every, metrics, patience, monitor,
            monitor_mode, workers, name: as in `Task`.
        plan: how the steps are run: the name of a plan, or "auto": the winner of a race on copies of the
            task (see `flatout.race`); a resumed run goes on with the plan it was made with.
        device: where; "auto" is where the model lies, or, with plan="auto" and a model on the CPU, the
            device that wins the race.
        progress: True: a bar on a terminal and plain lines elsewhere; False: nothing; None: a bar on a
            terminal and nothing elsewhere; or a `Progress`.
        run_dir: keep the run in a new folder in this one; None: write nothing.
        resume: go on with the run in this folder, and keep it there; with a `run_dir` that is not the folder
            it lies in, an error.
        checkpoint_every: least seconds between two checkpoints; they take at most 5 % of the time.
        keep_going: record on where the loss becomes NaN or infinite.
        check: let only a plan win the race that computes what eager computes, and replay a step in eager
            now and then; where the two differ, go back to the last state that agreed and on in eager.
        source: what the caller wants noted in `run.json` about where the task comes from.

    Returns:
        The Run, with every step's loss.

    Raises:
        TaskError, DataError: the task cannot be trained as it is described.
        DeviceNotFoundError, DeviceMismatchError: something is wrong with a device.
        PlanRefusedError: the plan asked for cannot run this task.
        NonFiniteLossError: the loss became NaN or infinite.
        CheckpointError: the run cannot be kept or resumed.
        TrainingInterrupted: Ctrl-C; what was done is saved.

    Example:
        >>> import torch, flatout
        >>> X = torch.linspace(-1, 1, 64).unsqueeze(1)
        >>> model = torch.nn.Linear(1, 1)
        >>> run = flatout.fit(model, (X, 3 * X + 1), loss=torch.nn.MSELoss(), epochs=500,
        ...                   optimizer=torch.optim.SGD(model.parameters(), lr=0.1))
        >>> run.steps, round(model.weight.item(), 2), round(model.bias.item(), 2)
        (500, 3.0, 1.0)
    """
    arguments = dict(locals())
    options = {f.name: arguments[f.name] for f in fields(Task) if f.name in arguments and f.name != "model"}
    if isinstance(model, Task):
        _refuse_task_options(options)
        task = model
    else:
        task = Task(model=model, **options)
    return train(
        task,
        Options(
            plan=plan,
            device=device,
            progress=_display(progress),
            run_dir=None if run_dir is None else Path(run_dir),
            resume=None if resume is None else Path(resume),
            checkpoint_every=checkpoint_every,
            keep_going=keep_going,
            check=check,
            source=source,
        ),
    )


def _refuse_task_options(options: dict[str, Any]) -> None:
    """A Task says it all: an option beside it would be ignored, so it is refused."""
    defaults = {name: p.default for name, p in inspect.signature(fit).parameters.items()}
    given = [name for name, value in options.items() if value is not defaults[name]]
    if given:
        raise TaskError(
            f"fit(task) takes {', '.join(given)} from the task; set it there, "
            f"for example with dataclasses.replace(task, {given[0]}=...)"
        )


def _display(progress: bool | Progress | None) -> Progress:
    if isinstance(progress, Progress):
        return progress
    shown = sys.stderr.isatty() if progress is None else progress
    return progress_for(quiet=not shown)
