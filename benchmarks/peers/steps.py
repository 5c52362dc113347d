"""What a peer gives back, and the order of samples for those that take one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from workloads import Row


@dataclass(frozen=True)
class Steps:
    """A workload under one way to train it.

    Attributes:
        run: makes so many steps (a multiple of `unit`) and waits for them.
        unit: 1, or the steps of an epoch or a chunk where only whole ones can be run.
    """

    run: Callable[[int], object]
    unit: int = 1


def orders(row: Row) -> Iterator[Tensor]:
    """The samples of one step after another, epoch after epoch, whole batches only."""
    while True:
        indices = torch.split(torch.randperm(row.samples), row.step_samples)
        yield from indices[: row.epoch_steps]


def whole_batches(row: Row) -> tuple[Tensor, ...]:
    """The data without the rest that fills no batch, for peers that would train on it."""
    return tuple(part[: row.epoch_steps * row.step_samples] for part in row.data())
