"""Pictures of a profiled script as inline SVG: the parts of a step, its times over the run, what a fix saves.

Positions are in per cent and letters in pixels, so that a picture has the width of its page and its letters
stay readable on a phone. Colours are classes of the page's style sheet, which knows the dark ones, too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import floor, log10
from typing import Any, Final

from flatout.report import text
from flatout.report.markup import Markup, element, join

_BAR: Final = 34  # px
_PLOT: Final = 180
_ROW: Final = 16
_ROOM: Final = 0.11  # of the width, for a number within
_LEAST: Final = 0.2  # % of the width: a part that is there is seen


def stacked_bar(parts: Sequence[tuple[str, float]], label: str) -> Markup:
    """One bar of parts side by side.

    Args:
        parts: the class of each part's colour, and its share of the whole, 0 to 1.
        label: what the picture shows, for those who do not see it.
    """
    at = 0.0
    drawn = []
    for style, share in parts:
        if share > 0:
            drawn.append(_rect(at, 0, max(_LEAST, 100 * share), _BAR, class_=style))
        if share >= _ROOM:
            middle = f"{at + 50 * share:.4g}%"
            words = f"{100 * share:.0f} %"
            drawn.append(element("text", words, x=middle, y=_BAR / 2 + 5, class_=f"on-{style}"))
        at += 100 * share
    return _picture(label, _BAR, *drawn, class_="stack")


def gain_bar(
    step_ms: float,
    low_ms: float,
    high_ms: float,
    likely_ms: float | None,
    label: str,
    measured_ms: float | None = None,
) -> Markup:
    """A step as a bar, with what a fix saves: its range, and the likely gain where it is known.

    Args:
        step_ms: the step as it is.
        low_ms: the least that the fix saves.
        high_ms: the most.
        likely_ms: what it saves, or None.
        label: what the picture shows, for those who do not see it.
        measured_ms: what it saved when the script ran with it, or None.
    """

    def left(saved_ms: float) -> float:
        return 100 * min(1.0, max(0.0, 1 - saved_ms / step_ms))

    sure = left(high_ms)
    bars = [
        _rect(0, 0, 100, _ROW, class_="track"),
        _rect(0, 0, left(likely_ms if likely_ms is not None else high_ms), _ROW, class_="remains"),
    ]
    whisker = _rect(sure, _ROW / 2 - 1, max(_LEAST, left(low_ms) - sure), 2, class_="whisker")
    ends = (_rect(x, 3, _LEAST, _ROW - 6, class_="whisker") for x in (sure, left(low_ms) - _LEAST))
    dot = None
    if measured_ms is not None:
        dot = element("circle", cx=f"{left(measured_ms):.4g}%", cy=_ROW / 2, r=6, class_="measured")
    return _picture(label, _ROW, *bars, whisker, *ends, dot, class_="gain")


def times_over_the_run(spread: Mapping[str, Any], label: str) -> Markup:
    """The times of the steps: over the run on the left, how often each time came on the right.

    Args:
        spread: "over_the_run", "histogram" and "quartiles", in µs, as a profile's "step_times_us".
        label: what the picture shows, for those who do not see it.
    """
    rows, bars = spread["over_the_run"], spread["histogram"]
    drawn = rows if len(rows) > 1 else rows * 2  # one point is no line
    top = _top(spread)
    ticks = _ticks(top)

    def y(us: float) -> float:
        return _PLOT * (1 - min(1.0, us / top))

    lines = [
        join(
            element("line", x1="0", x2="100%", y1=y(tick), y2=y(tick), class_="grid"),
            element("text", text.seconds(1e-6 * tick), x="0", y=y(tick) - 4, class_="tick"),
        )
        for tick in ticks
    ]
    curve = element(
        "svg",
        _band([(row[2], row[4]) for row in drawn], y),
        _curve([row[3] for row in drawn], y),
        x="14%",
        y="0",
        width="64%",
        height=_PLOT,
        viewBox=f"0 0 {len(drawn) - 1} {_PLOT}",
        preserveAspectRatio="none",
    )
    most = max(bars["counts"]) or 1
    histogram = [
        _rect(
            82,
            y(bars["from"] + (i + 1) * bars["width"]),
            18 * count / most,
            max(1.0, y(bars["from"] + i * bars["width"]) - y(bars["from"] + (i + 1) * bars["width"]) - 0.5),
            class_="often",
        )
        for i, count in enumerate(bars["counts"])
        if count and bars["from"] + i * bars["width"] < top
    ]
    below = _PLOT + 16
    captions = (
        element("text", f"step {rows[0][0]:,.0f}", x="14%", y=below, class_="tick"),
        element("text", f"step {rows[-1][1]:,.0f}", x="78%", y=below, class_="tick", text_anchor="end"),
        element("text", "how often", x="82%", y=below, class_="tick"),
    )
    return _picture(label, _PLOT + 22, *lines, curve, *histogram, *captions, class_="times")


def _top(spread: Mapping[str, Any]) -> float:
    """Up to where the axis goes: all but the slowest steps, unless these are most of the picture."""
    _, middle, upper = map(float, spread["quartiles"])
    usual = max(float(row[3]) for row in spread["over_the_run"])
    return 1.08 * max(usual, upper, min(float(spread["high"]), 3 * middle))


def _ticks(top: float) -> list[float]:
    """Two to four round numbers from 0 up."""
    rough = top / 3
    size = float(f"1e{floor(log10(rough))}")
    step = next(size * factor for factor in (1, 2, 5, 10) if size * factor >= 0.7 * rough)
    return [step * i for i in range(int(top / step) + 1) if step * i < 0.97 * top]


def _band(pairs: Sequence[tuple[float, float]], y: Any) -> Markup:
    there = [f"{x},{y(low):.1f}" for x, (low, _) in enumerate(pairs)]
    back = [f"{x},{y(high):.1f}" for x, (_, high) in reversed(list(enumerate(pairs)))]
    return element("polygon", points=" ".join(there + back), class_="band")


def _curve(values: Sequence[float], y: Any) -> Markup:
    points = " ".join(f"{x},{y(value):.1f}" for x, value in enumerate(values))
    return element("polyline", points=points, class_="curve", vector_effect="non-scaling-stroke")


def _rect(x: float, y: float, width: float, height: float, class_: str) -> Markup:
    return element("rect", x=f"{x:.4g}%", y=y, width=f"{width:.4g}%", height=height, class_=class_)


def _picture(label: str, height: float, *children: Markup | None, class_: str) -> Markup:
    return element("svg", *children, role="img", aria_label=label, width="100%", height=height, class_=class_)
