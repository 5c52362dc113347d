"""HTML and SVG put together from elements, so that no text can be taken for markup."""

from __future__ import annotations

import html
import re
from typing import Final

# What no HTML may hold, escaped or not: control characters, halves of surrogate pairs, non-characters.
_FORBIDDEN: Final = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff]")
_VOID: Final = ("meta", "br", "link")


class Markup(str):
    """Text that is HTML already; every other text is escaped where it is put into an element."""

    __slots__ = ()


Child = str | None


def element(tag: str, /, *children: Child, **attributes: object) -> Markup:
    """An element with its children, those that are None left out.

    Args:
        tag: its name.
        children: texts, which are escaped, and `Markup`, which is not.
        attributes: an underscore within a name stands for a hyphen, and one at its end for nothing; an
            attribute that is None is left out.

    >>> element("p", "1 < 2", class_="note")
    '<p class="note">1 &lt; 2</p>'
    >>> element("rect", x=1.23456, fill_opacity=None)
    '<rect x="1.235"></rect>'
    """
    written = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{html.escape(_attribute(value))}"'
        for key, value in attributes.items()
        if value is not None
    )
    if tag in _VOID:
        return Markup(f"<{tag}{written} />")
    return Markup(f"<{tag}{written}>{join(*children)}</{tag}>")


def join(*children: Child) -> Markup:
    """The children one after another.

    >>> join("a&b", None, element("br"))
    'a&amp;b<br />'
    """
    return Markup("".join(_child(child) for child in children if child is not None))


def _child(child: str) -> str:
    return child if isinstance(child, Markup) else html.escape(_allowed(child), quote=False)


def _attribute(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else _allowed(str(value))


def _allowed(text: str) -> str:
    return _FORBIDDEN.sub("\N{REPLACEMENT CHARACTER}", text)
