"""The lab on sizes for the terminal: a table a sweep, the lines through it, and where they cross."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rich.console import RenderableType

from flatout.report import text
from flatout.report.fitting import Fitting
from flatout.report.lab_view import Seen, lab_view, micro
from flatout.report.words import Words


def crossover_view(seen: Seen) -> RenderableType:
    """All of the lab.

    Args:
        seen: its document, see `flatout.labs.crossover_words.document`, with "left_out" and "measured_on".
    """
    return lab_view(seen, _parts(seen))


def _parts(seen: Seen) -> Iterator[RenderableType]:
    for sweep in seen["sweeps"]:
        other = "width" if sweep["what"] == "batch" else "batch"
        yield Words(f"A training step against {sweep['what']}, at {other} {sweep['other']}", "bold")
        yield _table(sweep)
        for curve in sweep["curves"]:
            yield Words(curve["words"], "dim")
        for crossing in sweep["crossings"]:
            yield Words(crossing["words"])
        yield ""
    yield Words(
        f"Medians of {seen['rounds']} rounds, the order drawn anew for each; ±: half of what lies between "
        "the quartiles. The lines are a + b·x, with x the samples, or the weights that a width has. Bounds "
        f"hold {100 * seen['level']:.0f} % of what comes out when the rounds are drawn again.",
        "dim",
    )


def _table(sweep: dict[str, Any]) -> Fitting:
    names = [f"{curve['plan']} on {curve['device']}" for curve in sweep["curves"]]
    spreads = [f"±{' ' * number}" for number in range(len(names))]  # headings that differ
    rows = []
    for index, size in enumerate(sweep["sizes"]):
        times = [curve["us"][index] for curve in sweep["curves"]]
        cells = {sweep["what"]: text.count(size)}
        for name, spread, curve in zip(names, spreads, sweep["curves"], strict=True):
            low, high = curve["quartiles"][index]
            cells[name] = micro(curve["us"][index])
            cells[spread] = f"±{50 * (high - low) / curve['us'][index]:.0f} %"
        cells["fastest"] = names[times.index(min(times))] if len(names) > 1 else ""
        rows.append((cells, None))
    paired = [heading for pair in zip(names, spreads, strict=True) for heading in pair]
    fastest = ["fastest"] if len(names) > 1 else []
    return Fitting(
        [sweep["what"], *paired, *fastest], rows, spare=(*reversed(spreads), *fastest), left=("fastest",)
    )
