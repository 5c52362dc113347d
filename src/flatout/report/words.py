"""Sentences for the terminal."""

from __future__ import annotations

import re
import textwrap

from rich.console import Console, ConsoleOptions, RenderResult
from rich.text import Text

# The blank between a number and what it counts.
_UNIT = re.compile(r"(?<=\d) (?=(?:%|[mnµ]?s|min|h|d|steps?|[kMGT]?B|W|GB/s)\b|%)")


def glued(words: str) -> str:
    """The sentence with blanks that do not break between numbers and their units.

    >>> glued("a step takes 12 µs")
    'a step takes 12\xa0µs'
    """
    return _UNIT.sub("\N{NO-BREAK SPACE}", words)


class Words:
    """A sentence that breaks between words, and never between a number and its unit.

    Args:
        words: the sentence.
        style: of all of it.
    """

    def __init__(self, words: str, style: str = "") -> None:
        self._words, self._style = words, style

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for line in textwrap.wrap(glued(self._words), options.max_width, break_on_hyphens=False) or [""]:
            yield Text(line.replace("\N{NO-BREAK SPACE}", " "), style=self._style)
