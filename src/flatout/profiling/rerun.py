"""Run a script once more in a process of its own, with one fix or with none, and only time its steps.

    python -m flatout.profiling.rerun JOB.json

The job names the script and the finding whose remedy is put in; what was measured is written where it says.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from flatout.profiling.losses import Losses
from flatout.profiling.profile import profile_script
from flatout.profiling.remedies import Remedy, remedy_for

_BARE: Final = 62  # steps of a window; between two the wrappers are put in anew


@dataclass(frozen=True)
class Call:
    """How a script is run.

    Attributes:
        arguments: the script (or the module) and its own arguments.
        module: it is the name of a module.
        steps: measuring ends after so many.
        stop: the script ends then.
    """

    arguments: list[str]
    module: bool
    steps: int
    stop: bool


@dataclass(frozen=True)
class Job(Call):
    """What to run.

    Attributes:
        finding: whose remedy is put in, or None.
        device: the type of the device where the model lies.
        result: where what was measured is written.
    """

    finding: dict[str, Any] | None
    device: str | None
    result: str


def run(job: Job, write: Callable[[dict[str, Any]], None]) -> int:
    """Run it.

    Args:
        job: what.
        write: given what was measured, at the end, however it comes: "status" and "outcome" of the script,
            "steps", "us_per_step", "step_times_us", "losses", and how often the remedy was "applied".

    Returns:
        The exit status of the script.
    """
    losses = Losses()
    remedy: Remedy | None = None
    if job.finding is not None:
        remedy = remedy_for(job.finding, Path.cwd(), job.device)
        if remedy is not None:
            remedy.prepare()

    def with_torch() -> None:
        if remedy is not None:
            remedy.install()
        losses.install()

    def measured(seen: dict[str, Any]) -> None:
        kept = {key: seen[key] for key in ("status", "outcome", "steps", "us_per_step", "step_times_us")}
        applied = 0 if remedy is None else remedy.applied
        write(kept | {"losses": losses.numbers(), "applied": applied})

    outcome, seen = profile_script(
        job.arguments,
        module=job.module,
        steps=job.steps,
        stop=job.stop,
        trials=False,
        last_words=measured,
        windows=_only_bare,
        with_torch=with_torch,
    )
    if seen is not None:
        measured(seen)
    return outcome.status


def _only_bare() -> Iterator[tuple[str, int]]:
    while True:
        yield "bare", _BARE


def main() -> None:
    """Run the job of the command line."""
    job = Job(**json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))
    result = Path(job.result).absolute()
    sys.exit(run(job, lambda measured: _write(result, measured)))


def _write(result: Path, measured: dict[str, Any]) -> None:
    result.write_text(json.dumps(measured), encoding="utf-8")


if __name__ == "__main__":
    main()
