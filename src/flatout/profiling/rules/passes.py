"""Models called in the wrong mode: validation in training mode, or with a graph that nobody needs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from flatout.profiling.evidence import AbstainError, Evidence, typical
from flatout.profiling.finding import Finding
from flatout.profiling.watch.passes import Pass

_EACH: Final = 0.5  # times a step: it is a part of ordinary steps


def find_train_mode(evidence: Evidence) -> Iterator[Finding]:
    """A finding for each line that evaluates a model in training mode; it costs correctness, not time."""
    fix = "dropout drops, and batch norm learns from what is only to be measured: switch the mode"
    for one in _once(evidence, [p for p in evidence.passes.seen if p.unsteady and not p.trains]):
        what = f"a model evaluated in training mode ({one.unsteady} in {one.model})"
        code = "model.eval(); ...; model.train()"
        count = one.calls / max(1, evidence.passes.steps)
        line = one.line
        yield Finding(
            "train-mode", line.file, line.line, what, count, None, None, fix, code, None, None, None
        )


def find_no_grad(evidence: Evidence) -> Iterator[Finding]:
    """A finding for each line that calls a model with a graph through which no gradient comes back.

    An experiment says which part of a forward the graph takes; without one the fix gains 0 to all of it.
    """
    parts = _graph_part(evidence)
    fix = "nothing comes back through this graph: make none"
    for one in _once(evidence, [p for p in evidence.passes.seen if p.grad and not p.trains]):
        steps = max(1, evidence.passes.steps)
        count = len(one.times) / steps
        cost = count * typical(one.times) if one.times else 0.0
        step = evidence.step_s if count >= _EACH else evidence.mean_s
        yield Finding(
            "no-grad",
            one.line.file,
            one.line.line,
            f"a graph that no backward uses ({one.model})",
            count,
            1e3 * cost,
            min(1.0, cost / step),
            fix,
            "with torch.no_grad(): ...",
            None if parts is None else 1e3 * cost * parts[0],
            0.0 if parts is None else 1e3 * cost * parts[1],
            1e3 * cost * (1.0 if parts is None else parts[2]),
        )


def _graph_part(evidence: Evidence) -> tuple[float, float, float] | None:
    """The part of a forward that the graph takes, by the experiment, and its bounds; None without one."""
    try:
        trial = evidence.trial("no-grad")
    except AbstainError:
        return None
    if trial is None or trial.before_s <= 0:
        return None
    middle, low, high = (
        min(1.0, max(0.0, seconds / trial.before_s)) for seconds in (trial.gain_s, trial.low_s, trial.high_s)
    )
    return middle, low, high


def _once(evidence: Evidence, passes: list[Pass]) -> Iterator[Pass]:
    """One pass a line; a line through which training goes, too, is none."""
    trains = {one.line for one in evidence.passes.seen if one.trains}
    lines = set()
    for one in passes:
        if one.line not in trains and one.line not in lines:
            lines.add(one.line)
            yield one
