"""A diagnosis for the terminal: the cause first, then what was seen, then what to type."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from rich.console import Console, ConsoleOptions, RenderResult
from rich.text import Text

_INDENT = "  "


def doctor_view(document: Mapping[str, Any]) -> _View:
    """The report of a diagnosis.

    Args:
        document: "headline", "healthy", "sees_gpu", and "findings", each with "sentence", "seen" and "fix":
            lines of text, of which those that begin with "$ " are commands.

    >>> from rich.console import Console
    >>> finding = {"sentence": "There is no GPU.", "seen": ["the bus is empty"], "fix": ["$ sudo reboot"]}
    >>> Console(width=60).print(
    ...     doctor_view({"headline": "torch sees no GPU. There is no GPU.", "healthy": False,
    ...                  "sees_gpu": False, "findings": [finding]})
    ... )
    torch sees no GPU. There is no GPU.
    <BLANKLINE>
    seen
      the bus is empty
    <BLANKLINE>
    what to do
      $ sudo reboot
    """
    return _View(document)


class _View:
    """Prose broken at the width of the terminal; commands whole, whatever their length."""

    def __init__(self, document: Mapping[str, Any]) -> None:
        self._document = document

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        width = options.max_width
        document = self._document
        color = "green" if document["healthy"] else "yellow" if document["sees_gpu"] else "red"
        yield from _prose(document["headline"], width, f"bold {color}")
        for number, finding in enumerate(document["findings"]):
            if number:
                yield Text()
                yield from _prose(f"Besides: {finding['sentence']}", width, "bold")
            yield from _section("seen", finding["seen"], width)
            yield from _section("what to do", finding["fix"], width)


def _section(title: str, lines: Iterable[str], width: int) -> Iterator[Text]:
    yield Text()
    yield Text(title, style="dim")
    for line in lines:
        if line.startswith("$ "):
            command, gap, remark = line.partition("    (")
            shown = Text.assemble(_INDENT, (command, "cyan"), (gap + remark, "dim"))
            shown.no_wrap, shown.overflow = True, "ignore"
            yield shown
        else:
            yield from _prose(line, width)


def _prose(text: str, width: int, style: str = "") -> Iterator[Text]:
    indent = "" if style else _INDENT
    for line in textwrap.wrap(
        text,
        max(width, 20),
        initial_indent=indent,
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    ):
        yield Text(line, style=style, no_wrap=True, overflow="ignore")
