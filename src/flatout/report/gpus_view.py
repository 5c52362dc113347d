"""Graphics cards for the terminal: side by side, as a list, and the families of the catalogue."""

from __future__ import annotations

from collections.abc import Sequence

from rich import box
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from flatout.gpus import figures
from flatout.gpus.advice import BANDWIDTH, UNIFIED, Advice, BreakEven
from flatout.gpus.card import Card
from flatout.gpus.compare import Comparison
from flatout.gpus.rank import training_speed
from flatout.report.words import Words

_DIM = "dim"
# What a narrow terminal does without, the first first.
_SPARE = ("launch", "power", "FP32", "released", "architecture", "FP16")


def comparison_view(comparison: Comparison) -> RenderableType:
    """Cards side by side, who comes first and why, and what the names mean."""
    sentences = dict.fromkeys(sentence for card in comparison.cards for sentence in card.decoded.meaning)
    parts: list[RenderableType] = [
        Words(comparison.verdict, "bold green"),
        "",
        _SideBySide(comparison),
        Words(comparison.why),
        *(Words(note, "yellow") for note in comparison.notes),
    ]
    if sentences:
        parts += ["", Text("What the names say", style="bold"), *(Words(f"· {s}") for s in sentences)]
    return Group(*parts)


class _SideBySide:
    """A column a card; as many tables as the terminal needs to hold them all."""

    def __init__(self, comparison: Comparison) -> None:
        self._comparison = comparison

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        left = list(range(len(self._comparison.cards)))
        while left:
            take = len(left)
            table = self._table(left)
            while take > 1 and _width(console, options, table) > options.max_width:
                take -= 1
                table = self._table(left[:take])
            yield table
            yield ""
            left = left[take:]

    def _table(self, columns: list[int]) -> Table:
        table = _empty()
        table.add_column("", style=_DIM, no_wrap=True)
        for column in columns:
            table.add_column(self._comparison.cards[column].short_name, justify="right", no_wrap=True)
        for label, cells in self._comparison.rows.items():
            shown = (_cell(cells[column]) for column in columns)
            table.add_row(label, *shown, style="bold" if label in ("training", "memory") else None)
        return table


def list_view(found: Sequence[Card], title: str) -> RenderableType:
    """A row a card, as many columns as the terminal has room for."""
    return Group(Words(title, "bold"), "", _Fitting([_list_row(card) for card in found], _SPARE))


class _Fitting:
    """A row a card with as many columns as the terminal has room for, so that no figure is cut."""

    def __init__(self, rows: Sequence[dict[str, str]], spare: Sequence[str]) -> None:
        self._rows, self._spare = rows, spare

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        names = list(self._rows[0])
        table = self._table(names)
        for spare in self._spare:
            if _width(console, options, table) <= options.max_width:
                break
            names.remove(spare)
            table = self._table(names)
        yield table

    def _table(self, names: list[str]) -> Table:
        table = _empty()
        for name in names:
            words = name in ("", "card", "generation", "architecture", "memory", "years")
            table.add_column(name, justify="left" if words else "right", no_wrap=True)
        for row in self._rows:
            table.add_row(*(_cell(row[name]) for name in names))
        return table


def _list_row(card: Card) -> dict[str, str]:
    speed = training_speed(card)
    return {
        "card": card.short_name,
        "architecture": card.architecture,
        "memory": figures.memory(card),
        "bandwidth": figures.amount(card.bandwidth_gbs, "GB/s", 4),
        "FP16": figures.amount(card.fp16_tflops, "TFLOPS"),
        "FP32": figures.amount(card.fp32_tflops, "TFLOPS"),
        "training": figures.UNKNOWN if speed is None else f"{speed:.2f}×",
        "power": figures.amount(card.power_w, "W", 1),
        "launch": figures.price(card),
        "released": card.release[:4],
    }


def overview(found: Sequence[Card]) -> RenderableType:
    """A row a generation: its years, its memory and its bandwidth."""
    generations: dict[tuple[str, str], list[Card]] = {}
    for card in sorted(found, key=lambda card: _SEGMENTS.index(card.segment)):
        generations.setdefault((card.segment, card.generation), []).append(card)
    rows, shown = [], ""
    for (segment, generation), members in generations.items():
        rows.append(
            {
                "": segment if segment != shown else "",
                "generation": generation,
                "architecture": ", ".join(dict.fromkeys(card.architecture for card in members)),
                "cards": str(len(members)),
                "years": _span([int(card.release[:4]) for card in members], "", "d"),
                "memory": _span([card.memory_gb for card in members], " GB"),
                "bandwidth": _span([card.bandwidth_gbs for card in members], " GB/s"),
            }
        )
        shown = segment
    return Group(
        Words(f"{len(found)} cards", "bold"),
        "",
        _Fitting(rows, ("architecture", "years", "cards")),
        "",
        Words('flatout gpus "RTX 3090" 4090 puts cards side by side, ranked for training.', _DIM),
        Words("flatout gpus --min-memory 24 --sort bandwidth lists those that hold 24 GB.", _DIM),
    )


_SEGMENTS = ("consumer", "laptop", "integrated", "workstation", "data-centre")


def advice_view(advice: Advice, most: int = 15) -> RenderableType:
    """Buy or rent in a sentence, then the cards that hold the memory, then what the words mean."""
    parts: list[RenderableType] = [Words(advice.verdict, "bold green")]
    parts += [Words(note) for note in advice.notes]
    if advice.cards:
        wanted = "" if advice.memory_gb is None else f" that hold {advice.memory_gb:g} GB"
        parts += ["", Text(f"Cards{wanted}, the cheapest first", style="bold")]
        # Those with a break-even are what was asked for; the cheapest others fill the rest.
        known = [each for each in advice.cards if each.hours is not None]
        others = [each for each in advice.cards if each.hours is None][: max(0, most - len(known))]
        shown = [each for each in advice.cards if each in known or each in others]
        parts.append(_advice_table(shown))
        if len(shown) < len(advice.cards):
            parts.append(Words(f"and {len(advice.cards) - len(shown)} more; --json has them all", _DIM))
        parts += [Words(source, _DIM) for source in _sources(advice, shown)]
    return Group(*parts, "", Words(BANDWIDTH), Words(UNIFIED))


def _advice_table(shown: Sequence[BreakEven]) -> RenderableType:
    rows = [_advice_row(each, each.card) for each in shown if each.card is not None]
    return _Fitting(rows, ("power", "months", "bandwidth"))


def _advice_row(each: BreakEven, card: Card) -> dict[str, str]:
    return {
        "card": card.short_name,
        "memory": figures.memory(card),
        "bandwidth": figures.amount(card.bandwidth_gbs, "GB/s", 4),
        "power": figures.amount(card.power_w, "W", 1),
        "price": figures.UNKNOWN if each.price is None else f"${each.price.usd:,.0f}",
        "rent": figures.UNKNOWN if each.rent is None else f"${each.rent.usd:.2f}/h",
        "break-even": _break_even(each),
        "months": "" if each.months is None else f"{each.months:,.0f}",
    }


def _break_even(each: BreakEven) -> str:
    if each.hours is not None:
        return f"{each.hours:,.0f} h"
    return figures.UNKNOWN if each.price is None or each.rent is None else "never"


def _sources(advice: Advice, shown: Sequence[BreakEven]) -> list[str]:
    """Where the prices are from, a line a source."""
    launch = any(each.price is not None and each.price.source == "launch price" for each in shown)
    dated = {
        price.described(advice.today)
        for each in shown
        for price in (each.price, each.rent)
        if price is not None and price.source != "launch price"
    }
    said = [f"Prices and rents: {each}." for each in sorted(dated)]
    if launch:
        said.append("Other prices are launch prices; --price and --rent take today's.")
    return said


def _empty() -> Table:
    return Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))


def _cell(text: str) -> Text:
    return Text(text, style=_DIM if text in (figures.UNKNOWN, figures.NONE) else "")


def _width(console: Console, options: ConsoleOptions, table: Table) -> int:
    return Measurement.get(console, options.update(width=1000), table).maximum


def _span(values: Sequence[float | None], unit: str, form: str = ",.0f") -> str:
    known = [value for value in values if value is not None]
    if not known:
        return figures.UNKNOWN
    low, high = (format(value, form) for value in (min(known), max(known)))
    return f"{low}{unit}" if low == high else f"{low}–{high}{unit}"
