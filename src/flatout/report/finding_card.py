"""One finding of a profile as a card of the page: the line, what it costs, the fix, and what it saves."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping
from typing import Any

from flatout.report import text
from flatout.report.markup import Markup, element
from flatout.report.profile_pictures import gain_bar
from flatout.report.profile_words import cost_words, gain_words, often
from flatout.report.verify_words import cells
from flatout.report.words import glued


def finding_card(
    one: Mapping[str, Any],
    step_ms: float,
    *,
    came: Mapping[str, Any] | None = None,
    picture: Markup | None = None,
) -> Markup:
    """A card.

    Args:
        one: the finding, as in a profile's "findings".
        step_ms: milliseconds of a step.
        came: what came of its prediction, as in a profile's "verified", or None.
        picture: of what it was found by, or None.
    """
    place = f"{one['file']}:{one['line']}"
    return element(
        "article",
        element("h3", f"{_capital(one['what'])} ", element("code", place, class_="place")),
        element("p", glued(f"{cost_words(one)}, {often(one['count'])}."), class_="cost"),
        _source(one),
        element("p", element("b", "Fix: "), glued(f"{one['fix']}.")),
        element("pre", element("code", one["code"])) if one["code"] else None,
        *_gain(one, step_ms, came),
        picture,
        class_="finding",
    )


def _source(one: Mapping[str, Any]) -> Markup | None:
    source = one["source"]
    if source is None:
        return None
    lines = textwrap.dedent("\n".join(source["lines"])).split("\n")
    shown = []
    for number, line in enumerate(lines, source["first"]):
        here = number == one["line"]
        mark = "▸" if here else " "
        shown.append(
            element(
                "span",
                element("span", f"{mark} {number:>4}  ", class_="number"),
                f"{line}\n",
                class_="line here" if here else "line",
            )
        )
    label = f"Source of {one['file']} around line {one['line']}"
    return element(
        "pre", element("code", *shown), class_="source", tabindex="0", aria_label=label, role="group"
    )


def _gain(one: Mapping[str, Any], step_ms: float, came: Mapping[str, Any] | None) -> Iterator[Markup]:
    words = gain_words(one)
    measured = None if came is None else came["measured_ms"]
    if words:
        step = text.seconds(1e-3 * step_ms)
        label = f"A step of {step}; the fix {words}"
        if measured is not None:
            label += f"; measured {text.seconds(1e-3 * measured)}"
        yield gain_bar(step_ms, one["gain_low"], one["gain_high"], one["gain_ms"], label, measured)
        yield element(
            "div",
            element("p", glued(f"{_capital(words)}."), class_="gain-words"),
            element("p", glued(f"now {step}"), class_="now"),
            class_="under",
        )
    if measured is not None and came is not None:
        _, remedy, _, saved, status = cells(came)
        yield element(
            "p",
            element("span", "●", class_="measured-key", aria_hidden="true"),
            glued(f" Measured with the fix put in ({remedy}): {saved}, {status}."),
        )


def _capital(words: str) -> str:
    return words[:1].upper() + words[1:]
