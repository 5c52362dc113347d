"""What matters in a profile, in one sentence."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from flatout.profiling.recorder import SETTLING, WARM_UP

_WORTH: Final = 0.05  # a gain, of the step, that is spoken of
_UNSURE: Final = 0.1  # a cost, of the step, that is spoken of where the gain is not known
_UNKNOWN: Final = "how much of it can go is not known from here."
_IN_WORDS: Final = {
    "data": "waiting for data",
    "forward": "in forward",
    "backward": "in backward",
    "optimizer": "in the optimizer",
    "rest": "between the parts",
}


def verdict(seen: Mapping[str, Any]) -> str:
    """What matters, in one sentence: the first finding that is worth it. There was a step at least."""
    step = seen["us_per_step"]
    if step is None:
        return f"Too few steps to measure: {seen['steps']}, and {WARM_UP + SETTLING + 1} are the least."
    shown = f"a step takes {step:,.0f} µs"
    for one in seen["findings"]:
        gain, where = one["gain_ms"], f"({one['file']}:{one['line']})"
        share = f"{100 * (one['share'] or 0.0):.0f} %"
        if one["kind"] == "launch-bound":
            does = f"{100 * seen['split']['parts']['compute']['share']:.0f} % does it"
            return f"{share} of a step starts work and {does} {where}: {shown}; {_UNKNOWN}"
        if gain is not None and 1e3 * gain >= _WORTH * step:
            costs = f"{_capital(one['what'])} {where} costs {share} of the time"
            return f"{costs}: {shown}, and about {1e3 * gain:,.0f} µs of it can go."
        # One without even a bound is no cost: a batch that is too small.
        if gain is None and one["gain_high"] is not None and (one["share"] or 0.0) >= _UNSURE:
            return f"{_capital(one['what'])} {where} takes {share} of the time ({shown}); {_UNKNOWN}"
    part, largest = max(seen["breakdown"].items(), key=lambda item: float(item[1]["us"]))
    most = f"{_capital(shown)}, {100 * largest['share']:.0f} % of it {_IN_WORDS[part]}"
    if not seen["windows"]["lines"]:
        return f"{most}; the script ended before its lines were looked at."
    return f"{most}; no line was found whose fix is sure to save 5 %."


def _capital(text: str) -> str:
    """A sentence begins with a capital, but not with code.

    >>> _capital("a model in float64"), _capital("print(tensor) inside tqdm")
    ('A model in float64', 'print(tensor) inside tqdm')
    """
    return text if "(" in text.partition(" ")[0] else text[:1].upper() + text[1:]
