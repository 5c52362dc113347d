"""Two profiles side by side: what changed, and whether it is more than noise.

Two runs of the same script differ by more than the steps within one of them: on a busy machine a whole run is
slow. So a change counts only where two things hold. The medians of the blocks of steps must be further apart
than `_SURE` standard errors. And the quickest steps, which a busy machine delays least, must have moved the
same way, by at least half as much.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any, Final

from flatout.profiling.version import VERSION
from flatout.report import text

_SURE: Final = 4.0  # standard errors; twice the usual 2, since the blocks of one run are alike
_FLOOR: Final = 0.01  # of a step: nobody measures closer
_FEWEST: Final = 4  # blocks
_NAMED: Final = {
    "script": "the script",
    "arguments": "the arguments",
    "device": "the device",
}


def compare(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, Any]:
    """What changed from one profile to another.

    Args:
        before: a document of `read_document`.
        after: another.

    Returns:
        "version" and "verdict"; "step": "before_us", "after_us" (medians), "ratio", "low", "high", and
        "changed", which is None where it cannot be told; "parts": for each, and for "all" of them,
        "before_us" and "after_us" (means), None where it was not there; "findings": "fixed", "new", "left";
        "predicted": of what was fixed "gain_ms", "low", "high" and "measured_ms", or None where no gain was
        predicted; "differences": in words, of what should be the same.
    """
    step = _step(before, after)
    found = _findings(before, after)
    means = {"before_us": before["us_per_step"], "after_us": after["us_per_step"]}
    seen: dict[str, Any] = {
        "version": VERSION,
        "step": step,
        "parts": _parts(before["breakdown"], after["breakdown"]) | {"all": means},
        "findings": found,
        "predicted": _predicted(found["fixed"], step),
        "differences": _differences(before, after),
    }
    return seen | {"verdict": _verdict(seen)}


def _step(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, Any]:
    spreads = [one["step_times_us"] for one in (before, after)]
    logs = [[math.log(us) for us in spread["blocks"]] for spread in spreads]
    usual = [median(spread["blocks"] or [spread["quartiles"][1]]) for spread in spreads]
    moved = math.log(usual[1] / usual[0])
    step: dict[str, Any] = {"before_us": usual[0], "after_us": usual[1], "ratio": math.exp(moved)}
    if min(map(len, logs)) < _FEWEST:
        return step | {"low": None, "high": None, "changed": None}
    error = _SURE * math.hypot(_FLOOR / _SURE, *map(_standard_error, logs))
    quickest = math.log(spreads[1]["low"] / spreads[0]["low"])
    changed = abs(moved) > error and quickest / moved >= 0.5
    return step | {"low": math.exp(moved - error), "high": math.exp(moved + error), "changed": changed}


def _standard_error(values: Sequence[float]) -> float:
    """Of their median; a few values far off do not count."""
    middle = median(values)
    deviation = 1.4826 * median(abs(value - middle) for value in values)
    return 1.2533 * deviation / math.sqrt(len(values))


def _parts(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, dict[str, float | None]]:
    names = [*before, *(name for name in after if name not in before)]
    return {
        name: {"before_us": before.get(name, {}).get("us"), "after_us": after.get(name, {}).get("us")}
        for name in names
    }


def _findings(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, list[dict[str, Any]]]:
    """A finding is the same where its kind, its file and the text of its line are."""
    new = list(after["findings"])
    fixed, left = [], []
    for one in before["findings"]:
        name = _identity(one, before["script"])
        same = next((other for other in new if _identity(other, after["script"]) == name), None)
        if same is None:
            fixed.append(_brief(one))
        else:
            new.remove(same)
            left.append(_brief(same) | {"before_ms_per_step": one.get("ms_per_step")})
    return {"fixed": fixed, "new": [_brief(one) for one in new], "left": left}


def _identity(one: Mapping[str, Any], script: str) -> tuple[str, str, object]:
    file = str(one["file"])
    if os.path.normpath(file) == os.path.normpath(script):
        file = ""  # the script itself may have another name
    source, line = one["source"], int(one["line"])
    if source is None:
        return str(one["kind"]), file, line
    return str(one["kind"]), file, source["lines"][line - source["first"]].strip()


def _brief(one: Mapping[str, Any]) -> dict[str, Any]:
    names = ("kind", "file", "line", "what", "ms_per_step", "gain_ms", "gain_low", "gain_high")
    return {name: one.get(name) for name in names}


def _predicted(fixed: Sequence[Mapping[str, Any]], step: Mapping[str, Any]) -> dict[str, Any] | None:
    known = [one for one in fixed if one["gain_ms"] is not None]
    if not known:
        return None
    totals = {name: sum(one[f"gain_{name}"] for one in known) for name in ("ms", "low", "high")}
    measured = 1e-3 * (step["before_us"] - step["after_us"])
    return {"gain_ms": totals["ms"], "low": totals["low"], "high": totals["high"], "measured_ms": measured}


def _differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    pairs = [(words, before.get(name), after.get(name)) for name, words in _NAMED.items()]
    for group, of in (("machine", "the {}"), ("versions", "the version of {}")):
        names = dict.fromkeys([*before[group], *after[group]])
        pairs += [(of.format(name), before[group].get(name), after[group].get(name)) for name in names]
    return [
        f"{words} {'were' if words.endswith('s') else 'was'} {_shown(one)} before, {_shown(other)} after"
        for words, one, other in pairs
        if one != other
    ]


def _shown(value: object) -> str:
    if value is None or value == []:
        return "none"
    return " ".join(map(str, value)) if isinstance(value, list) else str(value)


def _verdict(seen: Mapping[str, Any]) -> str:
    step = seen["step"]
    before, after = (text.seconds(1e-6 * step[name]) for name in ("before_us", "after_us"))
    change = f"a step took {before} before and {after} after"
    if step["changed"] is None:
        return f"Too few steps to tell noise from change: {change}."
    if not step["changed"]:
        return f"No change beyond the noise: {change}."
    ratio = step["ratio"]
    if ratio < 1:
        return f"A step is {1 / ratio:.2f} times as fast: {before} before, {after} after."
    return f"A step takes {ratio:.2f} times as long: {before} before, {after} after."
