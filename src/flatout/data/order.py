"""Which samples each step sees, in the order `DataLoader` would give.

`DataLoader(dataset, batch_size, shuffle=True, generator=g)` draws from `g`, each epoch: one 64-bit seed for
its workers, one permutation, and, when the epoch is exhausted, one more permutation that it does not use
(torch/utils/data: `_BaseDataLoaderIter.__init__`, `RandomSampler.__iter__`). The same draws are made here
without a Python list of indices, so that an epoch's order costs one `randperm`.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

# An order of at most this many indices is handed out at once (32 MiB of int64).
_MOST_INDICES = 1 << 22


class SampleOrder:
    """The endless order of samples, epoch after epoch, cut into steps.

    Args:
        samples: how many samples there are.
        batch_size: samples a step; the last step of an epoch may have fewer.
        shuffle: whether each epoch draws a new order.
        drop_last: leave that smaller step out.
        seed: of the order.

    Example:
        >>> order = SampleOrder(5, batch_size=2, shuffle=False, drop_last=False, seed=0)
        >>> order.take(10)
        tensor([[0, 1],
                [2, 3]])
        >>> order.take(10)
        tensor([[4]])
    """

    def __init__(self, samples: int, *, batch_size: int, shuffle: bool, drop_last: bool, seed: int) -> None:
        self.samples = samples
        self.batch_size = batch_size
        self.shuffle = shuffle
        self.epoch = 0
        self.position = 0  # steps of this epoch that were handed out
        self.whole_steps = samples // batch_size
        self.remainder = 0 if drop_last else samples % batch_size
        self.steps_per_epoch = self.whole_steps + bool(self.remainder)
        self._generator = torch.Generator().manual_seed(seed)
        self._epoch_start = self._generator.get_state()
        self._indices = self._draw()

    def take(self, steps: int, *, cross_epochs: bool = True) -> Tensor:
        """The indices of the next steps: int64 `[at most steps, batch]`, on the host.

        All steps of one answer have the same batch size, so fewer than asked may come. Where every step
        sees the same samples, the rows are one row (stride 0).

        Args:
            steps: how many are wanted.
            cross_epochs: whether the answer may go on into the next epoch.
        """
        if not self.shuffle and self.whole_steps == 1 and not self.remainder:
            count = steps if cross_epochs else 1
            self.epoch += count
            return self._indices[: self.batch_size].expand(count, self.batch_size)
        steps = min(steps, max(1, _MOST_INDICES // self.batch_size))
        pieces = [self._take_within_epoch(steps)]
        count = len(pieces[0])
        while cross_epochs and count < steps and not self.remainder:
            pieces.append(self._take_within_epoch(steps - count))
            count += len(pieces[-1])
        return pieces[0] if len(pieces) == 1 else torch.cat(pieces)

    def _take_within_epoch(self, steps: int) -> Tensor:
        first = self.position
        if first < self.whole_steps:
            self.position = min(first + steps, self.whole_steps)
            order = self._indices[first * self.batch_size : self.position * self.batch_size]
            order = order.view(-1, self.batch_size)
        else:
            self.position += 1
            order = self._indices[first * self.batch_size :].view(1, -1)
        if self.position == self.steps_per_epoch:
            self._finish_epoch()
        return order

    def _draw(self) -> Tensor:
        if not self.shuffle:
            return torch.arange(self.samples)
        torch.empty((), dtype=torch.int64).random_(generator=self._generator)
        return torch.randperm(self.samples, generator=self._generator)

    def _finish_epoch(self) -> None:
        self.epoch += 1
        self.position = 0
        if self.shuffle:
            torch.randperm(self.samples, generator=self._generator)
            self._epoch_start = self._generator.get_state()
            self._indices = self._draw()

    def state(self) -> dict[str, Any]:
        """Where the order is, to go on from later."""
        return {"epoch": self.epoch, "position": self.position, "generator": self._epoch_start}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from what `state` returned."""
        self.epoch, self.position = state["epoch"], state["position"]
        self._generator.set_state(state["generator"])
        self._epoch_start = state["generator"]
        self._indices = self._draw()
