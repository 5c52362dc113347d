"""What every kind of data offers to a plan and to training."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

Batch = Any


class Data(ABC):
    """The samples of a task, ready for a device.

    Attributes:
        device: where the batches lie.
        samples: how many samples an epoch has; None where nobody knows before its end.
        steps_per_epoch: steps of an epoch; None likewise.
        epoch: epochs that were handed out whole.
        position: steps of the current epoch that were handed out.
    """

    device: torch.device
    samples: int | None
    steps_per_epoch: int | None

    @property
    @abstractmethod
    def epoch(self) -> int: ...

    @property
    @abstractmethod
    def position(self) -> int: ...

    @abstractmethod
    def take(self, steps: int, *, cross_epochs: bool = True) -> Tensor:
        """The order of the next steps: int64 `[at most steps, batch]`.

        Data that streams decides its order itself; it answers `[steps, 0]`.
        """

    @abstractmethod
    def batches(self, order: Tensor) -> Iterator[Batch]:
        """One batch on the device for each row of `order`; fewer where a stream ends."""

    @abstractmethod
    def all_batches(self) -> Iterator[Batch]:
        """Every sample once, in the order it lies, for validation; leaves the training order alone."""

    @abstractmethod
    def sample(self) -> Batch | None:
        """A batch of the first few samples, for a look at shapes; None where that would use it up."""

    @abstractmethod
    def describe(self) -> dict[str, Any]:
        """What would be different in other data: shapes, types and, for resident data, a checksum."""

    @abstractmethod
    def state(self) -> dict[str, Any]:
        """Where the order is, to go on from later."""

    @abstractmethod
    def restore(self, state: dict[str, Any]) -> None:
        """Go on from what `state` returned."""

    def close(self) -> None:
        """Let go of what reading needs, such as worker processes. Data that lies in memory has none."""


def split_batch(batch: Batch) -> tuple[tuple[Any, ...], Any]:
    """The arguments of the model and the target: the last part of a batch is the target.

    Example:
        >>> split_batch(("x", "y"))
        (('x',), 'y')
    """
    return tuple(batch[:-1]), batch[-1]
