"""Loss and metrics on data the model is not trained on, leaving no trace in the training."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from flatout.data.random_state import random_state_kept
from flatout.data.source import Data, split_batch
from flatout.errors import DataError
from flatout.hardware import explain_device_errors
from flatout.task.modes import evaluation_mode
from flatout.task.task import Metric, Task
from flatout.training.metrics import default_metrics


def evaluate(task: Task, data: Data, metrics: Mapping[str, Metric] | None) -> dict[str, float]:
    """The loss (the mean over the samples) and the metrics of a task's model on `data`.

    The model is in evaluation mode meanwhile; its mode and all random generators are put back, so that
    training goes on as if there had been no validation.

    Args:
        task: whose model, loss or objective.
        data: what to evaluate on.
        metrics: name to metric; None: those that fit the output and the target.
    """
    with evaluation_mode(task.model), random_state_kept():
        figures = _with_objective if task.objective is not None else _with_loss
        return {name: float(value) for name, value in figures(task, data, metrics).items()}


def metric_names(task: Task, data: Data) -> list[str]:
    """The names of the metrics `evaluate` will give, in order."""
    if task.metrics is not None:
        return list(task.metrics)
    sample = None if task.objective is not None else data.sample()
    if sample is None:
        return []
    inputs, target = split_batch(sample)
    looking = explain_device_errors(task.model, sample)
    with evaluation_mode(task.model), random_state_kept(), torch.no_grad(), looking:
        return list(default_metrics(task, task.model(*inputs), target))


def _with_loss(task: Task, data: Data, metrics: Mapping[str, Metric] | None) -> dict[str, Any]:
    assert task.loss is not None
    outputs, targets, samples = [], [], 0
    total: Tensor | float = 0.0
    with torch.no_grad():
        for batch in data.all_batches():
            inputs, target = split_batch(batch)
            output = task.model(*inputs)
            count = _samples(target)
            total = total + task.loss(output, target) * count
            samples += count
            outputs.append(output)
            targets.append(target)
        _check_not_empty(samples)
        output, target = _joined(outputs), _joined(targets)
        if metrics is None:
            metrics = default_metrics(task, output, target)
        figures = {name: metric(output, target) for name, metric in metrics.items()}
    return {"loss": total / samples, **figures}


def _with_objective(task: Task, data: Data, metrics: Mapping[str, Metric] | None) -> dict[str, Any]:
    """An objective may take derivatives itself, so gradients stay on; metrics see model and batch."""
    assert task.objective is not None
    totals: dict[str, Any] = {}
    samples = 0
    for batch in data.all_batches():
        count = _samples(batch)
        samples += count
        for name, function in {"loss": task.objective, **(metrics or {})}.items():
            value = torch.as_tensor(function(task.model, batch)).detach()
            totals[name] = totals.get(name, 0.0) + value * count
    _check_not_empty(samples)
    return {name: total / samples for name, total in totals.items()}


def _check_not_empty(samples: int) -> None:
    if not samples:
        raise DataError("the validation data gave no sample; each iteration over it must begin anew")


def _samples(batch: Any) -> int:
    for leaf in pytree.tree_leaves(batch):
        if isinstance(leaf, Tensor) and leaf.dim():
            return len(leaf)
    return 1


def _joined(parts: list[Any]) -> Any:
    """The outputs of all batches as one; a nest is joined leaf by leaf."""
    if len(parts) == 1:
        return parts[0]
    return pytree.tree_map(
        lambda *leaves: torch.cat(leaves) if leaves[0].dim() else torch.stack(leaves), *parts
    )
