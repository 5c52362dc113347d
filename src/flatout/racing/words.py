"""Why a plan won, in a sentence."""

from __future__ import annotations

from collections.abc import Sequence

from flatout.racing.result import Candidate
from flatout.racing.split import Split
from flatout.report import text
from flatout.report.race_view import share_of

# What a plan does instead of starting one operator after the other.
_INSTEAD = {"native": "native starts nothing", "compiled": "compiled starts the whole step with one call"}


def reason_for(
    winner: Candidate, candidates: Sequence[Candidate], steps: int | None, splits: Sequence[Split] = ()
) -> str:
    """The sentence; it holds only what was measured.

    >>> eager = Candidate("cpu", "eager", "ok", "", 0.0, 100.0, 2.0)
    >>> native = Candidate("cpu", "native", "ok", "", 0.5, 1.2, 0.524)
    >>> reason_for(native, [eager, native], 20_000, [Split("cpu", 100.0, 8.0, 92.0, 0.0, 0.0, 0.0, "")])
    ... # doctest: +NORMALIZE_WHITESPACE
    '92 % of an eager step (100 µs) starts work and 8 % does it; native starts nothing and takes 1.2 µs a
    step, so its set-up (500 ms) is made up for after 5,061 of 20,000 steps'
    """
    eager = _eager(winner, candidates)
    if winner.plan != "eager" and eager is not None:
        return _faster(winner, eager, steps, splits)
    elsewhere = [c for c in candidates if c.plan == "eager" and c.device != winner.device and c.us_per_step]
    if elsewhere and winner.us_per_step is not None:
        slower = min(elsewhere, key=lambda c: c.predicted_s or 0.0)
        times = (
            f"a step takes {_step(winner)} in eager on {winner.device} and {_step(slower)} on {slower.device}"
        )
        split = next((split for split in splits if split.device == slower.device), None)
        return times if split is None else f"{times}, where {_where_the_time_goes(split)}"
    others = [c for c in candidates if c != winner]
    measured = [c for c in others if c.predicted_s is not None]
    if measured:
        best = min(measured, key=lambda c: c.predicted_s or 0.0)
        return (
            f"{text.count(steps)} steps take about {text.seconds(winner.predicted_s)} in eager and "
            f"{text.seconds(best.predicted_s)} with {best.plan}, {text.seconds(best.setup_s)} of it to set up"
        )
    if not others:
        return "eager is the only plan that was asked for"
    return "; ".join(f"{c.plan} was {_what(c)}: {first_line(c.reason)}" for c in others)


def first_line(message: str) -> str:
    """The first line of a message, where only one line has room.

    >>> first_line("the compiler failed:\\nstep.c:3: error")
    'the compiler failed'
    """
    return message.partition("\n")[0].rstrip(":")


def too_short(predicted: float, steps: int, setup: str) -> str:
    """Why a plan is not even set up; `setup` says how long that would take."""
    done = f"{text.count(steps)} steps take about {text.seconds(predicted)} with the best plan so far"
    return f"{done}, and {setup}"


def _faster(winner: Candidate, eager: Candidate, steps: int | None, splits: Sequence[Split]) -> str:
    split = next((split for split in splits if split.device == eager.device), None)
    where = "" if winner.device == eager.device else f" on {winner.device}"
    eagerly = f"an eager step takes {_step(eager)}" if split is None else _where_the_time_goes(split)
    instead = _INSTEAD.get(winner.plan)
    plan = f"{winner.plan}{where}" if instead is None else f"{instead}{where} and"
    return f"{eagerly}; {plan} takes {_step(winner)} a step{_made_up_for(winner, eager, steps)}"


def _where_the_time_goes(split: Split) -> str:
    """The shares of an eager step, the largest first.

    >>> _where_the_time_goes(Split("cuda:0", 200.0, 20.0, 140.0, 0.0, 40.0, 0.0, ""))
    '70 % of an eager step (200 µs) starts work, 20 % waits and 10 % does it'
    """
    shares = {
        "starts work": split.launch_us / split.step_us,
        "moves data": split.transfer_us / split.step_us,
        "waits": (split.sync_us + split.idle_us) / split.step_us,
        "does it": split.compute_share,
    }
    first, *rest = sorted(((k, v) for k, v in shares.items() if v >= 0.001), key=lambda part: -part[1])
    names = {"does it": "does the work", "starts work": "starts it"} if first[0] == "does it" else {}
    whole = text.seconds(split.step_us / 1e6)
    said = [f"{share_of(first[1])} of an eager step ({whole}) {names.get(first[0], first[0])}"]
    said += [f"{share_of(share)} {names.get(what, what)}" for what, share in rest]
    return f"{', '.join(said[:-1])} and {said[-1]}" if rest else said[0]


def _made_up_for(winner: Candidate, eager: Candidate, steps: int | None) -> str:
    """After how many steps the set-up has paid for itself."""
    if winner.us_per_step is None or eager.us_per_step is None or winner.setup_s is None:
        return ""
    gained = (eager.us_per_step - winner.us_per_step) / 1e6
    if gained <= 0:
        return ""
    needed = max(1, round((winner.setup_s - (eager.setup_s or 0.0)) / gained))
    setup = text.seconds(winner.setup_s)
    return f", so its set-up ({setup}) is made up for after {text.count(needed)} of {text.count(steps)} steps"


def _eager(winner: Candidate, candidates: Sequence[Candidate]) -> Candidate | None:
    measured = [c for c in candidates if c.plan == "eager" and c.us_per_step is not None]
    here = [c for c in measured if c.device == winner.device]
    return next(iter(here or measured), None)


def _step(candidate: Candidate) -> str:
    return text.seconds(None if candidate.us_per_step is None else candidate.us_per_step / 1e6)


def _what(candidate: Candidate) -> str:
    return {"refused": "refused", "wrong": "thrown out", "skipped": "not tried"}.get(
        candidate.status, "slower"
    )
