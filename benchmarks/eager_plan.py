"""The eager plan against the loops a person would write by hand, and start-up: what fit costs, and saves.

python benchmarks/eager_plan.py
python benchmarks/eager_plan.py --quick    fewer rounds, for a look
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from dataclasses import asdict

import start_up
import torch
from machine import machine
from timing import Ratio, paired
from torch.utils.data import DataLoader, TensorDataset

import flatout
from flatout.task.adjust import adjusted

IRIS_STEPS = 4000
DIGITS_EPOCHS = 20


def main() -> None:
    """Measure and print, on one thread, so that the ratios are of the software."""
    rounds = 3 if "--quick" in sys.argv else 7
    torch.set_num_threads(1)
    print(f"{machine(1)}\n")
    print("| what | against | goal | ratio (quartiles) | ours | theirs |")
    print("|---|---|---|---|---|---|")
    results = []
    for measure in (rows, start_up.rows):
        for what, against, goal, ratio, steps in measure(rounds):
            print(line(what, against, goal, ratio, steps), flush=True)
            results.append({"what": what, "against": against, "goal": goal, **asdict(ratio)})
    print(json.dumps({"machine": machine(1), "results": results}))


def line(what: str, against: str, goal: str, ratio: Ratio, steps: int) -> str:
    """One row of the table; times are µs a step, or milliseconds a call."""

    def time(value: float) -> str:
        return f"{value / steps * 1e6:,.0f} µs" if steps > 1 else f"{value * 1e3:,.0f} ms"

    spread = f"{ratio.ratio:.2f} ({ratio.low:.2f}–{ratio.high:.2f})"
    return f"| {what} | {against} | {goal} | {spread} | {time(ratio.ours)} | {time(ratio.theirs)} |"


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


if __name__ == "__main__":
    main()
