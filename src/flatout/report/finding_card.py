"""One finding of a profile as a card of the page: the line, what it costs, the fix, and what it saves."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping
from typing import Any

from flatout.report import text
from flatout.report.markup import Markup, element
from flatout.report.profile_pictures import gain_bar
from flatout.report.profile_words import cost_words, gain_words, often


def finding_card(one: Mapping[str, Any], step_ms: float, picture: Markup | None = None) -> Markup:
    """A card.

    Args:
        one: the finding, as in a profile's "findings".
        step_ms: milliseconds of a step.
        picture: of what it was found by, or None.
    """
    place = f"{one['file']}:{one['line']}"
    return element(
        "article",
        element("h3", f"{one['what']} ", element("code", place, class_="place")),
        element("p", f"{cost_words(one)}, {often(one['count'])}.", class_="cost"),
        _source(one),
        element("p", element("b", "Fix: "), f"{one['fix']}."),
        element("pre", element("code", one["code"])) if one["code"] else None,
        *_gain(one, step_ms),
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


def _gain(one: Mapping[str, Any], step_ms: float) -> Iterator[Markup]:
    words = gain_words(one)
    if not words:
        return
    step = text.seconds(1e-3 * step_ms)
    label = f"A step of {step}; the fix {words}"
    yield gain_bar(step_ms, one["gain_low"], one["gain_high"], one["gain_ms"], label)
    yield element(
        "div",
        element("p", f"{words[:1].upper()}{words[1:]}.", class_="gain-words"),
        element("p", f"now {step}", class_="now"),
        class_="under",
    )
