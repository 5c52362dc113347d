"""What the views of the labs share: a verdict first, then tables, then what to take along."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from rich.console import Group, RenderableType

from flatout.report import text
from flatout.report.words import Words

Seen = Mapping[str, Any]


def lab_view(seen: Seen, parts: Iterable[RenderableType]) -> RenderableType:
    """A lab for the terminal.

    Args:
        seen: its document, of which "verdict", "lessons", "left_out" and "measured_on" are used.
        parts: the tables between the verdict and the lessons.
    """
    return Group(
        Words(seen["verdict"], "bold green"),
        "",
        *parts,
        *(line for lesson in seen["lessons"] for line in ("", Words(lesson))),
        *([""] if seen["left_out"] else []),
        *(Words(sentence, "yellow") for sentence in seen["left_out"]),
        "",
        Words(seen["measured_on"], "dim"),
    )


def micro(us: float) -> str:
    """A time given in µs.

    >>> micro(1234.0), micro(0.5)
    ('1.23 ms', '500 ns')
    """
    return text.seconds(1e-6 * us)


def signed(us: float) -> str:
    """A difference given in µs, to three digits in one unit, so that two can be compared at a glance.

    >>> signed(1.234), signed(-0.056), signed(1234.0)
    ('+1.23', '−0.06', '+1,234')
    """
    digits = 2 if abs(us) < 10 else 1 if abs(us) < 100 else 0
    return f"{us:+,.{digits}f}".replace("-", "−")
