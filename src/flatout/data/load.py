"""From what a Task calls its data to `Data` on a device."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils import _pytree as pytree
from torch.utils.data import DataLoader, Dataset, TensorDataset

from flatout.data.order import SampleOrder
from flatout.data.resident import ResidentData
from flatout.data.source import Data
from flatout.data.streaming import StreamingData, ignore_interrupts
from flatout.errors import DataError, TaskError
from flatout.task.task import Task

# Validation batches carry no gradients, so they may be larger than those of training.
_LOOK_FACTOR = 4
_LEAST_LOOK = 1024


def load_data(task: Task, device: torch.device) -> Data:
    """The training data of a task on `device`.

    Raises:
        DataError: the data is empty, its parts have different lengths, or it is of a kind unknown here.
        TaskError: the batch size does not fit the data.
    """
    data = task.data
    if isinstance(data, DataLoader):
        _check_loader_options(task)
        streaming = StreamingData(data, device)
        if streaming.steps_per_epoch == 0:
            raise DataError("the DataLoader gives no batch: is its dataset smaller than its batch size?")
        return streaming
    if isinstance(data, Dataset) and not isinstance(data, TensorDataset):
        return StreamingData(_loader(task, device), device)
    tensors, samples = _tensors(data, "data")
    batch_size = samples if task.batch_size is None else task.batch_size
    if batch_size > samples:
        raise TaskError(f"batch_size is {batch_size} but there are only {samples} samples")
    order = SampleOrder(
        samples, batch_size=batch_size, shuffle=task.shuffled, drop_last=task.drop_last, seed=task.seed
    )
    return ResidentData(tensors, device, order, look_size=_look_size(batch_size))


def load_validation(task: Task, device: torch.device) -> Data | None:
    """The validation data of a task on `device`, or None; the errors are those of `load_data`."""
    data = task.validation
    if data is None:
        return None
    if isinstance(data, DataLoader):
        return StreamingData(data, device)
    if isinstance(data, Dataset) and not isinstance(data, TensorDataset):
        return StreamingData(DataLoader(data, batch_size=task.batch_size or _LEAST_LOOK), device)
    tensors, samples = _tensors(data, "validation")
    order = SampleOrder(samples, batch_size=samples, shuffle=False, drop_last=False, seed=0)
    look_size = samples if task.batch_size is None else _look_size(task.batch_size)
    return ResidentData(tensors, device, order, look_size=look_size)


def _look_size(batch_size: int) -> int:
    return max(_LOOK_FACTOR * batch_size, _LEAST_LOOK)


def _check_loader_options(task: Task) -> None:
    given = [n for n in ("batch_size", "shuffle") if getattr(task, n) is not None]
    given += ["drop_last"] * task.drop_last + ["workers"] * bool(task.workers)
    if given:
        raise TaskError(
            f"data is a DataLoader, which decides {' and '.join(given)} itself; "
            "leave that out here, or give the Dataset instead of the DataLoader"
        )


def _loader(task: Task, device: torch.device) -> DataLoader[Any]:
    dataset = task.data
    samples = len(dataset) if hasattr(dataset, "__len__") else None
    if task.batch_size is None:
        raise TaskError(f"{type(dataset).__name__} streams its samples: give a batch_size")
    if samples == 0:
        raise DataError(f"{type(dataset).__name__} is empty")
    if samples is not None and task.batch_size > samples:
        raise TaskError(f"batch_size is {task.batch_size} but there are only {samples} samples")
    iterable = isinstance(dataset, torch.utils.data.IterableDataset)
    if iterable and task.shuffle:
        raise TaskError(
            f"{type(dataset).__name__} is iterable and decides its order itself: leave out shuffle"
        )
    return DataLoader(
        dataset,
        batch_size=task.batch_size,
        shuffle=None if iterable else task.shuffled,
        drop_last=task.drop_last,
        generator=torch.Generator().manual_seed(task.seed),
        num_workers=task.workers,
        worker_init_fn=ignore_interrupts if task.workers else None,
        pin_memory=device.type == "cuda",
    )


def _tensors(data: Any, name: str) -> tuple[Any, int]:
    """The data as a nest of tensors, and how many samples it has."""
    nest = data.tensors if isinstance(data, TensorDataset) else data
    leaves, spec = pytree.tree_flatten(nest)
    if not leaves:
        raise DataError(f"{name} is empty: give tensors, for example (X, y)")
    tensors = [_as_tensor(leaf, name) for leaf in leaves]
    lengths = [len(tensor) for tensor in tensors]
    if len(set(lengths)) > 1:
        raise DataError(
            f"all parts of {name} must have the same number of samples, but have "
            + ", ".join(
                f"{length:,} (shape {list(t.shape)})" for length, t in zip(lengths, tensors, strict=True)
            )
        )
    if lengths[0] == 0:
        raise DataError(f"{name} has no samples: its shapes are {[list(t.shape) for t in tensors]}")
    return pytree.tree_unflatten(tensors, spec), lengths[0]


def _as_tensor(leaf: Any, name: str) -> Tensor:
    if isinstance(leaf, np.ndarray):
        leaf = torch.from_numpy(leaf)
    if not isinstance(leaf, Tensor):
        raise DataError(
            f"{name} must be tensors like (X, y), a TensorDataset, a Dataset or a DataLoader, "
            f"but holds a {type(leaf).__name__}"
        )
    if leaf.dim() == 0:
        raise DataError(
            f"each tensor of {name} must count its samples in its first dimension, but one is a number"
        )
    return leaf
