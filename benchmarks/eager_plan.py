"""The eager plan against the loops a person would write by hand: what fit costs, and what it saves."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch
from timing import Ratio, paired
from torch.utils.data import DataLoader, TensorDataset

import flatout
from flatout.task.adjust import adjusted

IRIS_STEPS = 4000
DIGITS_EPOCHS = 20


def fit(make: Callable[[], flatout.Task]) -> float:
    """`flatout.fit` with the eager plan, validation left out as in the loops below."""
    task = make()
    task.validation = None
    begun = time.perf_counter()
    flatout.fit(task, plan="eager", progress=False)
    return time.perf_counter() - begun


def full_batch_loop(make: Callable[[], flatout.Task]) -> float:
    """The hand-written loop over the whole data, never calling `.item()`."""
    task = make()
    model, optimizer, criterion, (X, y) = task.model, task.optimizer, task.loss, task.data
    assert criterion is not None
    losses = []
    begun = time.perf_counter()
    for _ in range(task.epochs or 0):
        loss = criterion(model(X), y)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        losses.append(loss.detach())
    torch.stack(losses).tolist()
    return time.perf_counter() - begun


def index_loop(make: Callable[[], flatout.Task]) -> float:
    """The hand-written loop that indexes tensors with a permutation, never calling `.item()`."""
    task = make()
    model, optimizer, criterion, (X, y) = task.model, task.optimizer, task.loss, task.data
    assert criterion is not None
    losses = []
    begun = time.perf_counter()
    for _ in range(task.epochs or 0):
        for index in torch.split(torch.randperm(len(X)), task.batch_size or len(X)):
            loss = criterion(model(X[index]), y[index])
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            losses.append(loss.detach())
    torch.stack(losses).tolist()
    return time.perf_counter() - begun


def loader_loop(make: Callable[[], flatout.Task]) -> float:
    """The loop most people write: a `DataLoader`, and `loss.item()` at every step."""
    task = make()
    model, optimizer, criterion = task.model, task.optimizer, task.loss
    assert criterion is not None
    loader = DataLoader(TensorDataset(*task.data), batch_size=task.batch_size, shuffle=True)
    losses = []
    begun = time.perf_counter()
    for _ in range(task.epochs or 0):
        for X, y in loader:
            loss = criterion(model(X), y)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            losses.append(loss.item())
    return time.perf_counter() - begun


def iris() -> flatout.Task:
    """The course's run, shortened."""
    return adjusted(flatout.load_task("iris"), epochs=IRIS_STEPS)


def digits() -> flatout.Task:
    """Digits with batches of 64."""
    return adjusted(flatout.load_task("digits"), epochs=DIGITS_EPOCHS, batch_size=64)


def rows(rounds: int = 11) -> list[tuple[str, str, str, Ratio, int]]:
    """What is compared, against what, the goal, the ratio, and the steps a round makes."""
    steps = DIGITS_EPOCHS * 23
    return [
        (
            "eager plan, iris",
            "hand-written loop without .item()",
            "at most 1.05",
            paired(lambda: fit(iris), lambda: full_batch_loop(iris), rounds),
            IRIS_STEPS,
        ),
        (
            "eager plan, digits, batch 64",
            "hand-written loop over indices, without .item()",
            "at most 1.05",
            paired(lambda: fit(digits), lambda: index_loop(digits), rounds),
            steps,
        ),
        (
            "eager plan, digits, batch 64",
            "DataLoader loop with .item()",
            "at most 0.50",
            paired(lambda: fit(digits), lambda: loader_loop(digits), rounds),
            steps,
        ),
    ]
