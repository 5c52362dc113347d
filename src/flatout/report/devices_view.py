"""The survey for the terminal: where training runs and why, then CPU, GPUs, torch, health, measured peaks."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator, Sequence

from rich.console import Console, ConsoleOptions, RenderResult
from rich.text import Text

from flatout.hardware.survey_words import Section

_INDENT = "  "
_GAP = "  "
_LEAST = 24  # columns for the text; below that it goes on past the edge
# The blank between a number and its unit, or a name and its number, holds.
_UNIT = re.compile(r"(?<=\d) (?=[A-Za-zµ%×])|(?<=×) (?=\d)|(?<=[FB][PF]\d) (?=\d)|(?<=[FB][PF]\d\d) (?=\d)")


def devices_view(headline: str, sections: Sequence[Section], *, good: bool) -> DevicesView:
    """All of a survey.

    Args:
        headline: where training runs, and why.
        sections: the rest, see `flatout.hardware.survey_words`.
        good: whether a GPU is used and healthy.

    >>> from rich.console import Console
    >>> Console(width=44).print(
    ...     devices_view("You train on the CPU.", [Section("CPU", (("cores", "2; 4 threads"),))], good=False)
    ... )
    You train on the CPU.
    <BLANKLINE>
    CPU
      cores  2; 4 threads
    """
    return DevicesView(headline, sections, good=good)


class DevicesView:
    """Texts broken between words, beside labels of one width; commands whole, to be copied."""

    def __init__(self, headline: str, sections: Sequence[Section], *, good: bool) -> None:
        self._headline, self._sections, self._good = headline, sections, good

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for line in _wrapped(self._headline, options.max_width):
            yield Text(line, style="bold green" if self._good else "bold yellow")
        wide = max((len(label) for part in self._sections for label, _ in part.rows), default=0)
        for part in self._sections:
            yield Text()
            yield Text(part.title, style="bold")
            for label, text in part.rows:
                yield from _row(label, text, wide, options.max_width)


def _row(label: str, text: str, wide: int, width: int) -> Iterator[Text]:
    room = max(_LEAST, width - wide - len(_INDENT + _GAP))
    command = text.startswith("$ ")
    for number, line in enumerate([text] if command else _wrapped(text, room)):
        shown = label if number == 0 else ""
        yield Text.assemble(
            (f"{_INDENT}{shown:{wide}}{_GAP}", "dim"),
            (line, "cyan" if command else ""),
            no_wrap=True,
            overflow="ignore",
        )


def _wrapped(text: str, width: int) -> list[str]:
    glued = _UNIT.sub("\N{NO-BREAK SPACE}", text)
    lines = textwrap.wrap(glued, width, break_long_words=False, break_on_hyphens=False) or [""]
    return [line.replace("\N{NO-BREAK SPACE}", " ") for line in lines]
