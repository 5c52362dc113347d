"""How long a step takes at several batch sizes, as inline SVG: what is fixed, and what samples add."""

from __future__ import annotations

from collections.abc import Mapping
from math import log2
from typing import Any, Final

from flatout.report import text
from flatout.report.markup import Markup, element, join

_HEIGHT: Final = 150  # px
_LEFT, _RIGHT = 12.0, 96.0  # %
_POINTS: Final = 40  # of the line of the fit


def batch_picture(sizes: Mapping[str, Any]) -> Markup:
    """The measured times as points, and the line `fixed + sample * size` through them; sizes on a log scale.

    Args:
        sizes: "size" (the script's), "step_s" (by size), "fixed_s" and "sample_s".
    """
    times = {int(size): float(took) for size, took in sizes["step_s"].items()}
    low, high = log2(min(times)), log2(max(times))
    top = 1.15 * max(*times.values(), _fit(sizes, 2**high))

    def x(size: float) -> float:
        return _LEFT + (_RIGHT - _LEFT) * ((log2(size) - low) / (high - low) if high > low else 0.5)

    def y(took: float) -> float:
        return _HEIGHT * (1 - took / top)

    fit = [2 ** (low + (high - low) * i / _POINTS) for i in range(_POINTS + 1)]
    line = " ".join(f"{i},{y(_fit(sizes, size)):.1f}" for i, size in enumerate(fit))
    curve = element(
        "svg",
        element("polyline", points=line, class_="curve", vector_effect="non-scaling-stroke"),
        x=f"{_LEFT}%",
        y="0",
        width=f"{_RIGHT - _LEFT}%",
        height=_HEIGHT,
        viewBox=f"0 0 {_POINTS} {_HEIGHT}",
        preserveAspectRatio="none",
    )
    fixed = y(sizes["fixed_s"])
    floor = join(
        element("line", x1="0", x2="100%", y1=fixed, y2=fixed, class_="fixed"),
        element("text", f"fixed {text.seconds(sizes['fixed_s'])}", x="0", y=fixed + 14, class_="tick"),
    )
    axis = element("line", x1="0", x2="100%", y1=_HEIGHT, y2=_HEIGHT, class_="grid")
    label = "A step by batch size: " + ", ".join(
        f"{size:,} takes {text.seconds(took)}" for size, took in sorted(times.items())
    )
    points = (
        join(
            element(
                "circle",
                cx=f"{x(size):.4g}%",
                cy=y(took),
                r=5 if size == sizes["size"] else 3.5,
                class_="here-point" if size == sizes["size"] else "point",
            ),
            element("text", f"{size:,}", x=f"{x(size):.4g}%", y=_HEIGHT + 16, class_="tick middle"),
        )
        for size, took in sorted(times.items())
    )
    caption = element("text", "batch size, and the time of a step", x="0", y=_HEIGHT + 34, class_="tick")
    return element(
        "svg",
        axis,
        floor,
        curve,
        *points,
        caption,
        role="img",
        aria_label=label,
        width="100%",
        height=_HEIGHT + 40,
        class_="sizes",
    )


def _fit(sizes: Mapping[str, Any], size: float) -> float:
    return float(sizes["fixed_s"]) + float(sizes["sample_s"]) * size
