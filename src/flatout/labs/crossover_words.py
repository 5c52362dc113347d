"""What the lab on sizes found: in sentences, and as a document."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from flatout.labs.crossover_lab import BATCH, WIDTH, Contestant, Crossing, Curve, Sweep, Swept
from flatout.labs.line import LEVEL
from flatout.labs.paired import Interval
from flatout.report import text

STARTS_US = (5, 10, 20)
"""What starting an operator on a GPU may cost beyond what it costs on the CPU."""

_EAGER = Contestant("eager", "cpu")
_BENT = 1.5  # a line that is off by more than this factor describes nothing


def document(swept: Sequence[Swept], operators: int) -> dict[str, Any]:
    """What was found, ready for JSON; times in µs, null for what lies beyond the sizes that were measured."""
    needs = gpu_needs(swept, operators)
    return {
        "lab": "crossover",
        "rounds": len(swept[0].curves[0].times),
        "level": LEVEL,
        "operators": operators,
        "sweeps": [_sweep_document(one) for one in swept],
        "gpu_needs": needs,
        "verdict": verdict(swept),
        "lessons": lessons(swept, operators, needs),
    }


def verdict(swept: Sequence[Swept]) -> str:
    """In one sentence, where the devices cross, or what the one device there is does."""
    gpus = {
        crossing.second.device: None
        for one in swept
        for crossing in one.crossings
        if crossing.second.device != "cpu"
    }
    if gpus:
        return "; ".join(f"{gpu} is {_overtakes(swept, gpu)}" for gpu in gpus) + "."
    eager = [(one.sweep, curve) for one in swept for curve in one.curves if curve.contestant.plan == "eager"]
    if not eager:
        return "Nothing ran in eager, so there is nothing to cross."
    fixed = text.seconds(text.two_digits(eager[0][1].line.fixed.estimate))
    sizes = " or ".join(_balance(sweep, curve) for sweep, curve in eager)
    device = eager[0][1].contestant.device
    return (
        f"An eager step on {device} costs about {fixed} before it computes anything, as much time as the "
        f"work of {sizes}{'' if device != 'cpu' else '; no GPU took part'}."
    )


def lessons(swept: Sequence[Swept], operators: int, needs: Sequence[dict[str, Any]]) -> list[str]:
    """What to take along, in sentences."""
    said = [_native(swept)] if any(c.first.plan == "native" for one in swept for c in one.crossings) else []
    if needs:
        cases = "; ".join(
            f"at {need['us_per_start']} µs more each, it can be faster "
            f"{' and '.join(_need(one.sweep, need) for one in swept)}"
            for need in needs
        )
        said.append(
            f"What a GPU would need: the same Python starts the same {operators} operators (forward and "
            f"backward) on it, and each start costs more there. What it computes counted as nothing: {cases}."
        )
    else:
        said.append(
            "Below the crossing a GPU waits for Python to start its work. A larger batch, a wider network or "
            "fewer, larger operators fill it; a smaller network trains faster on the CPU."
        )
    return said


def gpu_needs(swept: Sequence[Swept], operators: int) -> list[dict[str, Any]]:
    """For some costs of a start, from what sizes on a GPU could beat the CPU; none where there is a GPU."""
    curves = {one.sweep: curve for one in swept for curve in one.curves if curve.contestant == _EAGER}
    if any(curve.contestant.device != "cpu" for one in swept for curve in one.curves):
        return []
    found = []
    for start in STARTS_US:
        need: dict[str, Any] = {"us_per_start": start}
        for sweep, curve in curves.items():
            # From there on the CPU computes for longer than the GPU starts.
            size = sweep.size_of(operators * 1e-6 * start / curve.line.slope.estimate)
            need[sweep.what] = _within(sweep, size)
        found.append(need)
    return found


def fit_words(sweep: Sweep, curve: Curve) -> str:
    """The line of a contestant in words."""
    line, name = curve.line, curve.contestant.name
    unit, slope = (
        ("sample", line.slope.estimate)
        if sweep.what == "batch"
        else ("1,000 weights", 1e3 * line.slope.estimate)
    )
    if line.off > _BENT:
        fit = f"a straight line is off by up to {line.off:.1f} times"
    else:
        fit = f"that is off by {100 * (line.off - 1):.0f} % at the most"
    work = f"{text.seconds(text.two_digits(slope))} a {unit}"
    if curve.balance.estimate < sweep.sizes[0]:
        return f"{name}: {work}, and no fixed cost that shows ({fit})"
    fixed = text.seconds(text.two_digits(line.fixed.estimate))
    return f"{name}: {fixed} a step + {work} ({fit}); both cost the same at {_balance(sweep, curve)}"


def crossing_words(sweep: Sweep, crossing: Crossing) -> str:
    """Where a pair crosses, in a sentence."""
    first, second, size = crossing.first.name, crossing.second.name, crossing.size
    if size.estimate == 0:
        return f"{second} is faster than {first} at every {sweep.what} that was measured."
    if math.isinf(size.estimate):
        further = (
            f"; by the lines it would be from about {_size(crossing.by_fit)} on" if crossing.by_fit else ""
        )
        return (
            f"{first} is faster than {second} at the largest {sweep.what}, {sweep.sizes[-1]:,}, "
            f"{_but(crossing)}{further}."
        )
    return f"{second} is faster than {first} from {_about(sweep, size)} on."


def _overtakes(swept: Sequence[Swept], gpu: str) -> str:
    said = []
    for one in swept:
        crossing = next(c for c in one.crossings if c.second.device == gpu and c.first == _EAGER)
        what = one.sweep.what
        if crossing.size.estimate == 0:
            said.append(f"faster than the CPU at every {what} that was measured")
        elif math.isinf(crossing.size.estimate):
            said.append(
                f"slower than the CPU at the largest {what}, {one.sweep.sizes[-1]:,}, {_but(crossing)}"
            )
        else:
            said.append(f"faster than the CPU from {_about(one.sweep, crossing.size)} on")
    return " and ".join(said)


def _but(crossing: Crossing) -> str:
    """Of a pair that does not cross for good."""
    if not crossing.but:
        return "and at every smaller one"
    return f"but not at {', '.join(f'{size:,}' for size in crossing.but)}"


def _native(swept: Sequence[Swept]) -> str:
    """What the plan native gains over eager, at the smallest and at the largest size."""
    said: list[str] = []
    for one in swept:
        middle = {curve.contestant.plan: np.median(curve.times, axis=0) for curve in one.curves[-1:]}
        middle |= {
            curve.contestant.plan: np.median(curve.times, axis=0)
            for curve in one.curves
            if curve.contestant == _EAGER
        }
        gain = middle["eager"] / middle["native"]
        as_long = ("times as long", "times")[bool(said)]
        first, last = (f"at {one.sweep.what} {one.sweep.sizes[end]:,}" for end in (0, -1))
        said.append(f"{_ratio(gain[0])} {as_long} {first} and {_ratio(gain[-1])} times {last}")
    return (
        "The plan native runs the same step as one function in C and starts nothing from Python. Eager takes "
        f"{', '.join(said)}. The smaller the work, the more of a step is overhead."
    )


def _need(sweep: Sweep, need: dict[str, Any]) -> str:
    size = need[sweep.what]
    if size is None:
        return f"at no {sweep.what} up to {sweep.sizes[-1]:,}"
    return f"from {sweep.what} {_size(size)}"


def _balance(sweep: Sweep, curve: Curve) -> str:
    if curve.balance.estimate > sweep.sizes[-1]:
        return f"a {sweep.what} beyond {sweep.sizes[-1]:,}"
    return _about(sweep, curve.balance)


def _about(sweep: Sweep, size: Interval) -> str:
    low = _size(size.low) if size.low > 0 else "less"
    high = _size(size.high) if size.high <= sweep.sizes[-1] else f"beyond {sweep.sizes[-1]:,}"
    return f"a {sweep.what} of about {_size(size.estimate)} ({low} to {high})"


def _size(size: float | None) -> str:
    """To two digits: more would say too much.

    >>> _size(1834.2), _size(7.26), _size(None)
    ('1,800', '7.3', '–')
    """
    return text.UNKNOWN if size is None else f"{text.two_digits(size):,.10g}"


def _ratio(gain: float) -> str:
    return f"{gain:.1f}" if gain < 9.95 else f"{text.two_digits(gain):g}"


def _sweep_document(one: Swept) -> dict[str, Any]:
    return {
        "what": one.sweep.what,
        "other": WIDTH if one.sweep.what == "batch" else BATCH,
        "sizes": list(one.sweep.sizes),
        "work": [one.sweep.work(size) for size in one.sweep.sizes],
        "curves": [_curve_document(one.sweep, curve) for curve in one.curves],
        "crossings": [_crossing_document(one.sweep, crossing) for crossing in one.crossings],
    }


def _curve_document(sweep: Sweep, curve: Curve) -> dict[str, Any]:
    low, middle, high = 1e6 * np.quantile(curve.times, [0.25, 0.5, 0.75], axis=0)
    return {
        "plan": curve.contestant.plan,
        "device": curve.contestant.device,
        "us": middle.tolist(),
        "quartiles": [[a, b] for a, b in zip(low.tolist(), high.tolist(), strict=True)],
        "fixed_us": _bounds(curve.line.fixed.times(1e6)),
        "slope_us": _bounds(curve.line.slope.times(1e6)),
        "balance": {key: _within(sweep, size) for key, size in _bounds(curve.balance).items()},
        "off": curve.line.off,
        "words": fit_words(sweep, curve),
    }


def _crossing_document(sweep: Sweep, crossing: Crossing) -> dict[str, Any]:
    size = crossing.size.estimate
    return {
        "first": crossing.first.name,
        "second": crossing.second.name,
        "second_is_faster": "always" if size == 0 else "never" if math.isinf(size) else "from",
        "size": {key: _within(sweep, size) for key, size in _bounds(crossing.size).items()},
        "by_fit": crossing.by_fit,
        "words": crossing_words(sweep, crossing),
    }


def _bounds(interval: Interval) -> dict[str, float]:
    return {"is": interval.estimate, "low": interval.low, "high": interval.high}


def _within(sweep: Sweep, size: float) -> float | None:
    return size if sweep.sizes[0] <= size <= sweep.sizes[-1] else None
