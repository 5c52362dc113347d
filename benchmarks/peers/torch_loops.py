"""Loops written by hand in PyTorch."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset
from workloads import Row

from peers.steps import Steps, orders


def eager(row: Row) -> Steps:
    """The eager loop: batches by index, never `.item()`."""
    return _loop(row, row.objective)


def fused(row: Row) -> Steps:
    """The eager loop with the fused optimizer."""
    return _loop(row, row.objective, fused=True)


def compiled(row: Row) -> Steps:
    """The eager loop with forward, loss and update under `torch.compile`."""
    return _loop(row, torch.compile(row.objective), torch.compile)


def _loop(
    row: Row,
    objective: Callable[..., Tensor],
    wrap: Callable[..., Any] = lambda update: update,
    **options: Any,
) -> Steps:
    model, data = row.model(), row.data()
    optimizer = row.optimizer_of(model, **options)
    update = wrap(optimizer.step)
    indices = orders(row)

    def run(count: int) -> None:
        for _ in range(count):
            batch = data
            if row.batch is not None:
                index = next(indices)
                batch = tuple(part[index] for part in data)
            loss = objective(model, batch)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            update()

    return Steps(run)


def loader(row: Row) -> Steps:
    """The loop most people write: a `DataLoader`, and `.item()` at every step."""
    model = row.model()
    optimizer = row.optimizer_of(model)
    batches = DataLoader(TensorDataset(*row.data()), row.step_samples, shuffle=True, drop_last=True)

    def endless() -> Iterator[Any]:
        while True:
            yield from batches

    source = endless()

    def run(count: int) -> None:
        for _ in range(count):
            loss = row.objective(model, tuple(next(source)))
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            loss.item()

    return Steps(run)
