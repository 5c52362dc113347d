"""A traced step as people can read it: a verdict, its operators by layer, and what limits it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from flatout.hardware.peaks import Peaks
from flatout.report import text
from flatout.step.cost import Cost, Phase, floor

_UNITS = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))
_PHASES: tuple[Phase, ...] = ("forward", "backward", "update")
_MOST_NAMED = 4


@dataclass
class LayerCost:
    """What a layer costs in one phase.

    Attributes:
        phase: "forward", "backward" or "update".
        layer: its name; "loss" for what belongs to no layer.
        operators: how often each operator runs.
        flops, bytes, launches: of them all; bytes where each operator runs by itself.
    """

    phase: Phase
    layer: str
    operators: Counter[str] = field(default_factory=Counter)
    flops: int = 0
    bytes: int = 0
    launches: int = 0

    def document(self) -> dict[str, Any]:
        """For JSON."""
        return {**vars(self), "operators": dict(self.operators)}


def by_layer(cost: Cost) -> list[LayerCost]:
    """The operators that start work, gathered by phase and layer, in the order they run."""
    rows: dict[tuple[Phase, str], LayerCost] = {}
    for operator in cost.operators:
        if not operator.launches:
            continue
        key = operator.phase, operator.layer or "loss"
        row = rows.setdefault(key, LayerCost(*key))
        row.operators[operator.operator] += 1
        row.flops += operator.flops
        row.bytes += operator.bytes
        row.launches += 1
    return sorted(rows.values(), key=lambda row: _PHASES.index(row.phase))


def verdict(name: str, cost: Cost, peaks: Peaks, device: str) -> str:
    """The step in one sentence.

    >>> peaks = Peaks("a CPU", 1e11, 1e10, 1e11, 2, "2026-01-01", "")
    >>> verdict("iris", Cost((), 52_645, 3_548, 39, 14_388), peaks, "cpu")
    'iris: one step does 52.6 kFLOP in 39 launches; this CPU could do it in 526 ns'
    """
    least = text.seconds(floor(cost.flops, cost.bytes, peaks))
    what = "this CPU" if device == "cpu" else f"this {peaks.device}"
    launches = "1 launch" if cost.launches == 1 else f"{text.count(cost.launches)} launches"
    return f"{name}: one step does {scaled(cost.flops, 'FLOP')} in {launches}; {what} could do it in {least}"


def step_view(name: str, cost: Cost, peaks: Peaks, device: str) -> RenderableType:
    """All of it, for a terminal of 80 columns.

    Args:
        name: of the task.
        cost: of its step.
        peaks: of the device.
        device: "cpu", "cuda:0" and so on.
    """
    return Group(
        Text(verdict(name, cost, peaks, device), style="bold"),
        "",
        _table(cost),
        "",
        _limits(cost, peaks),
    )


def scaled(value: float, unit: str) -> str:
    """A number with a prefix to its unit.

    >>> scaled(52_645, "FLOP"), scaled(128, "B"), scaled(3.3e10, "FLOP/s")
    ('52.6 kFLOP', '128 B', '33 GFLOP/s')
    """
    for size, prefix in _UNITS:
        if value >= size:
            return (
                f"{value / size:.3g} {prefix}{unit}"
                if value < 1000 * size
                else f"{value / size:,.0f} {prefix}{unit}"
            )
    return f"{value:.3g} {unit}"


def _table(cost: Cost) -> Table:
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("layer", overflow="fold", min_width=12)
    table.add_column("operators", overflow="fold", ratio=1)
    for name in ("FLOP", "bytes", "launches"):
        table.add_column(name, justify="right", no_wrap=True)
    phase = ""
    rows = by_layer(cost)
    for row in rows:
        if row.phase != phase:
            phase = row.phase
            table.add_row(Text(phase, style="bold"))
        table.add_row(
            Text(f"  {row.layer}"),
            Text(_names(row.operators), style="dim"),
            text.count(row.flops),
            scaled(row.bytes, "B"),
            text.count(row.launches),
        )
    table.add_section()
    moved = sum(row.bytes for row in rows)
    table.add_row("all", "", text.count(cost.flops), scaled(moved, "B"), text.count(cost.launches))
    return table


def _names(operators: Counter[str]) -> str:
    """The operators of a layer, the most frequent first."""
    named = [name if times == 1 else f"{name} ×{times}" for name, times in operators.most_common(_MOST_NAMED)]
    return ", ".join([*named, "…"] if len(operators) > _MOST_NAMED else named)


def _limits(cost: Cost, peaks: Peaks) -> Table:
    computing, bandwidth = cost.flops / peaks.flops, peaks.bandwidth_for(cost.bytes)
    moving = cost.bytes / bandwidth
    threads = f", {peaks.threads} threads" if peaks.threads > 1 else ", 1 thread" if peaks.threads else ""
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column(justify="right", no_wrap=True)
    grid.add_column(overflow="fold")
    grid.add_row("computing", text.seconds(computing), f"at {scaled(peaks.flops, 'FLOP/s')}")
    grid.add_row(
        "moving",
        text.seconds(moving),
        f"at {scaled(bandwidth, 'B/s')}: {scaled(cost.bytes, 'B')}, the state and the batch once",
    )
    bottleneck = "arithmetic" if computing >= moving else "memory"
    larger = f"the larger of the two: {bottleneck} is the bottleneck"
    grid.add_row("floor", text.seconds(max(computing, moving)), larger)
    grid.add_row("memory", scaled(cost.peak_memory, "B"), "at the worst moment, temporaries included")
    grid.add_row("", "", Text(f"peaks measured {peaks.measured} on {peaks.device}{threads}", style="dim"))
    return grid
