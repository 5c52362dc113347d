"""The parts of a step, and beside them what it does there: the split."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import zip_longest
from typing import Any, Final

from rich.console import Console, ConsoleOptions, RenderResult
from rich.text import Text

from flatout.report import text
from flatout.report.words import Words

_WIDE: Final = 100  # columns, from which on there is room for both
_BAR: Final = 24
_SHORT_BAR: Final = 14
_LEFT: Final = 55
_LAYERS: Final = 3
_SEEN: Final = 0.005  # a share that is shown
_PARTS: Final = {"data": "data wait", "rest": "rest (between)"}
_DOES: Final = {"data": "data wait", "python": "Python", "copy": "copies alone"}


class SplitView:
    """The parts of a step, and what it does; beside each other where there is room.

    Args:
        seen: the document of a profile, with "breakdown", and "split" and "layers" where there are such.

    >>> part = {"us": 50.0, "share": 0.5}
    >>> Console(width=60).print(SplitView({"breakdown": {"forward": part, "rest": part}, "split": None}))
      forward            50 µs   50 %  ████████████
      rest (between)     50 µs   50 %  ████████████
    """

    def __init__(self, seen: Mapping[str, Any]) -> None:
        self._seen = seen

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        parts, split = self._seen["breakdown"], self._seen.get("split")
        if split is None:
            yield from map(Text, _rows(parts, _PARTS, 14, _BAR))
            return
        does = {name: part for name, part in split["parts"].items() if part["share"] >= _SEEN}
        if options.max_width >= _WIDE:
            left, right = _rows(parts, _PARTS, 14, _SHORT_BAR), _rows(does, _DOES, 12, _BAR)
            for one, other in zip_longest(left, right, fillvalue=""):
                yield Text(f"{one:{_LEFT}}{other}".rstrip())
        else:
            yield from map(Text, _rows(parts, _PARTS, 14, _BAR))
            shares = (f"{100 * part['share']:.0f} % {_DOES.get(name, name)}" for name, part in does.items())
            yield Words(f"  of it: {', '.join(shares)}")
        if layers := self._seen.get("layers"):
            yield Words(f"  layers: {', '.join(map(_layer, layers[:_LAYERS]))}")


def _rows(
    parts: Mapping[str, Mapping[str, float]], names: Mapping[str, str], width: int, bar: int
) -> Iterator[str]:
    for name, part in parts.items():
        took = text.seconds(1e-6 * part["us"])
        filled = "█" * round(bar * part["share"])
        yield f"  {names.get(name, name):{width}}  {took:>8}  {100 * part['share']:3.0f} %  {filled}".rstrip()


def _layer(layer: Mapping[str, Any]) -> str:
    """A layer with what it takes by itself."""
    name = layer["name"] if layer["name"] == layer["class"] else f"{layer['name']} ({layer['class']})"
    return f"{name} {text.seconds(1e-6 * layer['self_us'])}"
