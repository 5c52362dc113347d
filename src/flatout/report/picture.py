"""What all pictures share: formats, colours, the heading, the footnote, and axes without a frame."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FORMATS: Final = (".pdf", ".png", ".svg")

# Blue, vermilion and green of Okabe and Ito, which people with any colour vision can tell apart.
BLUE: Final = "#0072B2"
VERMILION: Final = "#D55E00"
GREEN: Final = "#00795A"  # a little darker than theirs, so that text in it is easy to read
INK: Final = "#222222"
QUIET: Final = "#6B6B6B"
LINE: Final = "#BBBBBB"
_GRID: Final = "#E6E6E6"
_MARGIN: Final = 0.25  # inches


def check_picture(path: str | os.PathLike[str]) -> Path:
    """The file of a picture, if its name ends in a format there is.

    Raises:
        ValueError: its suffix names another format.
    """
    path = Path(path)
    if path.suffix.lower() not in FORMATS:
        found = f"{path.suffix!r}" if path.suffix else "no suffix"
        raise ValueError(f"a picture's name must end in {', '.join(FORMATS)}, but {path.name!r} has {found}")
    return path


def blank(width: float, height: float) -> Figure:
    """An empty figure of so many inches."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), dpi=144, facecolor="white")


def write_heading(figure: Figure, title: str, subtitle: str = "") -> None:
    """Title and subtitle, as large as the width allows."""
    width, height = figure.get_size_inches()
    for words, from_top, size, colour, weight in (
        (title, 0.38, 14.0, INK, "bold"),
        (subtitle, 0.62, 10.0, QUIET, "normal"),
    ):
        line = figure.text(
            _MARGIN / width,
            1 - from_top / height,
            words,
            size=size,
            color=colour,
            weight=weight,
            family="sans-serif",
            parse_math=False,
        )
        inches = line.get_window_extent().width / figure.dpi
        line.set_fontsize(size * min(1.0, (width - 2 * _MARGIN) / max(inches, 1e-9)))


def write_footnote(figure: Figure, words: str) -> None:
    """Small, at the bottom: on what it was measured."""
    width, height = figure.get_size_inches()
    figure.text(_MARGIN / width, 0.2 / height, words, fontsize=8, color=QUIET)


def plain(panel: Axes, grid: Literal["x", "y"]) -> None:
    """Axes without a frame, with faint lines of a grid in one direction."""
    panel.set_facecolor("white")
    panel.spines[["top", "right", "left"]].set_visible(False)
    panel.spines["bottom"].set_color(LINE)
    panel.grid(axis=grid, color=_GRID, linewidth=0.8)
    panel.set_axisbelow(True)
    panel.tick_params(length=0, labelsize=9, labelcolor=QUIET, which="both")


def save(figure: Figure, path: Path) -> Path:
    """Write it, to a temporary name first: nobody ever reads half a picture. Missing folders are made."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    canvas: Any = FigureCanvasAgg(figure)
    try:
        canvas.print_figure(unfinished, format=path.suffix[1:].lower(), dpi=figure.dpi)
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)
    return path
