"""The figures a task is judged by, beside its loss."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn
from torch.nn import functional

from flatout.task.task import Metric, Task

_WITH_LOGITS = (nn.BCEWithLogitsLoss, nn.MultiLabelSoftMarginLoss)


def accuracy(output: Tensor, target: Tensor) -> Tensor:
    """The share of samples whose largest output is at the target's class.

    Args:
        output: scores, `[samples, classes, ...]`.
        target: class indices, `[samples, ...]`.

    Example:
        >>> import torch
        >>> accuracy(torch.tensor([[0.1, 0.9], [0.8, 0.2]]), torch.tensor([1, 1]))
        tensor(0.5000)
    """
    return (output.argmax(1) == target).sum() / target.numel()


def r2(output: Tensor, target: Tensor) -> Tensor:
    """R², the share of the target's variance the output explains; 1 is perfect, 0 no better than the mean.

    Args:
        output: predictions, of the shape of `target`, `[samples, ...]`.
        target: what they should be.
    """
    output, target = output.cpu().double(), target.cpu().double()  # not every device knows 64 bits
    residual = (target - output).square().sum()
    total = (target - target.mean(0)).square().sum()
    return (1 - residual / total).float()


def default_metrics(task: Task, output: Any, target: Any) -> Mapping[str, Metric]:
    """The metrics that fit an output and its target: accuracy for classes, R² for numbers, else none."""
    if not isinstance(output, Tensor) or not isinstance(target, Tensor):
        return {}
    loss = task.loss
    if isinstance(loss, _WITH_LOGITS) or loss is functional.binary_cross_entropy_with_logits:
        return {"accuracy": lambda output, target: ((output > 0) == (target > 0.5)).float().mean()}
    if isinstance(loss, nn.BCELoss) or loss is functional.binary_cross_entropy:
        return {"accuracy": lambda output, target: ((output > 0.5) == (target > 0.5)).float().mean()}
    if not target.is_floating_point() and output.dim() == target.dim() + 1:
        return {"accuracy": accuracy}
    if target.is_floating_point() and output.shape == target.shape:
        return {"R²": r2}
    return {}
