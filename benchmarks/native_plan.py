"""The plan `native` against the hand-written eager loop, on the workloads of `peers_rows.py`.

    python benchmarks/native_plan.py [--threads 2]

Each round runs both in turn in one process. Prints a table in Markdown. Other frameworks: `peers.py`.
"""

from __future__ import annotations

import sys
import time

import peers_cells
import torch
from peers_rows import ROWS, Row
from run import machine
from timing import Ratio, paired

ROUNDS = 9
GOALS = {"iris": 100, "digits": 20, "policy": 20, "simplechains": 6, "mnist-shaped": 4, "pinn": 10}


def main() -> None:
    """Measure every row."""
    threads = int(sys.argv[sys.argv.index("--threads") + 1]) if "--threads" in sys.argv else 1
    torch.set_num_threads(threads)
    print(machine())
    print()
    print("| workload | goal | native is faster by (quartiles) | native | eager loop | set-up of native |")
    print("|---|---|---|---|---|---|")
    for row in ROWS.values():
        ratio, setup, counts = compare(row)
        ours, theirs = ratio.ours / counts[0] * 1e6, ratio.theirs / counts[1] * 1e6
        scale = counts[0] / counts[1]
        faster = f"{scale / ratio.ratio:,.1f} ({scale / ratio.high:,.1f}–{scale / ratio.low:,.1f})"
        print(
            f"| {row.name} | {GOALS.get(row.name, '')} | {faster} | {ours:,.1f} µs | {theirs:,.0f} µs "
            f"| {setup:.1f} s |",
            flush=True,
        )


def compare(row: Row) -> tuple[Ratio, float, tuple[int, int]]:
    """Seconds of a round of each, native's set-up, and how many steps each makes a round (about 0.2 s)."""
    begun = time.perf_counter()
    native = peers_cells.COLUMNS["plan native"](row)
    native(2)
    setup = time.perf_counter() - begun
    eager = peers_cells.COLUMNS["eager loop"](row)
    eager(2)
    counts = [max(2, int(4 / _seconds(steps, 20))) for steps in (native, eager)]
    ratio = paired(lambda: _seconds(native, counts[0]), lambda: _seconds(eager, counts[1]), ROUNDS)
    return ratio, setup, (counts[0], counts[1])


def _seconds(steps: peers_cells.Steps, count: int) -> float:
    begun = time.perf_counter()
    steps(count)
    return time.perf_counter() - begun


if __name__ == "__main__":
    main()
