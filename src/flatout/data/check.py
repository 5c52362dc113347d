"""Can the model be trained on this data? What can be told with one look, before anything is written."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils import _pytree as pytree

from flatout.data.random_state import random_state_kept
from flatout.data.resident import ResidentData
from flatout.data.source import Data, split_batch
from flatout.errors import DataError
from flatout.task.modes import evaluation_mode
from flatout.task.task import Task

_CROSS_ENTROPY = (functional.cross_entropy, functional.nll_loss)


def check_data(task: Task, data: Data, name: str = "data") -> None:
    """Raise `DataError` where the data cannot give a meaningful loss.

    Looks at resident data for NaN and infinity, and, where the loss compares classes, at the labels.
    """
    if isinstance(data, ResidentData):
        _check_finite(data, name)
    if task.loss is not None:
        _check_pairs(data, name)
        if is_cross_entropy(task.loss):
            _check_labels(task, data, name)


def is_cross_entropy(loss: Any) -> bool:
    """Whether a loss wants the index of a class as its target."""
    return isinstance(loss, (nn.CrossEntropyLoss, nn.NLLLoss)) or loss in _CROSS_ENTROPY


def _check_finite(data: ResidentData, name: str) -> None:
    for path, leaf in pytree.tree_flatten_with_path(data.tensors)[0]:
        if not leaf.is_floating_point() and not leaf.is_complex():
            continue
        bad = ~torch.isfinite(leaf)
        count = int(bad.sum())
        if count:
            place = [int(i) for i in bad.nonzero()[0]]
            raise DataError(
                f"{name}{pytree.keystr(path)} has {count:,} values that are NaN or infinite, the first at "
                f"index {place}; remove those samples or fill them in, for example with torch.nan_to_num"
            )


def _check_pairs(data: Data, name: str) -> None:
    sample = data.sample()
    if sample is not None and (not isinstance(sample, (tuple, list)) or len(sample) < 2):
        raise DataError(
            f"a loss needs {name} as (inputs, target), but a batch is a {type(sample).__name__}; "
            "give objective(model, batch) for data of another form"
        )


def _check_labels(task: Task, data: Data, name: str) -> None:
    sample = data.sample()
    if sample is None:
        return
    inputs, target = split_batch(sample)
    output = _look(task.model, inputs)
    if not isinstance(output, Tensor) or not isinstance(target, Tensor) or output.dim() < 1:
        return
    if target.is_floating_point():
        if target.shape != output.shape:
            raise DataError(
                f"cross-entropy needs class indices (int64, shape {[len(target), *output.shape[2:]]}), but "
                f"the target of {name} is {_name(target.dtype)} of shape {list(target.shape)}; use y.long()"
            )
        return
    if target.dtype not in (torch.int64, torch.uint8) or target.dim() != output.dim() - 1:
        raise DataError(
            f"cross-entropy needs class indices (int64, one per row of the output {list(output.shape)}), but "
            f"the target of {name} is {_name(target.dtype)} of shape {list(target.shape)}; "
            + ("use y.squeeze(1)" if target.dim() == output.dim() else "use y.long()")
        )
    if isinstance(data, ResidentData):
        _check_label_range(task, data, output.shape[1], name)


def _check_label_range(task: Task, data: ResidentData, classes: int, name: str) -> None:
    labels = split_batch(data.tensors)[1].long()  # in uint8 an ignored -100 would be 156
    ignored = getattr(task.loss, "ignore_index", -100)
    labels = labels[labels != ignored]
    if not labels.numel():
        raise DataError(f"every label of {name} is the ignored index {ignored}")
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or high >= classes:
        raise DataError(
            f"the labels of {name} go from {low} to {high}, but the model has {classes} outputs, for the "
            f"labels 0 to {classes - 1}; give the last layer {high + 1} outputs or correct the labels"
        )


def _look(model: nn.Module, inputs: tuple[Any, ...]) -> Any:
    """The model's output for a small batch, leaving no trace; None where the model cannot take it."""
    try:
        with evaluation_mode(model), torch.no_grad(), random_state_kept():
            return model(*inputs)
    except Exception:  # noqa: BLE001  the training step will raise it again, with its own traceback
        return None


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
