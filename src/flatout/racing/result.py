"""What a race found."""

from __future__ import annotations

import io
import math
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from rich.console import Console, RenderableType

from flatout.plans.base import Loop
from flatout.racing.split import Split
from flatout.report import text
from flatout.report.race_view import race_table, race_view

Status = Literal["ok", "refused", "wrong", "skipped"]


@dataclass(frozen=True)
class Candidate:
    """A plan on a device, and what the race found; None is what was not measured.

    Attributes:
        device: for example "cpu" or "cuda:0".
        plan: the name of the plan.
        status: "ok"; "refused": it cannot run the task; "wrong": it computes something else than eager;
            "skipped": it was not tried.
        reason: why it is not "ok".
        setup_s: seconds until it is ready for its first step.
        us_per_step: microseconds a step once it runs.
        predicted_s: set-up and all steps of this task.
        max_abs_diff: the largest difference to eager after the checked steps.
        floor_us: the least a step can take on the device.
    """

    device: str
    plan: str
    status: Status
    reason: str = ""
    setup_s: float | None = None
    us_per_step: float | None = None
    predicted_s: float | None = None
    max_abs_diff: float | None = None
    floor_us: float | None = None


@dataclass(frozen=True)
class Race:
    """The comparison of plans and devices for one task.

    Attributes:
        task: its name.
        steps: the steps of the whole training; None where nobody knows before its end.
        winner: the candidate with the least predicted time among those that compute what eager computes.
        reason: why, in a sentence, with the numbers.
        candidates: all that took part.
        splits: where an eager step spends its time, for each device where that was measured.
        kept: whether this is the decision of an earlier race.
        loop: the winner's prepared loop, on a copy of the task, where it was wanted.
    """

    task: str
    steps: int | None
    winner: Candidate
    reason: str
    candidates: tuple[Candidate, ...]
    splits: tuple[Split, ...] = ()
    kept: bool = False
    loop: Loop | None = field(default=None, repr=False, compare=False)

    @property
    def table(self) -> str:
        """The candidates as a table of text, with who wins, why, and where an eager step spends its time."""
        console = Console(file=io.StringIO(), width=100, highlight=False)
        console.print(view_of(self))
        assert isinstance(console.file, io.StringIO)
        return "\n".join(line.rstrip() for line in console.file.getvalue().splitlines())

    def document(self) -> dict[str, Any]:
        """The one JSON document that `flatout race --json` prints."""
        return {
            "task": self.task,
            "steps": self.steps,
            "winner": {"device": self.winner.device, "plan": self.winner.plan},
            "reason": self.reason,
            "candidates": [_finite(asdict(candidate)) for candidate in self.candidates],
        }


def table_of(candidates: tuple[Candidate, ...], now: str = "") -> RenderableType:
    """The candidates so far as a table for a terminal, and what is tried now."""
    return race_table([asdict(candidate) for candidate in candidates], now=now)


def view_of(race: Race) -> RenderableType:
    """A race for a terminal: who wins and why, the candidates, and where an eager step spends its time."""
    return race_view(
        [{**asdict(candidate), "won": candidate == race.winner} for candidate in race.candidates],
        verdict=_verdict(race),
        reason=race.reason,
        splits=[asdict(split) for split in race.splits],
    )


def _verdict(race: Race) -> str:
    """Who wins, and what that means for this training.

    >>> winner = Candidate("cpu", "eager", "ok", predicted_s=2.0)
    >>> _verdict(Race("iris", 20_000, winner, "", (winner,)))
    'eager on cpu wins: 20,000 steps take about 2 s'
    """
    winner, steps = race.winner, text.count(race.steps)
    wins = f"{winner.plan} on {winner.device} wins"
    if winner.predicted_s is None:
        return wins
    taken = f"{wins}: {steps} steps take about {text.seconds(winner.predicted_s)}"
    eager = [c.predicted_s for c in race.candidates if c.plan == "eager" and c.predicted_s is not None]
    if winner.plan == "eager" or not eager:
        return taken
    return f"{taken}, and {text.seconds(min(eager))} in eager"


def _finite(document: dict[str, Any]) -> dict[str, Any]:
    """JSON has no word for infinity and NaN."""
    odd = {key for key, value in document.items() if isinstance(value, float) and not math.isfinite(value)}
    return {key: None if key in odd else value for key, value in document.items()}
