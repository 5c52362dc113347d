"""A picture of what reading the loss costs: every run, and the difference from never with its bounds."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from flatout.report.picture import (
    BLUE,
    INK,
    LINE,
    QUIET,
    VERMILION,
    blank,
    check_picture,
    plain,
    save,
    write_footnote,
    write_heading,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_NOISE: Final = "#8A8A8A"

# The layout, in inches.
_WIDTH: Final = 10.0
_ROW: Final = 0.46
_LEFT: Final = 1.2
_RIGHT: Final = 1.05
_TOP: Final = 1.15
_BETWEEN: Final = 0.95  # below a device: axis, name of the next
_MIDDLE: Final = 0.35
_BOTTOM: Final = 0.95

_FAR: Final = 4.0  # runs further than this many times the quartiles' distance are left out of the picture


def plot_logging(path: str | os.PathLike[str], seen: dict[str, Any]) -> Path:
    """Draw the lab into a .png, .svg or .pdf file, a row an interval.

    Args:
        path: the file; its suffix chooses the format. Missing folders are made.
        seen: the lab's document, see `flatout.labs.logging_lab.document`, with "title" and "measured_on".

    Returns:
        The path of the file.

    Raises:
        ValueError: the suffix names another format.
    """
    path = check_picture(path)
    devices = seen["devices"]
    rows = [len(one["rows"]) for one in devices]
    height = _TOP + _ROW * sum(rows) + _BETWEEN * (len(rows) - 1) + _BOTTOM
    figure = blank(_WIDTH, height)
    write_heading(figure, seen["title"])
    width = (_WIDTH - _LEFT - _MIDDLE - _RIGHT) / 2
    top = height - _TOP
    for one in devices:
        tall = _ROW * len(one["rows"])
        boxes = [
            (x / _WIDTH, (top - tall) / height, width / _WIDTH, tall / height)
            for x in (_LEFT, _LEFT + width + _MIDDLE)
        ]
        _draw_runs(figure.add_axes(boxes[0]), one)
        _draw_differences(figure.add_axes(boxes[1]), one, seen["level"])
        top -= tall + _BETWEEN
    write_footnote(figure, seen["measured_on"])
    return save(figure, path)


def _draw_runs(panel: Axes, one: dict[str, Any]) -> None:
    """Every run a dot; the bar from quartile to quartile with the median in it."""
    _style(panel, len(one["rows"]))
    ends = [
        (low - _FAR * (high - low), high + _FAR * (high - low))
        for low, high in (row["quartiles"] for row in one["rows"])
    ]
    least, most = min(low for low, _ in ends), max(high for _, high in ends)
    shown = []
    scatter = np.random.default_rng(0)
    for place, row in enumerate(one["rows"]):
        runs = np.array(row["runs_us"])
        inside = runs[(runs >= least) & (runs <= most)]
        shown.append(inside)
        panel.plot(
            inside, place + scatter.uniform(-0.24, 0.24, len(inside)), "o", color=BLUE, alpha=0.3,
            markersize=4, markeredgewidth=0,
        )  # fmt: skip
        low, high = row["quartiles"]
        panel.plot([low, high], [place, place], color=BLUE, linewidth=4, solid_capstyle="butt", alpha=0.85)
        panel.plot([row["us_per_epoch"]] * 2, [place - 0.28, place + 0.28], color=INK, linewidth=2)
        panel.annotate(
            _every(row["every"]),
            (0, place),
            xycoords=panel.get_yaxis_transform(),
            xytext=(-10, 0),
            textcoords="offset points",
            ha="right",
            va="center",
            fontsize=9.5,
            color=INK,
        )
    everything = np.concatenate(shown)
    room = 0.04 * np.ptp(everything)
    panel.set_xlim(everything.min() - room, everything.max() + room)
    left_out = sum(len(row["runs_us"]) for row in one["rows"]) - len(everything)
    note = f"; {left_out} slower beyond" if left_out else ""
    _name(panel, f"{one['device']}: µs an epoch", f"every run, quartiles and median{note}")


def _draw_differences(panel: Axes, one: dict[str, Any], level: float) -> None:
    """How much longer than never, with the bounds between which it lies."""
    _style(panel, len(one["rows"]))
    panel.axvline(0, color=INK, linewidth=1.0, zorder=1)
    for place, row in enumerate(one["rows"]):
        against = row["against_never"]
        if against is None:
            continue
        colour = _NOISE if row["only_noise"] else VERMILION
        panel.plot([against["low"], against["high"]], [place, place], color=colour, linewidth=3)
        panel.plot(
            [against["us"]],
            [place],
            "o",
            color=colour,
            markersize=8,
            markeredgecolor="white",
            markeredgewidth=1,
        )
        panel.annotate(
            "only noise" if row["only_noise"] else f"{against['us']:+.2g} µs".replace("-", "−"),
            (1, place),
            xycoords=panel.get_yaxis_transform(),
            xytext=(6, 0),
            textcoords="offset points",
            va="center",
            fontsize=9.5,
            color=colour,
            weight="normal" if row["only_noise"] else "bold",
        )
    panel.margins(x=0.06)
    _name(
        panel,
        "against never: µs an epoch longer",
        f"round by round; bounds hold it, {100 * level:.0f} % sure",
    )


def _style(panel: Axes, rows: int) -> None:
    plain(panel, "x")
    panel.tick_params(axis="x", length=3, color=LINE)
    panel.set_ylim(rows - 0.5, -0.5)
    panel.set_yticks([])


def _name(panel: Axes, name: str, below: str) -> None:
    for words, up, size, colour, weight in (
        (name, 19, 10.5, INK, "bold"),
        (below, 7, 8.5, QUIET, "normal"),
    ):
        panel.annotate(
            words,
            (0, 1),
            xycoords="axes fraction",
            xytext=(0, up),
            textcoords="offset points",
            fontsize=size,
            color=colour,
            weight=weight,
        )


def _every(every: int | None) -> str:
    if every is None:
        return "never"
    return "every epoch" if every == 1 else f"every {every:,}"
