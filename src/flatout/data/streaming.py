"""Data that comes in batch by batch from a `DataLoader`, with the next copy under way while one computes."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from itertools import islice
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree
from torch.utils.data import DataLoader, IterableDataset

from flatout.data.random_state import random_state, random_state_kept, set_random_state
from flatout.data.source import Batch, Data
from flatout.errors import DataError
from flatout.hardware import to_device


class StreamingData(Data):
    """The batches of a `DataLoader`, copied to a device as they come.

    On CUDA the copies run on a stream of their own: the host loads and copies the next batch while the
    device computes with this one. Resuming in the middle of an epoch starts that epoch again from its
    random state and passes over the batches that were seen: their indices where that is enough, else the
    batches themselves, so that an iterable dataset or the random generators of workers get where they were.

    Args:
        loader: where the batches come from.
        device: where they go.
    """

    def __init__(self, loader: DataLoader[Any], device: torch.device) -> None:
        self.device = device
        self.loader = loader
        self.steps_per_epoch: int | None = _length(loader)
        self.samples: int | None = _samples(loader)
        self._epoch = 0
        self._position = 0
        self._iterator: Iterator[Any] | None = None
        self._epoch_start: dict[str, Any] = {}
        self._copies: torch.cuda.Stream | None = None
        if device.type == "cuda":
            self._copies = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]

    @property
    def epoch(self) -> int:
        return self._epoch

    @property
    def position(self) -> int:
        return self._position

    def take(self, steps: int, *, cross_epochs: bool = True) -> Tensor:
        if self.steps_per_epoch is not None:
            steps = min(steps, self.steps_per_epoch - self._position)
        return torch.empty(steps, 0, dtype=torch.int64)

    def batches(self, order: Tensor) -> Iterator[Batch]:
        for _ in range(len(order)):
            batch = self._next()
            if batch is None:
                return
            yield self._placed(batch[0])
        if self._position == self.steps_per_epoch and self._next() is not None:
            raise DataError(
                f"{self._name} gives more than the {self.steps_per_epoch:,} batches an epoch that its length "
                "promises; correct its __len__ or leave it out"
            )

    def _next(self) -> tuple[Any] | None:
        """The next batch in a tuple; None, and a new epoch, where this one is exhausted."""
        if self._iterator is None:
            self._epoch_start = self._random_state()
            self._iterator = self._begin()
        try:
            batch = next(self._iterator)
        except StopIteration:
            if self._position == 0:
                raise DataError(
                    f"{self._name} gave no batch in epoch {self._epoch + 1}; "
                    "each iteration over it must begin anew and hold at least one batch"
                ) from None
            self._epoch += 1
            self._position = 0
            self._iterator = None
            return None
        self._position += 1
        return (batch,)

    def _placed(self, batch: Any) -> Batch:
        if self._copies is None:
            return to_device(batch, self.device)
        with torch.cuda.stream(self._copies):
            placed = to_device(batch, self.device, non_blocking=True)
        compute = torch.cuda.current_stream(self.device)
        compute.wait_stream(self._copies)
        for leaf in pytree.tree_leaves(placed):
            if isinstance(leaf, Tensor):
                leaf.record_stream(compute)
        return placed

    def all_batches(self) -> Iterator[Batch]:
        for batch in self.loader:
            yield self._placed(batch)

    def sample(self) -> Batch | None:
        if isinstance(self.loader.dataset, IterableDataset):
            return None  # a look could use it up
        with random_state_kept():
            collate = self.loader.collate_fn
            first = self.loader.dataset[0]
            batched = self.loader.batch_sampler is not None
            return to_device(collate([first]) if batched else first, self.device)

    def describe(self) -> dict[str, Any]:
        return {
            "dataset": self._name,
            "samples": self.samples,
            "batch_size": self.loader.batch_size,
            "steps_per_epoch": self.steps_per_epoch,
            "sampler": type(self.loader.sampler).__name__,
        }

    @property
    def _name(self) -> str:
        return type(self.loader.dataset).__name__

    def state(self) -> dict[str, Any]:
        start = self._epoch_start if self._iterator is not None else self._random_state()
        return {"epoch": self._epoch, "position": self._position, "epoch_start": start}

    def restore(self, state: dict[str, Any]) -> None:
        self._epoch, self._position = state["epoch"], state["position"]
        for generator, saved in zip(_generators(self.loader), state["epoch_start"]["loader"], strict=True):
            generator.set_state(saved)
        if self._position == 0:
            return
        self._epoch_start = state["epoch_start"]
        with random_state_kept():
            set_random_state(state["epoch_start"]["global"])
            if _can_skip(self.loader):
                self._iterator = _rest_of_epoch(self.loader, self._position)
                return
            self._iterator = self._begin()
            for _ in islice(self._iterator, self._position):
                pass

    def _begin(self) -> Iterator[Any]:
        """Begin an epoch. Workers that persist get their seed in the first one only, resumed or not."""
        loader, generator = self.loader, self.loader.generator
        if loader.persistent_workers and self._epoch > 0:
            loader.generator = torch.Generator()
        try:
            return iter(loader)
        finally:
            loader.generator = generator

    def close(self) -> None:
        self._iterator = None  # stops its workers now; found by the garbage collector, they may hang

    def _random_state(self) -> dict[str, Any]:
        return {"global": random_state(), "loader": [g.get_state() for g in _generators(self.loader)]}


def _can_skip(loader: DataLoader[Any]) -> bool:
    """Whether batches can be passed over by their indices: all draws at random are made in this process."""
    return (
        type(loader) is DataLoader
        and not isinstance(loader.dataset, IterableDataset)
        and loader.batch_sampler is not None
        and _length(loader) is not None
        and loader.num_workers == 0
    )


def _rest_of_epoch(loader: DataLoader[Any], passed: int) -> Iterator[Any]:
    """The batches of an epoch after its first `passed`, which are not loaded."""
    # The draws of a DataLoader that begins an epoch: the seed of its workers, then the order.
    torch.empty((), dtype=torch.int64).random_(generator=loader.generator)
    rest = list(loader.batch_sampler or ())[passed:]
    return iter(
        DataLoader(
            loader.dataset,
            batch_sampler=rest,
            collate_fn=loader.collate_fn,
            pin_memory=loader.pin_memory,
            generator=torch.Generator(),
        )
    )


def ignore_interrupts(worker: int) -> None:
    """Ctrl-C reaches every process of a terminal; when to stop is for the one that trains to decide."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _generators(loader: DataLoader[Any]) -> list[torch.Generator]:
    """The generators that belong to a loader and its samplers, each once."""
    inner = getattr(loader.batch_sampler, "sampler", None)
    held = [
        getattr(part, "generator", None) for part in (loader, loader.sampler, loader.batch_sampler, inner)
    ]
    return list({id(g): g for g in held if isinstance(g, torch.Generator)}.values())


def _length(loader: DataLoader[Any]) -> int | None:
    try:
        return len(loader)
    except TypeError:
        return None


def _samples(loader: DataLoader[Any]) -> int | None:
    try:
        return len(loader.dataset)  # type: ignore[arg-type]
    except TypeError:
        return None
