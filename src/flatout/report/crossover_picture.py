"""A picture of the time of a step against its size: measured points, the lines, and where they cross."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from flatout.report import text
from flatout.report.picture import (
    BLUE,
    GREEN,
    INK,
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

_COLOURS: Final = (BLUE, VERMILION, GREEN, "#AA4499")

# The layout, in inches.
_WIDTH: Final = 10.0
_HEIGHT: Final = 5.3
_LEFT: Final = 0.8
_RIGHT: Final = 0.3
_TOP: Final = 1.35
_BOTTOM: Final = 0.85
_BETWEEN: Final = 0.75


def plot_crossover(path: str | os.PathLike[str], seen: dict[str, Any]) -> Path:
    """Draw the sweeps of the lab side by side into a .png, .svg or .pdf file.

    Args:
        path: the file; its suffix chooses the format. Missing folders are made.
        seen: the lab's document, see `flatout.labs.crossover_words.document`.

    Returns:
        The path of the file.

    Raises:
        ValueError: the suffix names another format.
    """
    path = check_picture(path)
    figure = blank(_WIDTH, _HEIGHT)
    subtitle = (
        "Time of a training step of a network 64 – width – width – 10, logarithmic. Points: medians and "
        "quartiles. Dotted: the fixed cost and the work of eager."
    )
    write_heading(figure, _title(seen), subtitle)
    sweeps = seen["sweeps"]
    width = (_WIDTH - _LEFT - _RIGHT - (len(sweeps) - 1) * _BETWEEN) / len(sweeps)
    lowest = min(min(curve["us"]) for sweep in sweeps for curve in sweep["curves"])
    highest = max(max(curve["us"]) for sweep in sweeps for curve in sweep["curves"])
    for index, sweep in enumerate(sweeps):
        x = _LEFT + index * (width + _BETWEEN)
        box = (x / _WIDTH, _BOTTOM / _HEIGHT, width / _WIDTH, (_HEIGHT - _TOP - _BOTTOM) / _HEIGHT)
        panel = figure.add_axes(box)
        _style(panel, sweep, (lowest / 2.5, highest * 4))
        for colour, curve in zip(_COLOURS, sweep["curves"], strict=False):
            _draw(panel, sweep, curve, colour)
        _mark(panel, sweep)
    write_footnote(figure, seen["measured_on"])
    return save(figure, path)


def _title(seen: dict[str, Any]) -> str:
    """What the picture says, short."""
    for sweep in seen["sweeps"]:
        for crossing in sweep["crossings"]:
            if crossing["size"]["is"] is not None and crossing["first"] == "eager on cpu":
                size = _size(crossing["size"]["is"])
                return f"{_short(crossing['second'])} overtakes the CPU at a {sweep['what']} of about {size}"
        for curve in sweep["curves"]:
            if curve["balance"]["is"] is not None and (curve["plan"], curve["device"]) == ("eager", "cpu"):
                size = _size(curve["balance"]["is"])
                return f"Below a {sweep['what']} of about {size}, an eager step mostly starts work"
    return "A training step against its size"


def _style(panel: Axes, sweep: dict[str, Any], limits: tuple[float, float]) -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    panel.set_xscale("log", base=2)
    panel.set_yscale("log")
    panel.set_ylim(*limits)
    first, last = sweep["sizes"][0], sweep["sizes"][-1]
    panel.set_xlim(first / 1.35, last * 1.35)
    plain(panel, "y")
    panel.set_xticks(sweep["sizes"], [_tick(size) for size in sweep["sizes"]])
    panel.xaxis.set_minor_locator(NullLocator())
    panel.yaxis.set_major_locator(LogLocator(numticks=12))
    panel.yaxis.set_minor_locator(NullLocator())
    panel.yaxis.set_major_formatter(FuncFormatter(lambda us, _: text.seconds(1e-6 * us)))
    other = "width" if sweep["what"] == "batch" else "batch"
    panel.annotate(
        f"{sweep['what']}, at {other} {sweep['other']}",
        (0, 1),
        xycoords="axes fraction",
        xytext=(0, 12),
        textcoords="offset points",
        color=INK,
        fontsize=10.5,
        weight="bold",
    )


def _draw(panel: Axes, sweep: dict[str, Any], curve: dict[str, Any], colour: str) -> None:
    sizes, us = np.array(sweep["sizes"], dtype=float), np.array(curve["us"])
    bounds = np.array(curve["quartiles"]).T
    panel.errorbar(
        sizes, us, yerr=np.maximum(0, [us - bounds[0], bounds[1] - us]), fmt="o", color=colour,
        markersize=5, elinewidth=1.2, markeredgecolor="white", markeredgewidth=0.7, zorder=4,
    )  # fmt: skip
    work = np.array(sweep["work"], dtype=float)
    fine = np.exp(np.linspace(np.log(sizes[0]), np.log(sizes[-1]), 200))
    units = np.exp(np.interp(np.log(fine), np.log(sizes), np.log(work)))
    fixed, slope = curve["fixed_us"]["is"], curve["slope_us"]["is"]
    panel.plot(fine, fixed + slope * units, color=colour, linewidth=1.6, zorder=3)
    if curve["balance"]["is"] is not None and (curve["plan"], curve["device"]) == ("eager", "cpu"):
        for part in (np.full_like(fine, fixed), slope * units):
            panel.plot(fine, part, color=colour, linewidth=0.9, linestyle=(0, (1, 2.2)), alpha=0.8, zorder=2)
    rises = bool(us[2] > 2 * us[0])  # then the room is below its points
    panel.annotate(
        f"{curve['plan']} on {curve['device']}",
        (sizes[2], us[2]) if rises else (sizes[0], us[0]),
        xytext=(9, -12) if rises else (-3, 9),
        textcoords="offset points",
        color=colour,
        fontsize=9.5,
        weight="bold",
        bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 1},
        zorder=5,
    )


def _mark(panel: Axes, sweep: dict[str, Any]) -> None:
    """Where one overtakes another; without that, where the work of eager outgrows its fixed cost."""
    marks = [
        (
            one["size"],
            f"{_short(one['second'])} is faster than\n{one['first']} from {_size(one['size']['is'])} on",
        )
        for one in sweep["crossings"]
        if one["size"]["is"] is not None
    ] or [
        (one["balance"], f"the work of eager outgrows\nits fixed cost at {_size(one['balance']['is'])}")
        for one in sweep["curves"]
        if one["plan"] == "eager" and one["balance"]["is"] is not None
    ]
    first, last = panel.get_xlim()
    for row, (size, words) in enumerate(sorted(marks, key=lambda mark: float(mark[0]["is"]))):
        panel.axvspan(size["low"] or first, size["high"] or last, color="#EBEBEB", zorder=0, linewidth=0)
        panel.axvline(size["is"], color=QUIET, linewidth=1.0, zorder=1)
        on_the_left = size["is"] > np.sqrt(first * last)
        panel.annotate(
            words,
            (size["is"], 1),
            xycoords=panel.get_xaxis_transform(),
            xytext=(-6 if on_the_left else 6, 2 - 29 * row),  # one below the other
            textcoords="offset points",
            ha="right" if on_the_left else "left",
            va="top",
            color=INK,
            fontsize=8.5,
            bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 1},
            zorder=6,
        )


def _short(name: str) -> str:
    """A GPU by its own name: it runs eager only."""
    return name if name.endswith(" cpu") else name.removeprefix("eager on ")


def _tick(size: int) -> str:
    return f"{size // 1024}k" if size >= 1024 and size % 1024 == 0 else str(size)


def _size(size: float) -> str:
    return f"{text.two_digits(size):,.10g}"
