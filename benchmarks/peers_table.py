"""flatout's plan `native` against its peers, turn by turn, each in a process of its own.

python benchmarks/peers_table.py                         all of it; a peer that is not installed is –
python benchmarks/peers_table.py --quick                 two short rounds, for a look
python benchmarks/peers_table.py iris digits --columns "native,eager loop"

The peers come with the extra `bench`. Prints three tables in Markdown and one line of JSON.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections.abc import Callable
from dataclasses import dataclass

from column import COLUMNS, Column
from machine import machine
from timing import quartiles
from workloads import ROWS

OURS, LOOP = "native", "eager loop"
_PACKAGES = ("scikit-learn", "lightning", "keras", "skorch", "jax", "optax")


@dataclass
class Cell:
    """A workload under one way to train it.

    Attributes:
        us: microseconds a step, one number a round.
        first_s: seconds until the first call has returned, imports left out.
        why: where it could not be measured, the reason.
    """

    us: list[float]
    first_s: float = 0.0
    why: str = ""


Results = dict[str, dict[str, Cell]]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("rows", nargs="*", help=f"of {', '.join(ROWS)}; none: all")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--columns", help="with commas between them", default=",".join(COLUMNS))
    parser.add_argument("--quick", action="store_true")
    asked = parser.parse_args()
    names = asked.columns.split(",")
    if unknown := [n for n in asked.rows if n not in ROWS] + [n for n in names if n not in COLUMNS]:
        parser.error(f"no such row or column: {unknown}; rows: {list(ROWS)}, columns: {list(COLUMNS)}")
    rounds, seconds = (2, 0.05) if asked.quick else (5, 0.25)
    columns = [Column(name, asked.threads) for name in names]
    results: Results = {}
    try:
        for row in asked.rows or ROWS:
            results[row] = measured(row, columns, rounds, seconds)
    finally:
        for column in columns:
            column.stop()
    line = machine(asked.threads, *_PACKAGES)
    print(f"{line}\n\n{ratios(results)}\n{steps(results)}\n{first_calls(results)}\n{notes(results)}")
    document = {r: {c: vars(cell) for c, cell in cells.items()} for r, cells in results.items()}
    print(json.dumps({"machine": line, "results": document}))


def measured(row: str, columns: list[Column], rounds: int, seconds: float) -> dict[str, Cell]:
    """The cells of a row: set up one after the other, then timed in turn, round after round."""
    cells: dict[str, Cell] = {}
    for column in columns:
        answer = column.ask(row=row)
        cells[column.name] = Cell([], answer.get("first_s", 0.0), answer.get("why", ""))
        print(f"{row}, {column.name}: {answer}", file=sys.stderr, flush=True)
    for turn in range(rounds + 1):  # the first finds out how many steps a round takes, and does not count
        for column in columns if turn % 2 else reversed(columns):
            cell = cells[column.name]
            if not cell.why:
                answer = column.ask(seconds=seconds)
                cell.why = answer.get("why", "")
                cell.us += [answer["us"]] if turn and not cell.why else []
    for column in columns:
        if not cells[column.name].why:
            column.ask(end=True)
    return cells


def ratios(results: Results) -> str:
    """How many times faster native is than the eager loop, and than the best peer, beside the goals."""
    lines = [
        f"| `{OURS}` is faster (quartiles) | than the {LOOP} | goal | than the best peer | goal | which is |",
        "|---|---|---|---|---|---|",
    ]
    for row, cells in results.items():
        times = {name: cell.us for name, cell in cells.items() if not cell.why}
        ours = times.pop(OURS, None)
        if ours is None or LOOP not in times:
            lines.append(f"| {row} | – | | – | | |")
            continue
        best = min(times, key=lambda name: statistics.median(times[name]))
        goal, goal_peer = ROWS[row].goals
        lines.append(
            f"| {row} | {_faster(ours, times[LOOP])} | {goal:g} | {_faster(ours, times[best])} "
            f"| {goal_peer:g} | {best} |"
        )
    return "\n".join([*lines, ""])


def _faster(ours: list[float], theirs: list[float]) -> str:
    low, middle, high = quartiles([b / a for a, b in zip(ours, theirs, strict=True)])
    return f"{_number(middle)} ({_number(low)}–{_number(high)})"


def steps(results: Results) -> str:
    """Microseconds a step, medians over the rounds."""
    return _table("µs a step", results, lambda cell: _number(statistics.median(cell.us)))


def first_calls(results: Results) -> str:
    """Seconds until the first call has returned."""
    return _table("first call, s", results, lambda cell: f"{cell.first_s:.2f}")


def _table(title: str, results: Results, shown: Callable[[Cell], str]) -> str:
    columns = list(next(iter(results.values())))
    reasons = _reasons(results)
    lines = [f"| {title} | {' | '.join(columns)} |", "|---|" + "---|" * len(columns)]
    for row, cells in results.items():
        figures = [
            f"– [{reasons.index(cell.why) + 1}]" if cell.why else shown(cell) for cell in cells.values()
        ]
        lines.append(f"| {row} | {' | '.join(figures)} |")
    return "\n".join([*lines, ""])


def notes(results: Results) -> str:
    """Why cells are empty."""
    return "".join(f"[{number}] {why}\n" for number, why in enumerate(_reasons(results), 1))


def _reasons(results: Results) -> list[str]:
    return list(dict.fromkeys(cell.why for cells in results.values() for cell in cells.values() if cell.why))


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


if __name__ == "__main__":
    main()
