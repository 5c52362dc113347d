"""What a race found."""

from __future__ import annotations

import io
import math
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from rich.console import Console, RenderableType

from flatout.plans.base import Loop
from flatout.report.tables import race_table

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
        kept: whether this is the decision of an earlier race.
        loop: the winner's prepared loop, on a copy of the task, where it was wanted.
    """

    task: str
    steps: int | None
    winner: Candidate
    reason: str
    candidates: tuple[Candidate, ...]
    kept: bool = False
    loop: Loop | None = field(default=None, repr=False, compare=False)

    @property
    def table(self) -> str:
        """The candidates as a table of text."""
        console = Console(file=io.StringIO(), width=110, highlight=False)
        console.print(table_of(self.candidates, self.winner))
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


def table_of(candidates: tuple[Candidate, ...], winner: Candidate | None = None) -> RenderableType:
    """The candidates as a table for a terminal, the winner marked."""
    return race_table([{**asdict(candidate), "won": candidate == winner} for candidate in candidates])


def _finite(document: dict[str, Any]) -> dict[str, Any]:
    """JSON has no word for infinity and NaN."""
    odd = {key for key, value in document.items() if isinstance(value, float) and not math.isfinite(value)}
    return {key: None if key in odd else value for key, value in document.items()}
