"""Trainings from nothing to the end, set-up included, each in a process that has only imported torch.

python benchmarks/whole_training.py
python benchmarks/whole_training.py --quick    one round, for a look

`flatout train iris` against the eager loop, and the plan `auto` against each single plan. Nothing is built
beforehand: every training has an empty cache, but where the table says "cached".
"""

from __future__ import annotations

import dataclasses
import json
import os
import statistics
import sys
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from machine import machine
from timing import in_fork
from workloads import ROWS, Row

import flatout

_PLANS = ("auto", "eager", "native")
# How much longer than the best other plan `compiled` may take: it takes many times longer, as a rule.
_PATIENCE = 2.0


def main() -> None:
    """Measure and print."""
    rounds = 1 if "--quick" in sys.argv else 3
    torch.set_num_threads(1)
    os.environ["OMP_NUM_THREADS"] = "1"
    warnings.simplefilter("ignore")
    line = machine(1)
    print(f"{line}\n")
    command = command_rows(2 * rounds - 1)
    auto = auto_rows(rounds)
    print(json.dumps({"machine": line, "command": command, "auto": auto}))


def command_rows(rounds: int) -> list[dict[str, Any]]:
    """`flatout train iris`, with an empty cache and with its library kept, against the eager loop."""
    times: dict[str, list[float]] = {"from nothing": [], "cached": [], "loop": []}
    for _ in range(rounds):
        with tempfile.TemporaryDirectory() as folder:
            times["from nothing"].append(in_fork(_in(folder, train_iris))[0])
            times["cached"].append(in_fork(_in(folder, train_iris))[0])
        times["loop"].append(in_fork(eager_iris)[0])
    print("| `flatout train iris`, 20,000 steps | takes | the eager loop | ratio | goal |")
    print("|---|---|---|---|---|")
    rows = []
    for name, goal in (("from nothing", 0.5), ("cached", 0.2)):
        ratio = statistics.median(a / b for a, b in zip(times[name], times["loop"], strict=True))
        ours, theirs = statistics.median(times[name]), statistics.median(times["loop"])
        print(f"| {name} | {ours:.2f} s | {theirs:.2f} s | {ratio:.2f} | less than {goal} |", flush=True)
        rows.append({"what": name, "ours": times[name], "theirs": times["loop"], "ratio": ratio})
    print()
    return rows


def train_iris() -> None:
    """The command, as typed: data, race, training, picture and files of the run."""
    from flatout.cli.app import main as command

    sys.argv = ["flatout", "train", "iris", "--quiet"]
    try:
        command()
    except SystemExit as end:
        if end.code:
            raise


def eager_iris() -> None:
    """The loop written by hand on the same data."""
    from eager_plan import full_batch_loop

    full_batch_loop(lambda: flatout.load_task("iris"))


def auto_rows(rounds: int) -> list[dict[str, Any]]:
    """The plan `auto` against the best single plan, for trainings of their usual length and a short one."""
    print(
        "| training | steps | `auto` takes | and chose | libraries built | eager | native | compiled | "
        "`auto` / best | goal |"
    )
    print("|---|---|---|---|---|---|---|---|---|---|")
    short = dataclasses.replace(ROWS["iris"], steps=20)
    return [auto_row(row, rounds) for row in (*ROWS.values(), short)]


def auto_row(row: Row, rounds: int) -> dict[str, Any]:
    """One training under each plan, in turn."""
    times: dict[str, list[float]] = {plan: [] for plan in _PLANS}
    found: dict[str, Any] = {}
    for _ in range(rounds):
        for plan in _PLANS:
            seconds, result = _training(row, plan)
            times[plan].append(seconds)
            found = result if plan == "auto" else found
    taken = {plan: statistics.median(values) for plan, values in times.items()}
    best = min(taken["eager"], taken["native"])
    try:
        compiled, _ = _training(row, "compiled", limit=_PATIENCE * best)
        best, shown = min(best, compiled), f"{compiled:.2f} s"
    except TimeoutError:
        shown = f"more than {_PATIENCE * best:.1f} s"
    ratio = taken["auto"] / best
    print(
        f"| {row.name} | {row.steps:,} | {taken['auto']:.2f} s | {found['plan']} | {found['built']} "
        f"| {taken['eager']:.2f} s | {taken['native']:.2f} s | {shown} | {ratio:.2f} "
        f"| {'at most 1.1' if row.steps > 20 else 'at most 1.1, builds 0'} |",
        flush=True,
    )
    return {"row": row.name, "steps": row.steps, "times": times, "ratio": ratio, **found}


def _training(row: Row, plan: str, limit: float | None = None) -> tuple[float, dict[str, Any]]:
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        return in_fork(_in(folder, lambda: fit(row, plan)), limit)


def fit(row: Row, plan: str) -> dict[str, Any]:
    """Train a workload for its steps."""
    run = flatout.fit(row.task(row.steps), plan=plan, device="cpu", progress=False)
    return {"plan": run.plan, "built": len(list(Path(os.environ["FLATOUT_CACHE"]).glob("*.so")))}


def _in(folder: str, work: Callable[[], Any]) -> Callable[[], Any]:
    """The work, in a folder that holds every cache and every run it makes."""

    def there() -> Any:
        os.chdir(folder)
        for name in ("FLATOUT_CACHE", "TORCHINDUCTOR_CACHE_DIR"):
            os.environ[name] = str(Path(folder) / name)
        return work()

    return there


if __name__ == "__main__":
    main()
