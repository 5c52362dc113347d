"""A picture of the loss over the steps of a training."""

from __future__ import annotations

import os
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from flatout.report import text
from flatout.report.picture import (
    BLUE,
    GREEN,
    INK,
    LINE,
    QUIET,
    VERMILION,
    blank,
    check_picture,
    plain,
    save,
    write_heading,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Floats = npt.NDArray[np.float64]
Points = Sequence[tuple[int, float]]  # (step, value)

_ALARM: Final = "#B00020"

# The layout, in inches.
_WIDTH: Final = 8.0
_LOSS_HEIGHT: Final = 2.95
_METRIC_HEIGHT: Final = 0.85
_LEFT: Final = 0.75
_RIGHT: Final = 1.55  # room for the labels of the lines
_TOP: Final = 1.05
_BOTTOM: Final = 0.5
_BETWEEN: Final = 0.42

_BINS: Final = 1500  # of the envelope: about two a pixel
_FEW: Final = 40  # up to so many points are drawn as points, too


def plot_losses(
    path: str | os.PathLike[str],
    losses: npt.ArrayLike,
    *,
    title: str,
    validation: Points = (),
    metrics: Mapping[str, Points] | None = None,
    subtitle: str = "",
) -> Path:
    """Draw the loss over the steps into a .png, .svg or .pdf file.

    A noisy loss is drawn faint below its running median. The axis is logarithmic where all losses are
    positive and the largest is more than ten times the smallest. The first loss that is not finite
    is marked.

    Args:
        path: the file; its suffix chooses the format. Missing folders are made.
        losses: the loss of each step, [steps].
        title: what the picture says, in a sentence.
        validation: (step, loss) on the validation data.
        metrics: for each metric its (step, value); each gets a small panel below the loss.
        subtitle: smaller text below the title.

    Returns:
        The path of the file.

    Raises:
        ValueError: the suffix names another format, or there is no loss.

    >>> plot_losses("iris.png", [1.1, 0.5, 0.3], title="iris: loss 1.1 → 0.3 in 3 steps")  # doctest: +SKIP
    PosixPath('iris.png')
    """
    path = check_picture(path)
    values = np.asarray(losses, dtype=np.float64).ravel()
    if values.size == 0:
        raise ValueError("there is no loss to draw: losses is empty")
    named = {name: points for name, points in (metrics or {}).items() if len(points)}

    figure, panels = _layout(len(named), _TOP if subtitle else _TOP - 0.2)
    write_heading(figure, title, subtitle)
    _draw_loss(panels[0], values, validation)
    for panel, (name, points) in zip(panels[1:], named.items(), strict=True):
        _draw_metric(panel, name, points)
    last_step = max([values.size, *(step for points in (validation, *named.values()) for step, _ in points)])
    for panel in panels:
        panel.set_xlim(0, last_step)
        panel.tick_params(labelbottom=panel is panels[-1])
    panels[-1].set_xlabel("step", color=QUIET, fontsize=9, loc="right", labelpad=2)
    save(figure, path)
    return path


def _layout(number_of_metrics: int, top: float) -> tuple[Figure, list[Axes]]:
    """A figure with a large panel and, below it, a small one for each metric."""
    height = top + _LOSS_HEIGHT + number_of_metrics * (_BETWEEN + _METRIC_HEIGHT) + _BOTTOM
    figure = blank(_WIDTH, height)
    panels = []
    bottom = height - top
    for index in range(1 + number_of_metrics):
        panel_height = _METRIC_HEIGHT if index else _LOSS_HEIGHT
        bottom -= panel_height + (_BETWEEN if index else 0)
        box = (_LEFT / _WIDTH, bottom / height, (_WIDTH - _LEFT - _RIGHT) / _WIDTH, panel_height / height)
        panels.append(figure.add_axes(box))
        _style(panels[-1])
    return figure, panels


def _style(panel: Axes) -> None:
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    plain(panel, "y")
    panel.tick_params(axis="x", length=3, color=LINE)
    panel.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))
    panel.xaxis.set_major_formatter(FuncFormatter(lambda step, _: f"{step:,.0f}"))


def _draw_loss(panel: Axes, losses: Floats, validation: Points) -> None:
    finite = np.where(np.isfinite(losses), losses, np.nan)
    steps, envelope = _envelope(finite)
    few = losses.size <= _FEW
    window = _median_window(finite)
    panel.plot(
        steps,
        envelope,
        color=BLUE,
        alpha=0.28 if window else 1.0,
        linewidth=0.8 if window else 1.8,
        marker="o" if few else None,
        markersize=4,
        clip_on=not few,  # a point on the edge is drawn whole
    )
    labels = [(_last_finite(finite), "training", BLUE)]
    if window:
        middles, medians = _running_median(finite, window)
        panel.plot(middles, medians, color=BLUE, linewidth=1.8)
        labels = [(_last_finite(medians), f"training\n(median of\n{window:,} steps)", BLUE)]
    if len(validation):
        _draw_points(panel, validation, VERMILION)
        checked = np.array([value for _, value in validation], dtype=np.float64)
        labels.append((_last_finite(checked), f"validation {text.number(float(checked[-1]))}", VERMILION))
        finite = np.concatenate([finite, checked])
    _scale_loss(panel, finite)
    _label_lines(panel, labels)
    _mark_non_finite(panel, losses)


def _scale_loss(panel: Axes, values: Floats) -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

    logarithmic = text.spans_decades(values)
    _name_panel(panel, "loss, log scale" if logarithmic else "loss")
    if not np.isfinite(values).any():
        panel.set_yticks([])
        return
    if logarithmic:
        panel.set_yscale("log")
        finite = values[np.isfinite(values)]
        decades = np.log10(finite.max()) - np.log10(finite.min())
        between = (1.0, 2.0, 5.0) if decades < 2.5 else (1.0,)
        panel.yaxis.set_major_locator(LogLocator(subs=between, numticks=9))
        panel.yaxis.set_minor_locator(NullLocator())
    else:
        panel.yaxis.set_major_locator(MaxNLocator(nbins=6))
    panel.yaxis.set_major_formatter(FuncFormatter(lambda value, _: text.number(value)))


def _draw_metric(panel: Axes, name: str, points: Points) -> None:
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    _draw_points(panel, points, GREEN)
    _name_panel(panel, textwrap.shorten(name, 60, placeholder="…"))
    values = np.array([value for _, value in points], dtype=np.float64)
    panel.yaxis.set_major_locator(MaxNLocator(nbins=3))
    panel.yaxis.set_major_formatter(
        FuncFormatter(lambda value, _: text.metric(name, value).replace(".0 %", " %"))
    )
    panel.margins(y=0.15)
    _label_lines(panel, [(_last_finite(values), text.metric(name, float(values[-1])), GREEN)])


def _draw_points(panel: Axes, points: Points, color: str) -> None:
    steps = [step for step, _ in points]
    values = [value if np.isfinite(value) else np.nan for _, value in points]
    marker = "o" if len(points) <= _FEW else None
    panel.plot(steps, values, color=color, linewidth=1.5, marker=marker, markersize=4, clip_on=False)


def _name_panel(panel: Axes, name: str) -> None:
    panel.annotate(
        name,
        (0, 1),
        xycoords="axes fraction",
        xytext=(-(_LEFT - 0.25) * 72, 7),  # points: flush with the title
        textcoords="offset points",
        color=INK,
        fontsize=9.5,
        parse_math=False,
    )


def _label_lines(panel: Axes, labels: list[tuple[float, str, str]]) -> None:
    """Write each label right of the panel at the height where its line ends, without overlap."""
    to_pixels = panel.transData.transform
    points_high = panel.get_window_extent().height * 72 / panel.figure.dpi
    panel.get_ylim()  # settles the limits, which the transform needs
    placed = []
    for value, words, color in labels:
        if np.isfinite(value):
            height = (to_pixels((0, value))[1] - panel.bbox.y0) * 72 / panel.figure.dpi
            placed.append([height, 12.0 * (words.count("\n") + 1), words, color])
    placed.sort(key=lambda label: float(label[0]))
    floor = -6.0
    for label in placed:  # upwards: each label at least half its height above the one below
        label[0] = max(label[0], floor + label[1] / 2)
        floor = label[0] + label[1] / 2
    excess = max(0.0, floor - (points_high + 12))
    for height, _, words, color in placed:
        panel.annotate(
            words,
            (1, 0),
            xycoords="axes fraction",
            xytext=(8, height - excess),
            textcoords="offset points",
            va="center",
            color=color,
            fontsize=9.5,
            linespacing=1.1,
            annotation_clip=False,
        )


def _mark_non_finite(panel: Axes, losses: Floats) -> None:
    bad = np.flatnonzero(~np.isfinite(losses))
    if bad.size == 0:
        return
    first = int(bad[0])
    words = f"{text.number(float(losses[first]))} at step {first:,}"
    if bad.size == losses.size - first and bad.size > 1:
        words = f"not finite from step {first:,} on"
    elif bad.size > 1:
        words += f", {bad.size:,} steps not finite in all"
    panel.axvline(first, color=_ALARM, linewidth=1.3, linestyle=(0, (4, 2)))
    on_the_left = first > 0.5 * losses.size
    panel.annotate(
        words,
        (first, 1),
        xycoords=panel.get_xaxis_transform(),
        xytext=(-6 if on_the_left else 6, -4),
        textcoords="offset points",
        ha="right" if on_the_left else "left",
        va="top",
        color=_ALARM,
        fontsize=9.5,
        weight="bold",
        bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.85, "pad": 2},
    )


def _envelope(values: Floats) -> tuple[Floats, Floats]:
    """Steps and values to draw; of many values the least and the greatest of each of 1500 bins."""
    if values.size <= 4 * _BINS:
        return np.arange(values.size, dtype=np.float64), values
    width = -(-values.size // _BINS)
    padded = np.full(-(-values.size // width) * width, np.nan)
    padded[: values.size] = values
    bins = padded.reshape(-1, width)
    lowest = np.argmin(np.where(np.isnan(bins), np.inf, bins), axis=1)
    highest = np.argmax(np.where(np.isnan(bins), -np.inf, bins), axis=1)
    inside = np.sort(np.stack([lowest, highest], axis=1), axis=1)
    steps = (inside + np.arange(len(bins))[:, None] * width).ravel()
    return steps.astype(np.float64), padded[steps]


def _median_window(values: Floats) -> int:
    """The steps of a running median that makes the loss readable, or 0 for one that is smooth."""
    if values.size < 50:
        return 0
    window = max(9, values.size // 50) | 1
    scaled = np.log10(values) if text.spans_decades(values) else values
    steps, medians = _running_median(scaled, window)
    away = np.abs(scaled[steps.astype(np.int64)] - medians)
    away = away[np.isfinite(away)]
    if away.size == 0:
        return 0
    return window if np.median(away) > 0.004 * (np.nanmax(scaled) - np.nanmin(scaled)) else 0


def _running_median(values: Floats, window: int) -> tuple[Floats, Floats]:
    """At up to 600 steps the median of the finite values around; narrower near the ends.

    At the start the window stays symmetric, because a loss falls fast there; at the end it is cut off,
    so that the line does not end in noise.
    """
    steps = np.unique(np.linspace(0, values.size - 1, min(600, values.size)).astype(np.int64))
    medians = np.full(steps.size, np.nan)
    for index, step in enumerate(steps.tolist()):
        half = min(window // 2, max(step, 4))
        around = values[max(0, step - half) : step + half + 1]
        around = around[np.isfinite(around)]
        if around.size and np.isfinite(values[step]):
            medians[index] = np.median(around)
    return steps.astype(np.float64), medians


def _last_finite(values: Floats) -> float:
    finite = values[np.isfinite(values)]
    return float(finite[-1]) if finite.size else float("nan")
