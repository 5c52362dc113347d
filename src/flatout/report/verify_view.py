"""Predicted gains beside measured ones, for the terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from flatout.report.verify_words import HEADS, cells
from flatout.report.words import Words


def verify_view(rows: Sequence[Mapping[str, Any]]) -> RenderableType:
    """The table of `flatout profile --verify`.

    Args:
        rows: a profile's "verified".
    """
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    for name in HEADS:
        figure = name in ("predicted a step", "measured")
        table.add_column(name, justify="right" if figure else "left", no_wrap=figure)
    for row in rows:
        table.add_row(*map(Text, cells(row)))
    reasons = (
        Words(f"{row['file']}:{row['line']}  {row['why']}", "yellow") for row in rows if row.get("why")
    )
    return Group("", table, *reasons)
