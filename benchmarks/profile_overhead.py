"""What `flatout profile` costs a step: the same loop without it, after its windows, and within the bare one.

Two steps: one of a network of four layers on a small batch, whose time is nearly all Python, and one of about
a millisecond. The ways take turns, a block of steps each; a block counts by its median step, and a cost is
the difference to the mean of the blocks without flatout before and after. The goal is at most 2 % of a step
of a millisecond, 20 µs, after the windows.

python benchmarks/profile_overhead.py
python benchmarks/profile_overhead.py --quick    fewer rounds, for a look

Prints Markdown, and ends with one line of JSON.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator
from statistics import fmean, median
from time import perf_counter

import torch
from machine import machine
from timing import quartiles
from torch import nn

from flatout.profiling.recorder import Recorder

GOAL_US = 20
BLOCK = 40  # steps
SETTLED = 12  # steps before them: Python specialises its code anew when functions have been replaced


def main() -> None:
    """Measure both steps and print the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true", help="fewer rounds, for a look")
    rounds = 20 if parser.parse_args().quick else 300
    torch.set_num_threads(1)
    rows = [measured(name, step, rounds) for name, step in steps()]
    table = "\n".join(
        [
            f"{machine(1)} Medians of {rounds} rounds, with quartiles.",
            "",
            "| a step of | without flatout | after the windows | in the bare window |",
            "|---|---|---|---|",
            *(shown(row) for row in rows),
        ]
    )
    print(table)
    print(json.dumps(rows))


def steps() -> Iterator[tuple[str, Callable[[], None]]]:
    """A step whose time is Python's, and one of about a millisecond."""
    torch.manual_seed(0)
    small = nn.Sequential(nn.Linear(4, 10), nn.ReLU(), nn.Linear(10, 10), nn.ReLU(), nn.Linear(10, 3))
    yield "4-10-10-3, 120 rows, SGD", training(small, torch.randn(120, 4), torch.randint(3, (120,)))
    wide = nn.Sequential(nn.Linear(64, 256), nn.ReLU(), nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, 10))
    yield "64-256-256-10, 128 rows, SGD", training(wide, torch.randn(128, 64), torch.randint(10, (128,)))


def training(model: nn.Module, x: torch.Tensor, y: torch.Tensor) -> Callable[[], None]:
    """A step as people write it."""
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    loss_function = nn.CrossEntropyLoss()

    def step() -> None:
        optimizer.zero_grad()
        loss = loss_function(model(x), y)
        loss.backward()
        optimizer.step()

    return step


def measured(name: str, step: Callable[[], None], rounds: int) -> dict[str, object]:
    """Microseconds of the step, and what the ways add to it."""
    plain: list[float] = []
    closed: list[float] = []
    bare: list[float] = []
    for turn in range(rounds):
        ways = [lambda: recorded(step, closes=True), lambda: recorded(step, closes=False)]
        before = block(step)
        first = ways[turn % 2]()
        between = block(step)
        second = ways[1 - turn % 2]()
        after = block(step)
        plain.append(median((before, between, after)))
        added = [first - fmean((before, between)), second - fmean((between, after))]
        closed.append(added[turn % 2])
        bare.append(added[1 - turn % 2])
    return {
        "step": name,
        "plain_us": median(plain),
        "closed_us": quartiles(closed),
        "bare_us": quartiles(bare),
    }


def recorded(step: Callable[[], None], *, closes: bool) -> float:
    """The median step, after all windows have closed or within the bare one."""
    recorder = Recorder(2 if closes else 10**9, windows=lambda: iter([("bare", 10**9)]))
    recorder.install()
    try:
        return block(step)
    finally:
        recorder.close()


def block(step: Callable[[], None]) -> float:
    """The median of the microseconds of some steps, the first of which do not count."""
    for _ in range(SETTLED):
        step()
    times = []
    for _ in range(BLOCK):
        began = perf_counter()
        step()
        times.append(perf_counter() - began)
    return 1e6 * median(times)


def shown(row: dict[str, object]) -> str:
    """A row of the table."""

    def added(values: object) -> str:
        assert isinstance(values, tuple)
        low, middle, high = values
        return f"{middle:+.1f} µs ({low:+.1f} to {high:+.1f})"

    return (
        f"| {row['step']} | {row['plain_us']:.0f} µs | {added(row['closed_us'])} | {added(row['bare_us'])} |"
    )


if __name__ == "__main__":
    main()
