"""Pieces that the sections of a page share."""

from __future__ import annotations

from collections.abc import Sequence

from flatout.report.markup import Child, Markup, element, join


def section(title: str, *children: Child) -> Markup:
    """A part of the page under a heading."""
    return element("section", element("h2", title), *children)


def table(names: Sequence[str], rows: Sequence[Markup]) -> Markup:
    """Rows under the names of their columns."""
    head = element("tr", *(element("th", name, scope="col") for name in names))
    return element("table", element("thead", head), element("tbody", join(*rows)))


def row(name: str, *cells: str) -> Markup:
    """A row of figures, the last cell being words."""
    *figures, words = cells
    return element(
        "tr",
        element("th", name, scope="row"),
        *(element("td", figure, class_="figure") for figure in figures),
        element("td", words, class_="aside"),
    )


def fact(value: str, what: str) -> Markup:
    """A value with its name, for a list of such."""
    return element("div", element("dt", what), element("dd", value))
