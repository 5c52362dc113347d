"""Do the gains that `flatout profile` predicts come true? One fault after another is planted in a script.

python benchmarks/profile_gains.py
python benchmarks/profile_gains.py --quick          two rounds, for a look
python benchmarks/profile_gains.py print format     these kinds only

For each fault, `flatout profile` runs the faulty script and predicts the gain. Then the faulty script and the
fixed one run turn by turn, without flatout, each in a process of its own, and time their steps by themselves.
Prints Markdown, and ends with one line of JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from faults import FAULTS, Fault
from machine import machine
from timing import quartiles

_NEAR = 0.25


def main() -> None:
    """Profile, then measure, fault by fault."""
    parser = argparse.ArgumentParser()
    parser.add_argument("kinds", nargs="*", help=f"of {', '.join(fault.kind for fault in FAULTS)}; none: all")
    parser.add_argument("--quick", action="store_true", help="fewer rounds, for a look")
    asked = parser.parse_args()
    rounds = 2 if asked.quick else 5
    rows = []
    with tempfile.TemporaryDirectory(prefix="flatout-gains-") as folder:
        for fault in FAULTS:
            if not asked.kinds or fault.kind in asked.kinds:
                rows.append(measured(fault, Path(folder), rounds))
                print(shown(rows[-1]), file=sys.stderr, flush=True)
    print(f"{table(rows, rounds)}\n")
    print(json.dumps(rows))


def measured(fault: Fault, folder: Path, rounds: int) -> dict[str, Any]:
    """What was predicted for a fault, and what came true; milliseconds a step."""
    row: dict[str, Any] = {"name": fault.name, "kind": fault.kind}
    faulty, fixed = folder / "faulty.py", folder / "fixed.py"
    faulty.write_text(fault.script())
    seen = profiled(faulty)
    found = [one for one in seen["findings"] if one["kind"] == fault.kind and one["gain_ms"] is not None]
    if found:
        best = max(found, key=lambda one: float(one["gain_ms"]))
        row |= {key: best[key] for key in ("gain_ms", "gain_low", "gain_high")}
    else:
        row["why"] = seen["abstained"] or "no such finding"
    fixed.write_text(fault.script(found[0]["code"] if found else ""))
    pairs = []
    for turn in range(rounds):
        first, second = (faulty, fixed) if turn % 2 else (fixed, faulty)
        a, b = own_time(first), own_time(second)
        pairs.append((a, b) if turn % 2 else (b, a))
    low, middle, high = quartiles([before - after for before, after in pairs])
    row |= {"measured_ms": middle, "measured_low": low, "measured_high": high}
    row["before_ms"] = statistics.median(before for before, _ in pairs)
    return row


def profiled(script: Path) -> dict[str, Any]:
    """The document of `flatout profile`."""
    call = [sys.executable, "-m", "flatout", "profile", "--json", script.name]
    done = subprocess.run(
        call, cwd=script.parent, env=_environment(), capture_output=True, text=True, check=True
    )
    seen: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return seen


def own_time(script: Path) -> float:
    """The milliseconds of a step that the script itself measures."""
    call = [sys.executable, script.name]
    done = subprocess.run(
        call, cwd=script.parent, env=_environment(), capture_output=True, text=True, check=True
    )
    return float(done.stderr.splitlines()[-1])


def _environment() -> dict[str, str]:
    return os.environ | {"OMP_NUM_THREADS": "1"}


def near(row: dict[str, Any]) -> bool:
    """Whether the prediction is within 25 % of what was measured."""
    gain = row.get("gain_ms")
    return gain is not None and abs(float(gain) - row["measured_ms"]) <= _NEAR * abs(row["measured_ms"])


def shown(row: dict[str, Any]) -> str:
    """A row of the table."""
    if "gain_ms" not in row:
        predicted, ratio = "not predicted", "–"
    else:
        predicted = f"{row['gain_ms']:.3g} ({row['gain_low']:.3g} to {row['gain_high']:.3g})"
        ratio = f"{row['gain_ms'] / row['measured_ms']:.2f}"
    measured = f"{row['measured_ms']:.3g} ({row['measured_low']:.3g} to {row['measured_high']:.3g})"
    cells = [row["name"], f"`{row['kind']}`", f"{row['before_ms']:.3g}", predicted, measured, ratio]
    return f"| {' | '.join([*cells, 'yes' if near(row) else 'no'])} |"


def table(rows: list[dict[str, Any]], rounds: int) -> str:
    """The whole table in Markdown."""
    head = "| fault | kind | a step, ms | predicted gain, ms | measured gain, ms | ratio | within 25 % |"
    hits = sum(near(row) for row in rows)
    return "\n".join(
        [
            machine(1),
            "",
            f"{hits} of {len(rows)} predictions are within 25 % of what was measured. Predicted: with the "
            f"interval of `flatout profile`. Measured: the median and quartiles of {rounds} rounds.",
            "",
            head,
            "|---|---|--:|--:|--:|--:|---|",
            *map(shown, rows),
        ]
    )


if __name__ == "__main__":
    main()
