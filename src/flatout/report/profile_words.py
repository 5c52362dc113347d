"""What a finding costs and saves, in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from flatout.report import text

_COSTS: Final = {"kept-graph": "memory"}  # what a finding costs that takes no time


def cost_words(one: Mapping[str, Any]) -> str:
    """What a finding costs.

    >>> cost_words({"kind": "item", "ms_per_step": 0.167, "share": 0.469})
    '167 µs, 46.9 % of a step'
    >>> cost_words({"kind": "train-mode", "ms_per_step": None, "share": None})
    'correctness, not time'
    """
    if one["ms_per_step"] is None:
        return f"{_COSTS.get(one['kind'], 'correctness')}, not time"
    return f"{text.seconds(1e-3 * one['ms_per_step'])}, {100 * one['share']:.1f} % of a step"


def often(count: float) -> str:
    """How often it comes.

    >>> often(1.0), often(0.5)
    ('once a step', '0.5 times a step')
    """
    return "once a step" if count == 1 else f"{count:.3g} times a step"


def gain_words(one: Mapping[str, Any]) -> str:
    """What a fix saves, or between what bounds where only these are known; "" where not even they are.

    >>> gain_words({"gain_ms": None, "gain_low": 0.0, "gain_high": 0.5})
    'saves 0 s to 500 µs a step; how much is not known from here'
    """
    low, high = one["gain_low"], one["gain_high"]
    if high is None:
        return ""
    bounds = f"{text.seconds(1e-3 * low)} to {text.seconds(1e-3 * high)}"
    if one["gain_ms"] is None:
        return f"saves {bounds} a step; how much is not known from here"
    return f"saves about {text.seconds(1e-3 * one['gain_ms'])} a step ({bounds})"
