"""DataLoaders that are quicker: whole batches from resident tensors, workers, pinned memory.

They give the same batches in the same order, and draw the same random numbers while they do.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from flatout.profiling.patches import Function
from flatout.profiling.remedies.remedy import Remedy
from flatout.profiling.user_lines import Line

if TYPE_CHECKING:
    from torch import Tensor


class Resident(Remedy):
    """Batches of a TensorDataset are indexed whole, where its DataLoader takes them sample by sample.

    Args:
        line: that iterates over the DataLoader.
        device: where the model lies; on a GPU the tensors are moved there once.
    """

    words = "whole batches are indexed"

    def __init__(self, line: Line, device: str | None) -> None:
        super().__init__(line)
        self._device = device if device not in (None, "cpu") else None
        self._moved: dict[int, tuple[Any, list[Tensor]]] = {}

    def install(self) -> None:
        from torch.utils.data import DataLoader

        self.patches.wrap(DataLoader, "__iter__", self._iter)

    def _iter(self, original: Function) -> Function:
        def iterate(loader: Any) -> Any:
            if not self.is_there(sys._getframe(1)) or not takes_samples_one_by_one(loader):
                return original(loader)
            self.applied += 1
            _draw_base_seed(loader)
            return _batches(loader, self._tensors(loader.dataset))

        return iterate

    def _tensors(self, dataset: Any) -> list[Tensor]:
        if self._device is None:
            return list(dataset.tensors)
        if id(dataset) not in self._moved:
            self._moved[id(dataset)] = (dataset, [tensor.to(self._device) for tensor in dataset.tensors])
        return self._moved[id(dataset)][1]


class Workers(Remedy):
    """Worker processes load while the step computes, and stay from one epoch to the next.

    Args:
        line: that iterates over the DataLoader.
        count: of workers.
    """

    def __init__(self, line: Line, count: int) -> None:
        super().__init__(line)
        self._count = count
        self.words = f"{count} worker{'s'[: count != 1]} that stay"

    def install(self) -> None:
        from torch.utils.data import DataLoader

        self.patches.wrap(DataLoader, "__iter__", self._iter)

    def _iter(self, original: Function) -> Function:
        from torch.utils.data import IterableDataset

        def iterate(loader: Any) -> Any:
            if self.is_there(sys._getframe(1)) and not isinstance(loader.dataset, IterableDataset):
                self._employ(loader)
                if loader._iterator is not None:
                    _draw_base_seed(loader)  # as an iterator that is made anew does
            return original(loader)

        return iterate

    def _employ(self, loader: Any) -> None:
        if loader.num_workers != self._count or not loader.persistent_workers:
            own = vars(loader)  # the DataLoader lets nobody change these later
            own.update(num_workers=self._count, persistent_workers=True)
            own["prefetch_factor"] = loader.prefetch_factor or 2
            self.applied += 1


class Pinned(Remedy):
    """DataLoaders give batches in pinned memory, and the line that copies them does not wait."""

    words = "batches are pinned, and copied without a wait"

    def install(self) -> None:
        import torch
        from torch.utils.data import DataLoader

        self.patches.wrap(DataLoader, "__init__", self._init)
        for name in ("to", "cuda"):
            self.patches.wrap(torch.Tensor, name, self._copy)

    def _init(self, original: Function) -> Function:
        def make(loader: Any, *args: Any, **options: Any) -> None:
            original(loader, *args, **options)
            loader.pin_memory = True

        return make

    def _copy(self, original: Function) -> Function:
        def copy(tensor: Any, *args: Any, **options: Any) -> Any:
            # Only to the GPU: a copy back that nobody waits for holds no numbers yet.
            if tensor.device.type == "cpu" and self.is_there(sys._getframe(1)):
                self.applied += 1
                options["non_blocking"] = True
            return original(tensor, *args, **options)

        return copy


def takes_samples_one_by_one(loader: Any) -> bool:
    """Whether a DataLoader makes its batches of a TensorDataset's samples in this process."""
    from torch.utils.data import TensorDataset, default_collate

    return (
        type(loader.dataset) is TensorDataset
        and loader.collate_fn is default_collate
        and loader.batch_sampler is not None
        and loader.num_workers == 0
        and len(loader.dataset) > 0
    )


def _draw_base_seed(loader: Any) -> None:
    """What every iterator of a DataLoader draws as it is made."""
    import torch

    torch.empty((), dtype=torch.int64).random_(generator=loader.generator)


def _batches(loader: Any, tensors: list[Tensor]) -> Iterator[list[Tensor]]:
    for rows in _rows(loader.batch_sampler):
        there = rows.to(tensors[0].device, non_blocking=True)
        batch = [tensor[there] for tensor in tensors]
        yield [tensor.pin_memory() for tensor in batch] if _pins(loader, batch) else batch


def _pins(loader: Any, batch: list[Tensor]) -> bool:
    import torch

    return loader.pin_memory and torch.accelerator.is_available() and batch[0].device.type == "cpu"


def _rows(batches: Any) -> Iterator[Tensor]:
    """The indices of each batch, as its sampler draws them, but without a list of numbers."""
    import torch
    from torch.utils.data import BatchSampler, RandomSampler, SequentialSampler

    sampler = batches.sampler if type(batches) is BatchSampler else None
    if type(sampler) is SequentialSampler:
        order = torch.arange(len(sampler))
        generator = None
    elif type(sampler) is RandomSampler and not sampler.replacement and sampler._num_samples is None:
        generator = sampler.generator
        drawn = generator
        if drawn is None:
            seed = int(torch.empty((), dtype=torch.int64).random_().item())
            drawn = torch.Generator().manual_seed(seed)
        order = torch.randperm(len(sampler), generator=drawn)
    else:
        yield from (torch.tensor(indices) for indices in batches)
        return
    pieces = list(torch.split(order, batches.batch_size))
    short = len(pieces[-1]) < batches.batch_size
    yield from pieces[:-1] if short else pieces
    if generator is not None:
        torch.randperm(len(order), generator=generator)  # as the sampler does when it is exhausted
    if short and not batches.drop_last:
        yield pieces[-1]
