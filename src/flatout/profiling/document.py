"""All that was seen of a script, as one document that JSON can hold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from datetime import datetime
from pathlib import Path
from statistics import fmean, median
from time import perf_counter
from typing import Any, Final

from flatout.hardware.cpu import cpu
from flatout.profiling import surroundings
from flatout.profiling.evidence import Evidence
from flatout.profiling.excerpt import excerpt
from flatout.profiling.file_names import shown_name
from flatout.profiling.plain import stamps_distortion
from flatout.profiling.recorder import Recorder
from flatout.profiling.rules import findings
from flatout.profiling.run_script import Outcome
from flatout.profiling.spread import spread
from flatout.profiling.stamps import PARTS, StepTime
from flatout.profiling.step_words import about_steps, no_step, step_notes
from flatout.profiling.tracing.seen import in_document, traced
from flatout.profiling.trials.after import trials_after
from flatout.profiling.verdict import verdict
from flatout.profiling.version import VERSION
from flatout.profiling.watch.compiled import recompiled

_STRONG: Final = 1.5  # a distortion that is said
_SLOWEST: Final = 20  # one step in so many is out of the ordinary
_SELDOM: Final = 0.3  # a share of the time, taken by these, that is said


def document(
    arguments: Sequence[str],
    recorder: Recorder,
    outcome: Outcome,
    folder: Path,
    *,
    children: float = 0.0,
    trials: float | None = None,
) -> dict[str, Any]:
    """What was seen; what was not measured is None.

    It has "version" (of the document), "script", "arguments", "outcome", "status", "steps", "step_ends_with"
    ("optimizer", "backward", "forward" or "call"), "backwards_per_step", "windows", "us_per_step",
    "step_times_us" (`spread`), "breakdown" (each part with "us" and "share"; they add up to the step),
    "split" (what a step does: "parts", likewise, "how" they were measured, "distortion", "steps", "operators"
    and "replays" of CUDA graphs a step), "split_reason" (why there is none), "layers" (each with "name",
    "class", "forward_us", "backward_us" and "share" with the layers within it, and "self_us" without),
    "findings" (each with its "source", `excerpt`), "abstained" (why rules did not judge), "trials" (what
    experiments measured), "distortion", "stamps" (how many times as long these made the bare steps; that is
    taken out of all times), "device", "machine", "versions", "ended" (when), "notes" and "verdict".

    Args:
        arguments: the script and its own arguments.
        recorder: what it measured.
        outcome: how the script ended.
        folder: files are named relative to it.
        children: seconds of CPU time that processes which it started have used.
        trials: seconds for experiments with a copy of the model, or None for none.
    """
    stamped = recorder.bare.steps
    stamps = stamps_distortion(recorder.plain, [time.total for time in stamped], recorder.numbers)
    every = [time.without(stamps) for time in stamped]
    bare, seldom = ordinary(every)
    step = fmean(time.total for time in bare) if bare else None
    parts = {name: fmean(getattr(time, name) for time in bare) for name in PARTS} if bare else {}
    evidence = _evidence(recorder, bare, every)
    trace = traced(recorder.trace, bare, recorder.device)
    if evidence is not None:
        made = trials_after(outcome, evidence, trials)
        evidence = replace(evidence, trials=made, traced=trace)
    recorder.subject.release()
    found, abstained = findings(evidence) if evidence else ([], {})
    seen: dict[str, Any] = {
        "version": VERSION,
        "script": arguments[0],
        "arguments": list(arguments[1:]),
        "outcome": outcome.how,
        "status": outcome.status,
        "steps": recorder.steps,
        **about_steps(recorder),
        "windows": {
            "bare": len(every),
            "plain": len(recorder.plain.times),
            "lines": recorder.lines.seen.steps,
            "trace": len(recorder.trace.times),
        },
        "us_per_step": None if step is None else 1e6 * step,
        "step_times_us": spread([time.total for time in every], recorder.numbers),
        "breakdown": {name: {"us": 1e6 * s, "share": s / step} for name, s in parts.items()}
        if step
        else None,
        **in_document(trace),
        "findings": [
            asdict(one) | {"file": shown_name(one.file, folder), "source": excerpt(one.file, one.line)}
            for one in found
        ],
        "abstained": abstained,
        "trials": asdict(evidence.trials) if evidence else None,
        "distortion": _distortion(recorder.lines.times, bare),
        "stamps": stamps,
        "device": recorder.device,
        "machine": surroundings.machine(),
        "versions": surroundings.versions(),
        "ended": datetime.now().astimezone().isoformat(timespec="seconds"),
    }
    seen["notes"] = _notes(seen, recorder, seldom) + step_notes(recorder, children)
    return seen | {"verdict": verdict(seen) if recorder.steps else no_step(children)}


def _evidence(recorder: Recorder, bare: list[StepTime], every: list[StepTime]) -> Evidence | None:
    """What the rules judge by, or None where too little was measured for any."""
    if not bare or not recorder.lines.seen.steps:
        return None
    import torch

    detach_s, clock_s = _costs()
    return Evidence(
        bare,
        recorder.lines.seen,
        recorder.device,
        every=every,
        passes=recorder.passes,
        detach_s=detach_s,
        clock_s=clock_s,
        cpus=cpu().usable_cpus,
        threads=torch.get_num_threads(),
        recompiled=recompiled(recorder.warm_at, recorder.ended_at),
        subject=recorder.subject.subject,
    )


def _distortion(times: Sequence[float], bare: Sequence[StepTime]) -> float | None:
    """How many times as long a step takes in a window as in a bare one."""
    if not times or not bare:
        return None
    return median(times) / median(time.total for time in bare)


def ordinary(bare: Sequence[StepTime]) -> tuple[list[StepTime], float]:
    """The steps but the slowest 5 %, and the share of all time that these took.

    >>> quick, slow = StepTime(1.0, 0.0, 0.5, 0.25, 0.0), StepTime(20.0, 0.0, 0.0, 0.0, 0.0)
    >>> steps, share = ordinary([slow, *[quick] * 20])
    >>> len(steps), share
    (20, 0.5)
    """
    kept = sorted(bare, key=lambda time: time.total)[: len(bare) - len(bare) // _SLOWEST]
    whole = sum(time.total for time in bare)
    return kept, 1 - sum(time.total for time in kept) / whole if whole else 0.0


def _notes(seen: Mapping[str, Any], recorder: Recorder, seldom: float) -> list[str]:
    notes = []
    if seen["outcome"] == "failed":
        notes.append("the script failed (its traceback is above); this is what was measured until then")
    if seen["outcome"] == "interrupted":
        notes.append("the script was interrupted; this is what was measured until then")
    if seldom > _SELDOM:
        notes.append(
            f"the slowest 5 % of the steps took {100 * seldom:.0f} % of the time, and are not in the split: "
            "validation, saving, a new epoch, or a busy machine"
        )
    distortion = seen["distortion"]
    if distortion is not None and distortion > _STRONG:
        notes.append(f"looking at lines made steps {distortion:.1f} times as long: their costs are too high")
    if recorder.device not in (None, "cpu") and recorder.bare.steps and seen["split"] is None:
        notes.append("the times are those of the host; the device works on beside it")
    return notes


def _costs() -> tuple[float, float]:
    """Seconds of keeping a loss for later, and of reading the clock. Draws no random number."""
    import torch

    loss = torch.zeros((), requires_grad=True) * 1.0
    kept, clock = [], []
    for _ in range(50):
        began = perf_counter()
        loss.detach()
        kept.append(perf_counter() - began)
        began = perf_counter()
        clock.append(perf_counter() - began)
    return max(0.0, median(kept) - median(clock)), median(clock)
