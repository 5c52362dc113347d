"""Findings whose gain an experiment has measured on a copy of the model."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from statistics import median
from typing import Final

from flatout.profiling.evidence import AbstainError, Evidence
from flatout.profiling.finding import Finding
from flatout.profiling.trials.trial import Trial
from flatout.profiling.user_lines import Line

_WORTH: Final = 0.05  # of a step
_ALIKE: Final = 2.5  # how many times as long as the copy's the script's step may take


def from_trial(
    evidence: Evidence,
    name: str,
    kind: str,
    what: str,
    fix: str,
    *,
    line: Line | None = None,
    code: str = "",
    count: float = 1.0,
) -> Iterator[Finding]:
    """A finding, where an experiment surely gained, and 5 % of a step at least; else none.

    Args:
        evidence: with the experiments.
        name: of the experiment.
        kind, what, fix, count: of the finding.
        line: likewise; where the model is called, unless told.
        code: likewise; what the experiment changed, unless told.

    Raises:
        AbstainError: the experiment was not possible, or its copy is not like the script.
    """
    trial, subject = evidence.trial(name), evidence.subject
    if trial is None or subject is None or trial.low_s <= 0:
        return
    scale = carried_over(evidence, trial)
    gain, low, high = (scale * seconds for seconds in (trial.gain_s, trial.low_s, trial.high_s))
    if gain < _WORTH * evidence.step_s:
        return
    gain, high = min(gain, evidence.step_s), min(high, evidence.step_s)
    where = line or subject.line
    yield Finding(
        kind=kind,
        file=where.file,
        line=where.line,
        what=what,
        count=count,
        ms_per_step=1e3 * gain,
        share=gain / evidence.step_s,
        fix=fix,
        code=code or trial.setting,
        gain_ms=1e3 * gain,
        gain_low=1e3 * min(low, gain),
        gain_high=1e3 * high,
    )


def best_of(ways: Iterable[Iterator[Finding]]) -> Iterator[Finding]:
    """Of several ways to the same end the one that gains most.

    Raises:
        AbstainError: none gains, and one could not be judged.
    """
    found: list[Finding] = []
    missing: list[AbstainError] = []
    for way in ways:
        try:
            found += way
        except AbstainError as why:
            missing.append(why)
    if found:
        yield max(found, key=lambda one: one.gain_ms or 0.0)
    elif missing:
        raise missing[0]


def carried_over(evidence: Evidence, trial: Trial) -> float:
    """How many times as long the script takes for what the copy does.

    The two differ by what else the machine does meanwhile, and by modules of the script that are not copied.
    A GPU's time is not in the stamps of the host: there a gain is taken as it is, or less in a shorter step.

    Raises:
        AbstainError: they are too far apart to be the same work.
    """
    subject = evidence.subject
    if trial.alike_s <= 0 or subject is None:
        raise AbstainError("nothing of the script's step was measured on the copy")
    if evidence.on_cpu:
        whole = {part: median(getattr(time, part) for time in evidence.bare) for part in trial.alike}
        same = sum(took * (1.0 if part == "optimizer" else subject.share) for part, took in whole.items())
    else:
        same = min(trial.alike_s, median(time.total for time in evidence.bare))
    scale = float(same / trial.alike_s)
    if not 1 / _ALIKE <= scale <= _ALIKE:
        raise AbstainError(
            f"the {', '.join(trial.alike)} of the copy took {1e3 * trial.alike_s:.3g} ms and the script's "
            f"{1e3 * same:.3g} ms: they are not alike"
        )
    return scale
