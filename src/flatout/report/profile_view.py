"""A profiled script for the terminal, on one screen: a verdict, the parts of a step, and what costs time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.text import Text

from flatout.report import text
from flatout.report.profile_words import cost_words, gain_words, often
from flatout.report.split_view import SplitView
from flatout.report.words import Words

_FINDINGS: Final = 3
_SCREEN: Final = 24  # lines
_ROUGH: Final = 1.5  # a distortion, from which on the split is rough


def profile_view(seen: Mapping[str, Any]) -> RenderableType:
    """The report of one profile.

    Args:
        seen: "verdict", "notes", "steps", "windows" ("bare" and "lines"), "us_per_step", "breakdown" (for
            each part "us" and "share", or None), "findings", "distortion", "device", and "split", "layers".

    >>> from rich.console import Console
    >>> nothing = {"bare": 0, "lines": 0}
    >>> Console(width=60).print(
    ...     profile_view({"verdict": "No step was seen.", "notes": [], "steps": 0, "windows": nothing,
    ...                   "us_per_step": None, "breakdown": None, "findings": [], "distortion": None,
    ...                   "device": None})
    ... )
    No step was seen.
    """
    return _OneScreen(seen)


class _OneScreen:
    """The report with as many findings as a screen has room for."""

    def __init__(self, seen: Mapping[str, Any]) -> None:
        self._seen = seen

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        seen = self._seen
        for most in range(_FINDINGS, -1, -1):
            shown = Group(
                Words(seen["verdict"], "bold"),
                *_breakdown(seen),
                *_findings(seen["findings"], most),
                *(Words(note, "yellow") for note in seen["notes"]),
            )
            if len(console.render_lines(shown, options, pad=False)) <= _SCREEN:
                break
        yield shown


def _breakdown(seen: Mapping[str, Any]) -> Iterator[RenderableType]:
    if seen["breakdown"] is None:
        return
    step = text.seconds(1e-6 * seen["us_per_step"])
    yield Text()
    yield Text(f"A step on {seen['device'] or text.UNKNOWN}: {step}", style="bold")
    yield SplitView(seen)
    windows = f"of {seen['steps']:,} steps, {seen['windows']['bare']:,} were timed bare"
    if seen["distortion"] is not None:
        windows += (
            f", the lines of {seen['windows']['lines']:,} looked at ({seen['distortion']:.2f} times as long)"
        )
    if (split := seen.get("split")) is not None:
        rough = ": the split is rough" if split["distortion"] > _ROUGH else ""
        windows += f", {seen['windows']['trace']:,} traced ({split['distortion']:.2f} times{rough})"
    elif seen.get("split_reason"):
        windows += f"; no split: {seen['split_reason']}"
    yield Words(windows, "dim")


def _findings(found: list[Mapping[str, Any]], most: int) -> Iterator[RenderableType]:
    if found:
        yield Text()
    for one in found[:most]:
        cost = f"{cost_words(one)}, {often(one['count'])}"
        yield Words(f"{one['file']}:{one['line']}  {one['what']}: {cost}", "bold")
        code = f": {one['code']}" if one["code"] else ""
        yield Words(f"  {one['fix']}{code}")
        if gain := gain_words(one):
            yield Words(f"  {gain}")
    if len(found) > most:
        left = len(found) - most
        others = f"{left} {'other' if most else 'finding'}{'s'[: left != 1]}"
        yield Words(f"{others}: --html or --json shows them", "dim")
