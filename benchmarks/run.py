"""Measure what docs/benchmarks.md shows, on this machine; prints a table in Markdown and one JSON line.

python benchmarks/run.py            all of it
python benchmarks/run.py --quick    fewer rounds, for a look
"""

from __future__ import annotations

import datetime
import json
import os
import platform
import sys
from dataclasses import asdict
from pathlib import Path

import eager_plan
import start_up
import torch
from timing import Ratio

import flatout


def main() -> None:
    """Run the benchmarks on one thread, so that the ratios are of the software."""
    rounds = 3 if "--quick" in sys.argv else 11
    torch.set_num_threads(1)
    print(machine())
    print()
    print("| what | against | goal | ratio (quartiles) | ours | theirs |")
    print("|---|---|---|---|---|---|")
    results = []
    for part in (eager_plan, start_up):
        for what, against, goal, ratio, steps in part.rows(rounds):
            print(line(what, against, goal, ratio, steps), flush=True)
            results.append({"what": what, "against": against, "goal": goal, **asdict(ratio)})
    print()
    print(json.dumps({"machine": machine(), "results": results}))


def line(what: str, against: str, goal: str, ratio: Ratio, steps: int) -> str:
    """One row of the table; times are µs a step, or milliseconds a call."""

    def time(value: float) -> str:
        return f"{value / steps * 1e6:,.0f} µs" if steps > 1 else f"{value * 1e3:,.0f} ms"

    spread = f"{ratio.ratio:.2f} ({ratio.low:.2f}–{ratio.high:.2f})"
    return f"| {what} | {against} | {goal} | {spread} | {time(ratio.ours)} | {time(ratio.theirs)} |"


def machine() -> str:
    """Hardware, date and versions in one line."""
    today = datetime.datetime.now(datetime.UTC).date().isoformat()
    return (
        f"{processor()}, {os.cpu_count()} cores, threads used: {torch.get_num_threads()}; {today}; "
        f"flatout {flatout.__version__}, torch {torch.__version__}, "
        f"Python {platform.python_version()}, {platform.system()}"
    )


def processor() -> str:
    """The name of the CPU."""
    info = Path("/proc/cpuinfo")
    names = (
        [
            row.split(":", 1)[1].strip()
            for row in info.read_text().splitlines()
            if row.startswith("model name")
        ]
        if info.exists()
        else []
    )
    return names[0] if names else platform.processor()


if __name__ == "__main__":
    main()
