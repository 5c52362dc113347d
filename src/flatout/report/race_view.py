"""A race for the terminal: who wins and why, the candidates, and where an eager step spends its time."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.table import Table
from rich.text import Text

from flatout.report import text
from flatout.report.fitting import Fitting
from flatout.report.words import Words

Row = Mapping[str, Any]

_COLUMNS = ("device", "plan", "set-up", "a step", "predicted", "off eager by", "floor", "")
# What a narrow terminal does without, the first first.
_SPARE = ("floor", "off eager by", "set-up", "")
_PARTS = (
    ("compute", "compute_us"),
    ("launch and Python", "launch_us"),
    ("transfer", "transfer_us"),
    ("sync", "sync_us"),
    ("idle", "idle_us"),
)
_BAR, _LEAST_BAR = 24, 4
_PARTS_WIDTH = 38  # of name, time and share


def race_view(
    rows: Sequence[Row], *, verdict: str, reason: str, splits: Sequence[Row] = ()
) -> RenderableType:
    """All of a race, what matters first.

    Args:
        rows: the candidates, as `race_table` takes them.
        verdict: who wins, in a line.
        reason: why, in a sentence.
        splits: for each device where it was measured "device", "step_us", the parts of it ("compute_us",
            "launch_us", "transfer_us", "sync_us", "idle_us") and "how" they were told apart.
    """
    timed = [str(r["device"]) for r in rows if r["plan"] == "eager" and r.get("us_per_step") is not None]
    measured = {split["device"]: split for split in splits}
    return Group(
        Words(verdict, "bold green"),
        Words(reason),
        "",
        race_table(rows),
        *(_split_view(device, measured.get(device)) for device in timed),
    )


def race_table(rows: Sequence[Row], *, now: str = "") -> RenderableType:
    """A table with a row for each candidate of a race, the quickest first; below it why some have no times.

    Args:
        rows: for each candidate what is known of "device", "plan", "status", "reason", "setup_s",
            "us_per_step", "predicted_s", "max_abs_diff", "floor_us" and "won". What is missing or None
            is shown as "–".
        now: what is tried at the moment.

    >>> from rich.console import Console
    >>> Console(width=80).print(
    ...     race_table([{"device": "cpu", "plan": "native", "status": "refused", "reason": "no compiler"}])
    ... )  # doctest: +ELLIPSIS
    device...
    native on cpu refused: no compiler
    """
    shown = sorted(rows, key=lambda row: _or_last(row.get("predicted_s")))
    running = [Text(f"{now} …", style="dim")] if now else []
    styled = [(_cells(row), _style(row)) for row in shown]
    table = Fitting(_COLUMNS, styled, spare=_SPARE, left=("device", "plan", ""))
    return Group(table, *_reasons(shown), *running)


def _style(row: Row) -> str | None:
    if row.get("won"):
        return "bold green"
    return None if (row.get("status") or "ok") == "ok" else "dim"


def _cells(row: Row) -> dict[str, str]:
    status = row.get("status") or "ok"
    step, floor = (None if row.get(k) is None else row[k] / 1e6 for k in ("us_per_step", "floor_us"))
    return {
        "device": str(row.get("device") or text.UNKNOWN),
        "plan": str(row.get("plan") or text.UNKNOWN),
        "set-up": text.seconds(row.get("setup_s")),
        "a step": text.seconds(step),
        "predicted": text.seconds(row.get("predicted_s")),
        "off eager by": _two_digits(row.get("max_abs_diff")),
        "floor": text.seconds(floor),
        "": "wins" if row.get("won") else "" if status == "ok" else str(status),
    }


def _reasons(rows: Sequence[Row]) -> list[RenderableType]:
    """Why some have no times; one line for all that have the same reason."""
    who: dict[tuple[str, str], list[str]] = {}
    for row in rows:
        status = str(row.get("status") or "ok")
        if status != "ok":
            reason = str(row.get("reason") or "").partition("\n")[0]
            who.setdefault((status, reason), []).append(f"{row['plan']} on {row['device']}")
    return [Words(f"{', '.join(names)} {status}: {reason}", "dim") for (status, reason), names in who.items()]


class _Split:
    """The parts of an eager step on a device, with bars where there is room for them."""

    def __init__(self, split: Row) -> None:
        self._split = split

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        whole = self._split["step_us"]
        bar = min(_BAR, options.max_width - _PARTS_WIDTH)
        grid = Table.grid(padding=(0, 2, 0, 0))
        grid.add_column(no_wrap=True)
        grid.add_column(justify="right", no_wrap=True)
        grid.add_column(justify="right", no_wrap=True)
        for name, key in _PARTS:
            share = self._split[key] / whole
            style = "green" if key == "compute_us" else "yellow"
            blocks = [Text("█" * round(bar * share), style=style)] if bar >= _LEAST_BAR else []
            grid.add_row(f"  {name}", text.seconds(self._split[key] / 1e6), share_of(share), *blocks)
        yield grid


def _split_view(device: str, split: Row | None) -> RenderableType:
    if split is None:
        unknown = (
            f"Where an eager step on {device} spends its time is unknown: it could not be measured here."
        )
        return Group("", Words(unknown, "dim"))
    whole = text.seconds(split["step_us"] / 1e6)
    return Group(
        "",
        Words(f"Where an eager step on {device} spends its {whole}", "bold"),
        _Split(split),
        Words(f"How that was measured: {split['how']}", "dim"),
    )


def share_of(share: float) -> str:
    """A share in per cent, with a digit more near 0 and 1, and never rounded to all or nothing.

    >>> share_of(0.0), share_of(0.0004), share_of(0.012), share_of(0.43), share_of(0.988), share_of(1.0)
    ('0 %', '0.1 %', '1.2 %', '43 %', '98.8 %', '100 %')
    """
    if share in (0.0, 1.0):
        return f"{share:.0%}".replace("%", " %")
    if 0.015 <= share <= 0.985:
        return f"{100 * share:.0f} %"
    return f"{min(99.9, max(0.1, 100 * share)):.1f} %"


def _two_digits(value: float | None) -> str:
    return text.number(value if value is None or not math.isfinite(value) else float(f"{value:.2g}"))


def _or_last(value: float | None) -> float:
    return math.inf if value is None or not math.isfinite(value) else value
