"""Why a plan won, in a sentence."""

from __future__ import annotations

from collections.abc import Sequence

from flatout.racing.result import Candidate
from flatout.report import text


def reason_for(winner: Candidate, candidates: Sequence[Candidate], steps: int | None) -> str:
    """The sentence; it holds only what was measured."""
    eager = _eager(winner, candidates)
    if winner.plan != "eager" and eager is not None:
        return _faster(winner, eager, steps)
    elsewhere = [c for c in candidates if c.plan == "eager" and c.device != winner.device and c.us_per_step]
    if elsewhere and winner.us_per_step is not None:
        slower = min(elsewhere, key=lambda c: c.predicted_s or 0.0)
        return (
            f"a step takes {_step(winner)} in eager on {winner.device} and {_step(slower)} on {slower.device}"
        )
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


def too_short(predicted: float, steps: int, plan: str, setup: float) -> str:
    """Why a plan is not even set up."""
    return (
        f"{text.count(steps)} steps take about {text.seconds(predicted)} with the best plan so far, "
        f"and setting {plan} up takes {text.seconds(setup)} or more"
    )


def _faster(winner: Candidate, eager: Candidate, steps: int | None) -> str:
    assert winner.us_per_step is not None and eager.us_per_step is not None
    share = 1 - winner.us_per_step / eager.us_per_step
    return (
        f"{winner.plan} takes {_step(winner)} a step for the same numbers that take eager {_step(eager)}: "
        f"{_percent(share)} of an eager step is not needed for the arithmetic (operations started one by one "
        f"from Python, results passed between them through memory); {text.count(steps)} steps take about "
        f"{text.seconds(winner.predicted_s)} with {text.seconds(winner.setup_s)} of set-up, and "
        f"{text.seconds(eager.predicted_s)} in eager"
    )


def _percent(share: float) -> str:
    """Never rounded up to 100 %.

    >>> _percent(0.984), _percent(0.9987)
    ('98 %', '99.8 %')
    """
    return f"{int(share * 1000) / 10:g} %" if share > 0.985 else f"{share:.0%}".replace("%", " %")


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
