"""Two profiles side by side for the terminal: what changed, and whether it is more than noise."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from rich.console import Group, RenderableType
from rich.text import Text

from flatout.report import text
from flatout.report.words import Words

_MOST: Final = 4  # findings of a list


def compare_view(seen: Mapping[str, Any]) -> RenderableType:
    """The report of a comparison.

    Args:
        seen: "verdict", "step", "parts", "findings", "predicted" and "differences".
    """
    return Group(
        Words(seen["verdict"], "bold"),
        *_ratio(seen["step"]),
        Text(),
        *_parts(seen),
        *_found(seen["findings"]),
        *_predicted(seen["predicted"]),
        *(Words(f"not the same: {words}", "yellow") for words in seen["differences"]),
    )


def _ratio(step: Mapping[str, Any]) -> Iterator[RenderableType]:
    if step["low"] is None:
        return
    words = f"after / before: {step['ratio']:.3f} (surely within {step['low']:.3f} to {step['high']:.3f})"
    if not step["changed"] and not step["low"] <= 1 <= step["high"]:
        words += "; but the quickest steps did not follow, as when another program kept the machine busy"
    yield Words(words, "dim")


def _parts(seen: Mapping[str, Any]) -> Iterator[RenderableType]:
    yield Text(f"  {'mean of a step':14}  {'before':>8}  {'after':>8}  change", style="dim")
    for name, part in seen["parts"].items():
        before, after = (None if part[key] is None else 1e-6 * part[key] for key in ("before_us", "after_us"))
        change = ""
        if before is not None and after is not None:
            sign = "+" if after > before else ""
            change = sign + text.seconds(after - before)
        yield Text(f"  {name:14}  {text.seconds(before):>8}  {text.seconds(after):>8}  {change}".rstrip())


def _found(found: Mapping[str, list[Mapping[str, Any]]]) -> Iterator[RenderableType]:
    if not any(found.values()):
        return
    yield Text()
    for name, style in (("fixed", "green"), ("new", "yellow"), ("left", "")):
        for one in found[name][:_MOST]:
            yield Words(f"{name:5}  {one['file']}:{one['line']}  {one['what']}", style)
        if len(found[name]) > _MOST:
            yield Words(f"{name:5}  and {len(found[name]) - _MOST} more, which --json lists", style)


def _predicted(predicted: Mapping[str, Any] | None) -> Iterator[RenderableType]:
    if predicted is None:
        return
    gain, low, high, measured = (
        text.seconds(1e-3 * predicted[name]) for name in ("gain_ms", "low", "high", "measured_ms")
    )
    yield Words(f"What was fixed was predicted to save {gain} a step ({low} to {high}); measured: {measured}")
