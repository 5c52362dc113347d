"""flatout against its peers: the same workloads, one process after the other, warm; µs a step and first call.

python benchmarks/peers.py                       all of it; a peer that is not installed is left out
python benchmarks/peers.py --threads 2
python benchmarks/peers.py iris digits           these workloads only

The peers come with the extra `bench`. Prints two tables in Markdown and one JSON line.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

from peers_cells import COLUMNS, measure
from peers_rows import ROWS

_MOST_SECONDS = 240  # for a cell


def main() -> None:
    """Measure every cell in a process of its own."""
    parser = argparse.ArgumentParser()
    parser.add_argument("rows", nargs="*", help=", ".join(ROWS))
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--columns", help="with commas between them")
    parser.add_argument("--cell", nargs=2, metavar=("ROW", "COLUMN"), help="measure one cell here")
    asked = parser.parse_args()
    if asked.cell:
        _limit_threads(asked.threads)
        print(json.dumps(measure(ROWS[asked.cell[0]], asked.cell[1])))
        return
    columns = asked.columns.split(",") if asked.columns else list(COLUMNS)
    results = {
        row: {column: cell(row, column, asked.threads) for column in columns} for row in asked.rows or ROWS
    }
    from run import machine

    print(f"{machine()}; {asked.threads} thread(s)\n")
    print(table("µs a step, warm", results, columns, "us"))
    print(table("seconds to the first step", results, columns, "first_s"))
    print(ratios(results))
    print(json.dumps({"machine": machine(), "threads": asked.threads, "results": results}))


def _limit_threads(threads: int) -> None:
    """The same cores for everyone: not every peer can be told how many threads to use."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, set(sorted(os.sched_getaffinity(0))[-threads:]))
    import torch

    torch.set_num_threads(threads)


def cell(row: str, column: str, threads: int) -> dict[str, float | str]:
    """One measurement; where there is none, why."""
    here = Path(__file__)
    call = [sys.executable, str(here), "--threads", str(threads), "--cell", row, column]
    environment = os.environ | {"OMP_NUM_THREADS": str(threads), "JAX_PLATFORMS": "cpu"}
    try:
        done = subprocess.run(
            call, capture_output=True, text=True, check=False, timeout=_MOST_SECONDS, env=environment
        )
    except subprocess.TimeoutExpired:
        return {"why": f"more than {_MOST_SECONDS} s"}
    if done.returncode:
        return {"why": (done.stderr.strip().splitlines() or ["failed"])[-1]}
    found: dict[str, float | str] = json.loads(done.stdout.strip().splitlines()[-1])
    print(f"{row}, {column}: {found['us']:.2f} µs", file=sys.stderr, flush=True)
    return found


Results = dict[str, dict[str, dict[str, float | str]]]


def table(title: str, results: Results, columns: list[str], figure: str) -> str:
    """A table in Markdown; a cell that could not be measured is –."""
    lines = [f"| {title} | {' | '.join(columns)} |", "|---|" + "---|" * len(columns)]
    for row, cells in results.items():
        shown = [_number(cells[column].get(figure)) for column in columns]
        lines.append(f"| {row} | {' | '.join(shown)} |")
    return "\n".join([*lines, ""])


def ratios(results: Results) -> str:
    """How many times faster the plan native is than the eager loop, and than the best of the others."""
    lines = ["| native is faster | than the eager loop | than the best peer |", "|---|---|---|"]
    for row, cells in results.items():
        times = {name: float(found["us"]) for name, found in cells.items() if "us" in found}
        ours = times.get("plan native")
        peers = {name: time for name, time in times.items() if not name.startswith("plan ")}
        if ours is None or "eager loop" not in times:
            continue
        best = min(peers, key=lambda name: peers[name])
        lines.append(f"| {row} | {times['eager loop'] / ours:.1f} | {peers[best] / ours:.1f} ({best}) |")
    return "\n".join([*lines, ""])


def _number(value: float | str | None) -> str:
    if not isinstance(value, float):
        return "–"
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


if __name__ == "__main__":
    main()
