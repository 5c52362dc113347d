"""When experiments are made, and for how long. Nothing here loads torch before the script does."""

from __future__ import annotations

from typing import Final

from flatout.profiling.evidence import Evidence
from flatout.profiling.run_script import Outcome
from flatout.profiling.trials.trial import Trials

_LEAST: Final = 3.0  # seconds
_MOST: Final = 30.0
_SHARE: Final = 0.1  # of the time that the script took


def seconds_for(script: float) -> float:
    """The seconds for all experiments after a script that took so many.

    >>> seconds_for(5.0), seconds_for(100.0), seconds_for(3600.0)
    (3.0, 10.0, 30.0)
    """
    return min(_MOST, max(_LEAST, _SHARE * script))


def trials_after(outcome: Outcome, evidence: Evidence, seconds: float | None) -> Trials:
    """Experiments with a copy of the model, where the script has come to its end.

    Args:
        outcome: how it ended.
        evidence: what the windows saw: the model, and what its lines did.
        seconds: for all of them; None for none.
    """
    if seconds is None:
        return Trials.not_made()
    if outcome.how not in ("finished", "stopped"):
        return Trials(none="no experiments follow a script that did not come to its end")
    from flatout.profiling.trials.experiments import run_trials
    from flatout.profiling.trials.readings import costly

    zeroes = bool(evidence.seen.zeroed)
    return run_trials(evidence.subject, seconds=seconds, zeroes=zeroes, also=costly(evidence))
