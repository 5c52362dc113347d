"""A picture of graphics cards side by side: memory, bandwidth, matrix rate, and a training step."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from flatout.gpus.card import Card
from flatout.gpus.rank import REFERENCE, training_speed
from flatout.report.picture import (
    BLUE,
    GREEN,
    INK,
    QUIET,
    VERMILION,
    blank,
    check_picture,
    save,
    write_footnote,
    write_heading,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_PANELS: Final = (
    ("memory", "GB", BLUE),
    ("bandwidth", "GB/s", VERMILION),
    ("matrix rate, FP16", "TFLOPS", GREEN),
    (f"training, {REFERENCE} = 1", "×", INK),
)
_TRACK: Final = "#F0F0F0"

# The layout, in inches.
_WIDTH: Final = 10.0
_ROW: Final = 0.42
_LEFT: Final = 2.15
_TOP: Final = 1.3
_BOTTOM: Final = 0.55
_BETWEEN: Final = 0.25
_RIGHT: Final = 0.2

_LONGEST: Final = 22  # characters of a name that the left margin has room for


def plot_cards(path: str | os.PathLike[str], cards: Sequence[Card]) -> Path:
    """Draw cards side by side into a .png, .svg or .pdf file, a row a card in the order given.

    Args:
        path: the file; its suffix chooses the format. Missing folders are made.
        cards: the cards.

    Returns:
        The path of the file.

    Raises:
        ValueError: the suffix names another format, or there is no card.

    >>> from flatout.gpus import compare
    >>> plot_cards("cards.png", compare("RTX 3090", "RTX 4090").cards)  # doctest: +SKIP
    PosixPath('cards.png')
    """
    path = check_picture(path)
    if not cards:
        raise ValueError("there is no card to draw")
    height = _TOP + _ROW * len(cards) + _BOTTOM
    figure = blank(_WIDTH, height)
    subtitle = (
        "Figures of the makers, dense; matrix products of 16-bit numbers with sums in FP32. Longer is better."
    )
    write_heading(figure, _title(cards), subtitle)
    width = (_WIDTH - _LEFT - _RIGHT - 3 * _BETWEEN) / 4
    columns = (
        [card.memory_gb for card in cards],
        [card.bandwidth_gbs for card in cards],
        [card.training_tflops for card in cards],
        [training_speed(card) for card in cards],
    )
    for index, ((name, unit, colour), values) in enumerate(zip(_PANELS, columns, strict=True)):
        x = _LEFT + index * (width + _BETWEEN)
        box = (x / _WIDTH, _BOTTOM / height, width / _WIDTH, _ROW * len(cards) / height)
        panel = figure.add_axes(box)
        figure.text(x / _WIDTH, 1 - (_TOP - 0.16) / height, name, fontsize=10, weight="bold", color=colour)
        _bars(panel, values, unit, colour)
        if index == 0:
            _names(panel, cards)
    write_footnote(figure, _footnote(cards))
    return save(figure, path)


def _title(cards: Sequence[Card]) -> str:
    speeds = [training_speed(card) for card in cards]
    known = [(speed, card) for speed, card in zip(speeds, cards, strict=True) if speed is not None]
    if len(known) < 2:
        return cards[0].short_name if len(cards) == 1 else f"{len(cards)} cards side by side"
    (best, first), (worst, last) = max(known, key=lambda k: k[0]), min(known, key=lambda k: k[0])
    return f"{first.short_name} trains {best / worst:.1f}× as fast as {last.short_name}, on paper"


def _bars(panel: Axes, values: Sequence[float | None], unit: str, colour: str) -> None:
    largest = max((value for value in values if value is not None), default=1.0)
    rows = range(len(values))
    panel.barh(rows, [largest] * len(values), height=0.62, color=_TRACK)
    panel.barh(rows, [value or 0.0 for value in values], height=0.62, color=colour)
    for row, value in enumerate(values):
        if value is None:
            panel.text(largest * 0.03, row, "unknown", va="center", fontsize=9, color=QUIET, style="italic")
            continue
        inside = value > 0.55 * largest
        panel.text(
            value - largest * 0.03 if inside else value + largest * 0.03,
            row,
            _value(value, unit),
            va="center",
            ha="right" if inside else "left",
            fontsize=9,
            color="white" if inside else INK,
        )
    panel.set_xlim(0, largest)
    panel.set_ylim(len(values) - 0.5, -0.5)
    panel.axis("off")


def _value(value: float, unit: str) -> str:
    if unit == "×":
        return f"{value:.2f}×"
    return f"{value:,.0f} {unit}" if value >= 10 or value == int(value) else f"{value:.1f} {unit}"


def _names(panel: Axes, cards: Sequence[Card]) -> None:
    for row, card in enumerate(cards):
        place = partial(
            panel.annotate,
            xy=(0, row),
            xycoords=("axes fraction", "data"),
            textcoords="offset points",
            ha="right",
        )
        name = card.short_name
        size = min(10.0, 10.0 * _LONGEST / len(name))
        place(name, xytext=(-8, 1), va="bottom", fontsize=size, weight="bold", color=INK)
        about = f"{card.architecture}, {card.release[:4]}"
        place(about, xytext=(-8, 0), va="top", fontsize=8, color=QUIET)


def _footnote(cards: Sequence[Card]) -> str:
    unified = " Unified memory is shared with the CPU." if any(card.unified for card in cards) else ""
    if any(card.fp16_tflops is None and card.training_tflops is not None for card in cards):
        unified += " FP32 where a card has no units for FP16."
    return (
        f"Training: a step that spends half its time on memory and half on matrix products on an {REFERENCE}."
        f"{unified}"
    )
