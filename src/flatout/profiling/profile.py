"""Profile a script: run it, measure it, and make one document of what was seen."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
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
from flatout.profiling.recorder import SETTLING, WARM_UP, Order, Recorder
from flatout.profiling.rules import findings
from flatout.profiling.rules.launch import launch_verdict
from flatout.profiling.run_script import Outcome, run_script
from flatout.profiling.spread import spread
from flatout.profiling.stamps import PARTS, StepTime
from flatout.profiling.step_words import about_steps, child_seconds, no_step, step_notes
from flatout.profiling.stopping import Stop
from flatout.profiling.sudden_end import SuddenEnd
from flatout.profiling.torch_import import WhenTorchLoads
from flatout.profiling.tracing.file import TraceFile
from flatout.profiling.tracing.seen import in_document, traced
from flatout.profiling.trials.after import seconds_for, trials_after
from flatout.profiling.version import VERSION
from flatout.profiling.watch.compiled import recompiled

_STRONG: Final = 1.5  # a distortion that is said
_SLOWEST: Final = 20  # one step in so many is out of the ordinary
_SELDOM: Final = 0.3  # a share of the time, taken by these, that is said
_WORTH: Final = 0.05  # a gain, of the step, that the verdict speaks of
_UNSURE: Final = 0.1  # a cost, of the step, that it speaks of where the gain is not known


def profile_script(
    arguments: Sequence[str],
    *,
    module: bool = False,
    steps: int = 1000,
    stop: bool = False,
    trials: bool = True,
    last_words: Callable[[dict[str, Any]], None] | None = None,
    windows: Order | None = None,
    with_torch: Callable[[], None] | None = None,
    trace_file: TraceFile | None = None,
) -> tuple[Outcome, dict[str, Any] | None]:
    """Run a script unchanged and measure its first steps.

    Args:
        arguments: the script (or the module) and its own arguments.
        module: it is the name of a module.
        steps: measuring ends after so many.
        stop: the script ends then.
        trials: when the script has come to its end, a copy of its model runs again, with fixes and without.
        last_words: given the document where the process ends at once (os._exit, SIGTERM, a script that
            catches all that would stop it); this then does not return.
        windows: those of `Recorder`, where they are not the usual ones.
        with_torch: called once torch is loaded, and before the script uses it.
        trace_file: filled with what the profiler saw; it is for the caller to write.

    Returns:
        How the script ended, and the document of `document`; None in a process that the script has forked.

    Raises:
        FlatoutError: there is no such script.
    """
    folder = Path.cwd()
    children = child_seconds()

    def seen(outcome: Outcome, seconds: float | None = None) -> dict[str, Any]:
        used = child_seconds() - children
        found = document(arguments, recorder, outcome, folder, children=used, trials=seconds)
        if trace_file is not None:
            trace_file.fill(recorder.trace, found)
        return found

    def report(outcome: Outcome) -> None:
        recorder.close()
        if last_words is not None:
            last_words(seen(outcome))

    sudden = SuddenEnd(report)
    ending = Stop(lambda: sudden.now(Outcome(0, "stopped"))) if stop else None
    recorder = Recorder(steps, stop=ending, windows=windows)

    def install() -> None:
        if with_torch is not None:
            with_torch()
        recorder.install()

    torch = WhenTorchLoads(install)
    sudden.watch()
    torch.watch()
    began = perf_counter()
    try:
        outcome = run_script(arguments, module=module)
    finally:
        torch.stop()
        sudden.stop()
        recorder.close()
    if not recorder.here:
        return outcome, None
    if ending is not None and ending.wanted and outcome.how == "finished":
        outcome = Outcome(outcome.status, "stopped")  # it has caught what stopped it
    return outcome, seen(outcome, seconds_for(perf_counter() - began) if trials else None)


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
    experiments measured), "distortion", "device", "machine", "versions", "ended" (when), "notes" and
    "verdict".

    Args:
        arguments: the script and its own arguments.
        recorder: what it measured.
        outcome: how the script ended.
        folder: files are named relative to it.
        children: seconds of CPU time that processes which it started have used.
        trials: seconds for experiments with a copy of the model, or None for none.
    """
    bare, seldom = ordinary(recorder.bare.steps)
    step = fmean(time.total for time in bare) if bare else None
    parts = {name: fmean(getattr(time, name) for time in bare) for name in PARTS} if bare else {}
    evidence = _evidence(recorder, bare)
    trace = traced(recorder.trace, bare, recorder.device)
    if evidence is not None:
        made = trials_after(outcome, evidence.subject, evidence.seen, trials)
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
            "bare": len(recorder.bare.steps),
            "lines": recorder.lines.seen.steps,
            "trace": len(recorder.trace.times),
        },
        "us_per_step": None if step is None else 1e6 * step,
        "step_times_us": spread([time.total for time in recorder.bare.steps], recorder.numbers),
        "breakdown": {name: {"us": 1e6 * s, "share": s / step} for name, s in parts.items()}
        if step
        else None,
        **in_document(trace),
        "findings": [
            asdict(one) | {"file": _relative(one.file, folder), "source": excerpt(one.file, one.line)}
            for one in found
        ],
        "abstained": abstained,
        "trials": asdict(evidence.trials) if evidence else None,
        "distortion": _distortion(recorder.lines.times, bare),
        "device": recorder.device,
        "machine": surroundings.machine(),
        "versions": surroundings.versions(),
        "ended": datetime.now().astimezone().isoformat(timespec="seconds"),
    }
    seen["notes"] = _notes(seen, recorder, seldom) + step_notes(recorder, children)
    return seen | {"verdict": verdict(seen) if recorder.steps else no_step(children)}


def _evidence(recorder: Recorder, bare: list[StepTime]) -> Evidence | None:
    """What the rules judge by, or None where too little was measured for any."""
    if not bare or not recorder.lines.seen.steps:
        return None
    import torch

    detach_s, clock_s = _costs()
    return Evidence(
        bare,
        recorder.lines.seen,
        recorder.device,
        every=recorder.bare.steps,
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


def verdict(seen: Mapping[str, Any]) -> str:
    """What matters, in one sentence; there was a step at least."""
    step = seen["us_per_step"]
    if step is None:
        return f"Too few steps to measure: {seen['steps']}, and {WARM_UP + SETTLING + 1} are the least."
    shown = f"a step takes {step:,.0f} µs"
    if said := launch_verdict(seen["findings"], seen.get("split")):
        return f"{said}: {shown}; what can go of it is not known from here."
    for one in seen["findings"]:
        gain = one["gain_ms"]
        if gain is not None and 1e3 * gain >= _WORTH * step:
            return (
                f"{_capital(one['what'])} ({one['file']}:{one['line']}) costs {100 * one['share']:.0f} % of "
                f"the time: {shown}, and about {1e3 * gain:,.0f} µs of it can go."
            )
    for one in seen["findings"]:
        # One without even a bound is no cost: a batch that is too small. Of starting work see above.
        bounded = (
            one["gain_ms"] is None and one["gain_high"] is not None and one.get("kind") != "launch-bound"
        )
        if bounded and (one["share"] or 0.0) >= _UNSURE:
            return (
                f"{_capital(one['what'])} ({one['file']}:{one['line']}) takes {100 * one['share']:.0f} % of "
                f"the time ({shown}); how much of it can go is not known from here."
            )
    part, largest = max(seen["breakdown"].items(), key=lambda item: float(item[1]["us"]))
    most = f"{_capital(shown)}, {100 * largest['share']:.0f} % of it {_IN_WORDS[part]}"
    if not seen["windows"]["lines"]:
        return f"{most}; the script ended before its lines were looked at."
    return f"{most}; no line was found whose fix is sure to save 5 %."


_IN_WORDS: Final = {
    "data": "waiting for data",
    "forward": "in forward",
    "backward": "in backward",
    "optimizer": "in the optimizer",
    "rest": "between these",
}


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


def _relative(file: str, folder: Path) -> str:
    try:
        return os.path.relpath(file, folder) if Path(file).is_relative_to(folder) else file
    except ValueError:
        return file


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
