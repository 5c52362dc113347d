"""A table with as many columns as the terminal has room for, so that no number is cut."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from rich import box
from rich.console import Console, ConsoleOptions, RenderResult
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text


class Fitting:
    """Rows of short texts under headings; in a narrow terminal some columns are left out.

    Args:
        columns: the headings.
        rows: the cells of each row by heading, and the style of the row.
        spare: the columns a narrow terminal does without, the first first.
        left: the columns of words, which begin at the left; numbers end at the right.

    >>> from rich.console import Console
    >>> rows = [({"device": "cpu", "a step": "12 µs"}, None)]
    >>> table = Fitting(("device", "a step"), rows, spare=("a step",), left=("device",))
    >>> Console(width=12).print(table)  # doctest: +NORMALIZE_WHITESPACE
    device
    ──────
    cpu
    """

    def __init__(
        self,
        columns: Sequence[str],
        rows: Sequence[tuple[Mapping[str, str], str | None]],
        *,
        spare: Sequence[str] = (),
        left: Collection[str] = (),
    ) -> None:
        self._columns, self._rows, self._spare, self._left = columns, rows, spare, left

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        columns = list(self._columns)
        table = self._table(columns)
        for spare in self._spare:
            if Measurement.get(console, options.update(width=1000), table).maximum <= options.max_width:
                break
            columns.remove(spare)
            table = self._table(columns)
        yield table

    def _table(self, columns: Sequence[str]) -> Table:
        table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
        for name in columns:
            table.add_column(name, no_wrap=True, justify="left" if name in self._left else "right")
        for cells, style in self._rows:
            table.add_row(*(Text(cells[name]) for name in columns), style=style)
        return table
