"""Where a step goes, on the page of a profile: its parts, what it does in them, and its layers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from flatout.report import text
from flatout.report.markup import Markup, element
from flatout.report.page_parts import section, table
from flatout.report.profile_pictures import stacked_bar
from flatout.report.race_view import share_of

_PARTS: Final = {
    "data": ("Data wait", "the step waits for a DataLoader"),
    "forward": ("Forward", "inside the outermost call of a module"),
    "backward": ("Backward", "gradients"),
    "optimizer": ("Optimizer", "inside step() of the optimizer"),
    "rest": ("Rest", "between these: Python, and tensors outside of modules"),
}
_DOES: Final = {
    "compute": ("Compute", "the arithmetic itself"),
    "copy": ("Copies", "data moves while nothing computes"),
    "data": ("Data wait", "waiting for a DataLoader"),
    "python": ("Python", "your script, and torch's Python"),
    "dispatch": ("Dispatch", "torch finds, checks and starts an operator"),
    "sync": ("Sync", "the host waited until the queue was empty"),
    "launch": ("Launch", "work was started already, and had not begun"),
}
_SEEN: Final = 0.005  # a share that has a row
_LAYERS: Final = 8


def step_section(seen: Mapping[str, Any]) -> Markup:
    """The section of a profile that has a "breakdown", with "split" and "layers" where there are such."""
    parts = seen["breakdown"]
    return section("Where a step goes", *_shares(parts, _PARTS, "A step"), *_split(seen), *_layers(seen))


def _split(seen: Mapping[str, Any]) -> Iterator[Markup]:
    split = seen.get("split")
    if split is not None:
        shown = {name: part for name, part in split["parts"].items() if part["share"] >= _SEEN}
        yield element("h3", "What it does there")
        yield from _shares(shown, _DOES, "What a step does")
        yield element("p", f"How that was measured: {split['how']}.", class_="aside")
    elif seen.get("split_reason"):
        yield element("p", f"What it does there was not measured: {seen['split_reason']}.", class_="aside")


def _shares(
    parts: Mapping[str, Mapping[str, float]], names: Mapping[str, tuple[str, str]], what: str
) -> Iterator[Markup]:
    """A bar of parts, and the same in a table."""
    words = {name: names.get(name, (name, "")) for name in parts}
    said = ", ".join(f"{words[name][0]} {share_of(part['share'])}" for name, part in parts.items())
    yield stacked_bar([(f"part-{name}", part["share"]) for name, part in parts.items()], f"{what}: {said}")
    rows = [
        element(
            "tr",
            element("th", element("span", class_=f"swatch part-{name}"), words[name][0], scope="row"),
            element("td", text.seconds(1e-6 * part["us"]), class_="figure"),
            element("td", share_of(part["share"]), class_="figure"),
            element("td", words[name][1], class_="aside"),
        )
        for name, part in parts.items()
    ]
    yield table(("part", "time", "share", "what it is"), rows)


def _layers(seen: Mapping[str, Any]) -> Iterator[Markup]:
    layers = seen.get("layers") or []
    if not layers:
        return
    yield element("h3", "By layer")
    rows = [
        element(
            "tr",
            element("th", element("code", layer["name"]), scope="row"),
            *(
                element("td", text.seconds(1e-6 * layer[key]), class_="figure")
                for key in ("self_us", "forward_us", "backward_us")
            ),
            element("td", layer["class"], class_="aside"),
        )
        for layer in layers[:_LAYERS]
    ]
    yield table(("layer", "by itself", "forward", "backward", "class"), rows)
    if len(layers) > _LAYERS:
        yield element("p", f"{len(layers) - _LAYERS} smaller ones are in --json.", class_="aside")
