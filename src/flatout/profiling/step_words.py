"""What is to be said of the steps themselves: what ends one, and what a step holds."""

from __future__ import annotations

import os
from collections import Counter
from statistics import fmean
from typing import Any, Final

from flatout.profiling.boundaries import BACKWARD, ENDS_WITH, FORWARD, OPTIMIZER
from flatout.profiling.recorder import Recorder

_BUSY: Final = 1.0  # seconds of CPU time of child processes that are said
_SEVERAL: Final = 1.5


def about_steps(recorder: Recorder) -> dict[str, Any]:
    """ "step_ends_with" and "backwards_per_step" of the document; None where there was none."""
    kind, counts = recorder.boundaries.kind, recorder.backwards
    known = kind in (BACKWARD, OPTIMIZER) and counts
    return {
        "step_ends_with": None if kind is None else ENDS_WITH[kind],
        "backwards_per_step": fmean(counts) if known else None,
    }


def step_notes(recorder: Recorder, children: float) -> list[str]:
    """What is unusual about the steps."""
    where = recorder.boundaries
    notes = []
    if where.kind == FORWARD:
        notes.append(f"no optimizer: a step is a call of {where.leader}")
    elif where.kind is not None and where.kind < OPTIMIZER:
        notes.append("no optimizer of torch.optim: a step ends with each backward")
    several = len(where.optimizers) > 1
    if several:
        names = ", ".join(
            name if times == 1 else f"{times} {name}"
            for name, times in Counter(where.optimizers.values()).items()
        )
        notes.append(f"{len(where.optimizers)} optimizers ({names}); a step is one of the one that leads")
    backwards = about_steps(recorder)["backwards_per_step"]
    if where.kind == OPTIMIZER and backwards is not None and backwards >= _SEVERAL:
        if recorder.in_closure > sum(recorder.backwards) / 2:
            notes.append(f"{where.leader} calls its closure with backward {backwards:.3g} times a step")
        elif several:
            notes.append(f"{backwards:.3g} calls of backward a step")
        else:
            notes.append(f"gradients are accumulated: {backwards:.3g} calls of backward a step")
    if where.skipped:
        notes.append(
            f"GradScaler has left out the update of {where.skipped} of {recorder.steps} steps (infinite "
            "gradients); they count as steps"
        )
    if recorder.profilers:
        running = " and ".join(sorted(recorder.profilers))
        notes.append(f"another profiler ran as well ({running}): the times are with what it costs")
    if recorder.steps and children > _BUSY:
        notes.append(
            f"this is the process that was started; those that it started used {children:,.1f} s of CPU"
        )
    return notes


def no_step(children: float) -> str:
    """The verdict where there was none."""
    if children > _BUSY:
        return (
            f"No step was seen in this process, but those it started used {children:,.1f} s of CPU: if they "
            "train, run one of them with flatout profile."
        )
    return "No step was seen: the script never called an optimizer, backward or a module of torch."


def child_seconds() -> float:
    """Seconds of CPU time that processes started by this one have used, of those that have ended."""
    used = os.times()
    return used.children_user + used.children_system
