"""Tables and summaries of trainings for the terminal."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from flatout.report import text


def runs_table(rows: Sequence[Mapping[str, Any]]) -> Table:
    """A table with a row for each run.

    Args:
        rows: for each run what is known of "run", "task", "plan", "device", "steps" (a count), "time"
            (seconds), "loss", "metric" (a number, or a text such as "accuracy 96.7 %") and "status".
            What is missing or None is shown as "–".

    >>> runs_table([{"run": "001", "task": "iris", "steps": 20_000, "loss": 0.0603}]).row_count
    1
    """
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=0)
    # Numbers stay whole in a narrow terminal, where the words give way.
    words: dict[str, Any] = {"overflow": "fold"}
    numbers: dict[str, Any] = {"justify": "right", "no_wrap": True}
    for name, options in (
        ("run", words),
        ("task", words),
        ("plan", {"no_wrap": True}),
        ("device", {"no_wrap": True}),
        ("steps", numbers),
        ("time", numbers),
        ("loss", numbers),
        ("metric", {"justify": "right", "width": 8}),
        ("status", words | {"width": 10}),
    ):
        table.add_column(name, **options)
    for row in rows:
        metric = row.get("metric")
        table.add_row(
            *(_word(row.get(name)) for name in ("run", "task", "plan", "device")),
            text.count(row.get("steps")),
            text.seconds(row.get("time")),
            text.number(row.get("loss")),
            _word(metric) if isinstance(metric, str) else text.number(metric),
            _word(row.get("status")),
        )
    return table


def run_summary(
    *,
    name: str,
    steps: int,
    seconds: float | None,
    device: str,
    plan: str,
    losses: npt.ArrayLike,
    metrics: Mapping[str, float] | None = None,
    verdict: str = "trained",
    picture: str | os.PathLike[str] | None = None,
    directory: str | os.PathLike[str] | None = None,
) -> RenderableType:
    """What a training came to, in a few lines: the verdict first, then the loss, then where things are.

    Args:
        name: the task.
        steps: the steps done.
        seconds: the seconds they took.
        device: where they ran.
        plan: how they ran.
        losses: the loss of each step, [steps].
        metrics: the last value of each metric.
        verdict: how it ended: "trained", "interrupted", "diverged".
        picture: the file with the picture of the loss.
        directory: the directory of the run.

    >>> from rich.console import Console
    >>> Console(width=100).print(
    ...     run_summary(name="iris", steps=20_000, seconds=2.4, device="cpu", plan="eager",
    ...                 losses=[1.0, 0.5, 0.25], metrics={"accuracy": 0.967})
    ... )
    iris trained: loss 0.25, accuracy 96.7 % after 20,000 steps in 2.4 s (120 µs a step, cpu, eager)
    █▃▁  loss 1 → 0.25
    """
    values = np.asarray(losses, dtype=np.float64).ravel()
    loss = float(values[-1]) if values.size else None
    shown = [f"{key} {text.metric(key, value)}" for key, value in (metrics or {}).items()]
    results = ", ".join([f"loss {text.number(loss)}", *shown])
    step = f"{text.seconds(seconds / steps)} a step, " if seconds is not None and steps else ""
    healthy = verdict == "trained" and loss is not None and math.isfinite(loss)
    first_line = Text.assemble(
        (f"{name} {verdict}:", "bold green" if healthy else "bold red"),
        f" {results} after {text.count(steps)} steps in {text.seconds(seconds)} ({step}{device}, {plan})",
    )
    return Group(first_line, *_loss_line(values), *_places(picture=picture, run=directory))


def _loss_line(values: npt.NDArray[np.float64]) -> list[Text]:
    if values.size < 2:
        return []
    scale = " (log scale)" if text.spans_decades(values) else ""
    first, last = (text.number(float(values[end])) for end in (0, -1))
    return [Text(f"{text.sparkline(values)}  loss {first} → {last}{scale}")]


def _places(**places: str | os.PathLike[str] | None) -> list[Table]:
    known = {what: place for what, place in places.items() if place is not None}
    if not known:
        return []
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column(overflow="fold")  # a path is to be copied, so no part of it may be left out
    for what, place in known.items():
        grid.add_row(what, Text(os.fspath(place)))
    return [grid]


def _word(value: object) -> Text:
    """Text as it stands: a name with brackets in it is no markup."""
    return Text(text.UNKNOWN if value is None else str(value))
