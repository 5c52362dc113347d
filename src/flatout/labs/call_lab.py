"""What `layer(x)` does that `layer.forward(x)` does not: observed, its frames counted, its time measured."""

from __future__ import annotations

import itertools
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import FrameType
from typing import Any

import torch
from torch import Tensor, nn

from flatout.errors import LabError
from flatout.hardware.repeat import Spread, spread_of
from flatout.labs.call_probes import PROBES, Layer, Probe, by_call, by_forward, x
from flatout.labs.paired import LEVEL, Interval, interval_of, least_rounds
from flatout.labs.rounds import Effort, Watch, interleaved
from flatout.report import text

CALLS = 5000
"""Of a run: a few milliseconds."""


@dataclass(frozen=True)
class Observed:
    """Whether a mechanism acted in each of the two ways."""

    what: str
    by_call: bool
    by_forward: bool


class Nothing(nn.Module):
    """A layer that computes nothing: all of its time is the call."""

    def forward(self, x: Tensor) -> Tensor:
        """What it is given."""
        return x


@dataclass(frozen=True)
class Arm:
    """One call that is timed.

    Attributes:
        what: how it is written.
        against: the arm without what this one adds; None for that arm itself.
        run: makes so many calls.
        once: makes one.
    """

    what: str
    against: str | None
    run: Callable[[int], None]
    once: Callable[[], object]


@dataclass(frozen=True)
class Row:
    """What an arm came to.

    Attributes:
        what: how it is written.
        frames: the Python functions that run in a call.
        seconds: of a call, over the rounds.
        more: seconds more than `against`, paired round by round; None where there is nothing against it.
        against: what it is compared with.
    """

    what: str
    frames: tuple[str, ...]
    seconds: Spread
    more: Interval | None
    against: str | None


Clock = Callable[[Arm], float]


def observed(probes: Sequence[Probe] = PROBES) -> tuple[Observed, ...]:
    """What every probe saw, in both ways; the random numbers of the caller stay as they are."""
    with torch.random.fork_rng(devices=[]):
        return tuple(Observed(probe.what, probe.acts(by_call), probe.acts(by_forward)) for probe in probes)


def timed(
    *, effort: Effort | None = None, clock: Clock | None = None, watch: Watch | None = None
) -> tuple[Row, ...]:
    """The frames and the time of a call, with and without what it adds.

    Args:
        effort: how many rounds.
        clock: the seconds of one call of an arm; None: the mean of `CALLS`, by the clock on the wall.
        watch: called with the rounds that are done and those there will be.

    Raises:
        LabError: there are too few rounds to tell a difference from noise.
    """
    effort = effort or Effort(seconds=10.0)
    if effort.rounds is not None and effort.rounds < least_rounds():
        raise LabError(
            f"{effort.rounds} rounds cannot tell a difference from noise; "
            f"give --rounds {least_rounds()} or more"
        )
    read = clock or _seconds
    arms = {arm.what: arm for arm in _arms()}
    found = interleaved(
        {what: lambda arm=arm: read(arm) for what, arm in arms.items()},  # type: ignore[misc]
        effort,
        watch=watch,
    )
    rows = []
    for what, arm in arms.items():
        more = None
        if arm.against is not None:
            pairs = zip(found[what], found[arm.against], strict=True)
            more = interval_of([mine - bare for mine, bare in pairs])
        rows.append(Row(what, frames_of(arm.once), spread_of(found[what]), more, arm.against))
    return tuple(rows)


def frames_of(work: Callable[[], object]) -> tuple[str, ...]:
    """The names of the Python functions that run within a piece of work, in the order they begin.

    >>> "forward" in frames_of(lambda: by_forward(Nothing(), x()))
    True
    """
    names: list[str] = []

    def note(frame: FrameType, event: str, _: Any) -> None:
        if event == "call":
            names.append(frame.f_code.co_name)

    before = sys.getprofile()
    sys.setprofile(note)
    try:
        work()
    finally:
        sys.setprofile(before)
    return tuple(names[1:])  # without the work's own


def _arms() -> list[Arm]:
    nothing, layer, hooked = Nothing(), Layer(), Layer()
    hooked.register_forward_hook(lambda *_: None)
    data = x()
    return [
        _forward_arm("nothing.forward(x)", nothing, data),
        _call_arm("nothing(x)", nothing, data, "nothing.forward(x)"),
        _forward_arm("fc1.forward(x)", layer, data),
        _call_arm("fc1(x)", layer, data, "fc1.forward(x)"),
        _call_arm("fc1(x) with a forward hook", hooked, data, "fc1.forward(x)"),
    ]


def _call_arm(what: str, layer: nn.Module, data: Tensor, against: str) -> Arm:
    def run(calls: int) -> None:
        for _ in itertools.repeat(None, calls):
            layer(data)

    return Arm(what, against, run, lambda: layer(data))


def _forward_arm(what: str, layer: nn.Module, data: Tensor) -> Arm:
    def run(calls: int) -> None:
        for _ in itertools.repeat(None, calls):
            layer.forward(data)

    return Arm(what, None, run, lambda: layer.forward(data))


def _seconds(arm: Arm) -> float:
    begun = time.perf_counter()
    arm.run(CALLS)
    return (time.perf_counter() - begun) / CALLS


def document(seen: Sequence[Observed], rows: Sequence[Row]) -> dict[str, Any]:
    """What was found, ready for JSON; times in µs."""
    return {
        "lab": "call",
        "rounds": rows[0].seconds.runs,
        "level": LEVEL,
        "observed": [
            {"what": one.what, "by_call": one.by_call, "by_forward": one.by_forward} for one in seen
        ],
        "timed": [_row_document(row) for row in rows],
        "verdict": verdict(seen, rows),
        "lessons": lessons(seen),
    }


def verdict(seen: Sequence[Observed], rows: Sequence[Row]) -> str:
    """What the call adds, and what that costs, in one sentence."""
    only = sum(one.by_call and not one.by_forward for one in seen)
    (row,) = (row for row in rows if row.what == "fc1(x)")
    assert row.more is not None
    if row.more.has_zero:
        most = text.seconds(text.two_digits(max(abs(row.more.low), abs(row.more.high))))
        cost = f"costs nothing that can be told from noise ({most} at the most)"
    else:
        sign = "more" if row.more.estimate > 0 else "less"
        cost = f"costs {text.seconds(text.two_digits(abs(row.more.estimate)))} {sign}"
    return (
        f"self.fc1(x) {cost} than self.fc1.forward(x), of {text.seconds(row.seconds.median)}, and lets "
        f"{only} things act that forward leaves out without a word."
    )


def lessons(seen: Sequence[Observed]) -> list[str]:
    """What to take along, in sentences."""
    both = [one.what for one in seen if one.by_call and one.by_forward]
    said = [
        "forward is what you write, and the layer is what you call. The call looks whether there are hooks "
        "or a compiled version, serves them, and calls forward; without any it only passes the arguments on."
    ]
    if both:
        said.append(
            f"What sits in the operators or in the layer's attributes acts in both: {', '.join(both)}. So a "
            "script that calls forward trains the same numbers, until something counts on a hook."
        )
    return said


def _row_document(row: Row) -> dict[str, Any]:
    more = None
    if row.more is not None:
        us = row.more.times(1e6)
        more = {"us": us.estimate, "low": us.low, "high": us.high}
    return {
        "what": row.what,
        "frames": list(row.frames),
        "us": 1e6 * row.seconds.median,
        "quartiles": [1e6 * row.seconds.low, 1e6 * row.seconds.high],
        "more": more,
        "against": row.against,
        "only_noise": None if row.more is None else row.more.has_zero,
    }
