"""Data that lies on the device as a whole: a batch is an index there."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from flatout.data.order import SampleOrder
from flatout.data.source import Batch, Data
from flatout.hardware import to_device


class ResidentData(Data):
    """A nest of tensors whose first dimension counts the samples, on a device.

    Args:
        tensors: the nest: a tensor, or tuples, lists and dicts of them.
        device: goes there once; what is there already is not copied.
        order: which samples each step sees.
        look_size: samples a batch of `all_batches`.
    """

    def __init__(self, tensors: Any, device: torch.device, order: SampleOrder, *, look_size: int) -> None:
        self.device = device
        self.samples: int = order.samples
        self.steps_per_epoch: int = order.steps_per_epoch
        self._host = tensors
        self.tensors = to_device(tensors, device)
        self._leaves, self._spec = pytree.tree_flatten(self.tensors)
        self._rebuild = _rebuilder(self.tensors, self._spec)
        self._order = order
        self.batch_size = order.batch_size
        self.batch_sizes = [order.batch_size] + [order.remainder] * bool(order.remainder)
        self._look_size = look_size
        self._description: dict[str, Any] | None = None

    @property
    def epoch(self) -> int:
        return self._order.epoch

    @property
    def position(self) -> int:
        return self._order.position

    def take(self, steps: int, *, cross_epochs: bool = True) -> Tensor:
        return self._order.take(steps, cross_epochs=cross_epochs)

    def batches(self, order: Tensor) -> Iterator[Batch]:
        if self._is_whole(order):
            for _ in range(len(order)):
                yield self.tensors
            return
        leaves, rebuild = self._leaves, self._rebuild
        # index_select makes each batch a tensor of its own, aligned as a DataLoader's would be:
        # slices of one large gather are faster but can round differently in the last bit.
        for index in order.to(self.device, non_blocking=True).unbind(0):
            yield rebuild([leaf.index_select(0, index) for leaf in leaves])

    def all_batches(self) -> Iterator[Batch]:
        if self._look_size >= self.samples:
            yield self.tensors
            return
        for first in range(0, self.samples, self._look_size):
            yield self._rebuild([leaf[first : first + self._look_size] for leaf in self._leaves])

    def sample(self) -> Batch:
        return self._rebuild([leaf[:2] for leaf in self._leaves])

    def describe(self) -> dict[str, Any]:
        if self._description is None:  # reads all data, so once
            self._description = self._describe()
        return self._description

    def _describe(self) -> dict[str, Any]:
        leaves = pytree.tree_leaves(self._host)
        checksum = hashlib.sha256()
        for leaf in leaves:
            checksum.update(leaf.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().data)
        return {
            "shapes": [list(leaf.shape) for leaf in leaves],
            "dtypes": [str(leaf.dtype).removeprefix("torch.") for leaf in leaves],
            "batch_size": self._order.batch_size,
            "steps_per_epoch": self.steps_per_epoch,
            "shuffle": self._order.shuffle,
            "sha256": checksum.hexdigest(),
        }

    def state(self) -> dict[str, Any]:
        return self._order.state()

    def restore(self, state: dict[str, Any]) -> None:
        self._order.restore(state)

    def _is_whole(self, order: Tensor) -> bool:
        """Whether every step sees all samples as they lie, so that nothing needs to be gathered."""
        return (
            order.shape[1] == self.samples
            and order.stride(0) == 0
            and torch.equal(order[0], torch.arange(self.samples))
        )


def _rebuilder(whole: Any, spec: pytree.TreeSpec) -> Callable[[list[Tensor]], Any]:
    """How leaves become a batch again; the usual structures without the detour over the tree."""
    if type(whole) is tuple and all(isinstance(part, Tensor) for part in whole):
        return tuple
    if isinstance(whole, Tensor):
        return lambda leaves: leaves[0]
    return lambda leaves: pytree.tree_unflatten(leaves, spec)
