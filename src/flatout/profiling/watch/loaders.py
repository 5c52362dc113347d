"""DataLoaders, by the line of the user that iterates over them."""

from __future__ import annotations

import sys
from statistics import median
from threading import get_ident
from time import perf_counter
from typing import Any

from flatout.profiling.patches import Function, Patches
from flatout.profiling.user_lines import Line, user_line
from flatout.profiling.watch.seen import Loader


class Loaders:
    """Counts the batches of each DataLoader, and takes its facts when it gives the first.

    Attributes:
        thread: where they are watched.
        seen: by line.
    """

    def __init__(self, seen: dict[Line, Loader]) -> None:
        self.thread = 0
        self.seen = seen

    def watch(self, patches: Patches) -> None:
        """Begin."""
        from torch.utils.data import dataloader

        patches.wrap(dataloader._BaseDataLoaderIter, "__next__", self._next)

    def _next(self, original: Function) -> Function:
        def following(iterator: Any) -> Any:
            batch = original(iterator)
            if get_ident() == self.thread:
                line = user_line(sys._getframe(1))
                if line not in self.seen:
                    self.seen[line] = _facts(iterator)
                self.seen[line].batches += 1
            return batch

        return following


def _facts(iterator: Any) -> Loader:
    from torch.utils.data import IterableDataset

    size = getattr(iterator._index_sampler, "batch_size", None)
    return Loader(
        workers=iterator._num_workers,
        index_s=_index_seconds(iterator, size),
        batch_size=None if size is None else int(size),
        map_style=not isinstance(iterator._dataset, IterableDataset),
        pinned=bool(iterator._pin_memory),
        persistent=bool(iterator._persistent_workers),
    )


def _index_seconds(iterator: Any, size: int | None) -> float | None:
    """The time of `[tensor[indices] for tensor in tensors]` for one batch; draws no random number."""
    import torch
    from torch.utils.data import TensorDataset, default_collate

    dataset = iterator._dataset
    plain = type(dataset) is TensorDataset and iterator._collate_fn is default_collate
    if not plain or size is None or not len(dataset):
        return None
    count = min(int(size), len(dataset))
    indices = torch.arange(count) * (len(dataset) // count)
    times = []
    for _ in range(9):
        began = perf_counter()
        for tensor in dataset.tensors:
            tensor[indices]
        times.append(perf_counter() - began)
    return median(times)
