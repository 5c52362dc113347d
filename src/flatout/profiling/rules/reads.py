"""Lines that read a tensor into Python, choose from one with a mask, or make one.

On a GPU a read waits for work that has to be done anyway; how much of the wait is lost is not known from time
stamps, so it gains 0 to all of it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from flatout.profiling.evidence import AbstainError, Cost, Evidence
from flatout.profiling.finding import Finding
from flatout.profiling.rules.measured import carried_over
from flatout.profiling.trials.trial import read_name
from flatout.profiling.user_lines import Line
from flatout.profiling.watch.tensors import LATER

_USERS_OWN: Final = ("", "numpy")  # what NumPy reads it was given
_EVERY: Final = 100  # steps between two looks, in the fixes
_KEEP: Final = "keep loss.detach() in a list and read the list every 100 steps"
_KEEP_CODE: Final = "kept.append(loss.detach())"
_SHOW: Final = "show it every 100 steps"
_SHOW_CODE: Final = "if step % 100 == 0: ..."

# What is read: (name, the fix, its code).
READS: Final = {
    "item": (".item()", _KEEP, _KEEP_CODE),
    "float": ("float(tensor)", _KEEP, _KEEP_CODE),
    "tolist": (".tolist()", "read it every 100 steps, or keep the tensors and join them", _SHOW_CODE),
    "format": ("a tensor in a string", _SHOW, _SHOW_CODE),
    "print": ("print(tensor)", _SHOW, _SHOW_CODE),
    "int": ("int(tensor)", "compute with the tensor instead of its number", ""),
    "bool": ("if tensor:", "choose with torch.where, or look every 100 steps", _SHOW_CODE),
    "numpy": (".numpy()", "stay in torch, and convert after the loop", ""),
    "tensor": ("torch.tensor(...)", "make the tensor before the loop, if its values stay", ""),
    "mask": (
        "a selection whose size is in the values",
        "keep the shape: on a GPU the host waits for the size",
        "torch.where(mask, x, 0)",
    ),
}


def find(evidence: Evidence) -> Iterator[Finding]:
    """A finding for each line and each kind of read, but not where it is done seldom already."""
    for (kind, line), times in evidence.seen.calls.items():
        if kind in READS and (cost := evidence.cost(times)) is not None:
            yield _read(kind, line, cost, evidence)


def _read(kind: str, line: Line, cost: Cost, evidence: Evidence) -> Finding:
    what, fix, code = READS[kind]
    later = kind in LATER
    if line.inside not in _USERS_OWN:
        what = f"{what} inside {line.inside}"
        fix = f"{line.inside} does it: see its settings (logging, progress bar), and what this line gives it"
        code, later = "", False
    beside, least, most = _beside(kind, line, evidence)
    ms, low = 1e3 * (cost.seconds + beside), 0.0
    high = ms + 1e3 * (most - beside)
    gain: float | None = None
    if later and evidence.on_cpu:
        spared = 1e3 * cost.count * evidence.detach_s if code == _KEEP_CODE else ms / _EVERY
        gain = max(0.0, ms - spared)
        low = min(gain, max(0.0, 1e3 * (cost.low + least) - spared))
    share = 1e-3 * ms / evidence.step_s
    return Finding(kind, line.file, line.line, what, cost.count, ms, share, fix, code, gain, low, high)


def _beside(kind: str, line: Line, evidence: Evidence) -> tuple[float, float, float]:
    """Seconds by which the rest of a step is longer for the read: as a rule, at least and at most."""
    trial = evidence.trials.measured.get(read_name(kind, line))
    if trial is None:
        return 0.0, 0.0, 0.0
    try:
        scale = carried_over(evidence, trial)
    except AbstainError:
        return 0.0, 0.0, 0.0
    gain, low, high = (max(0.0, scale * seconds) for seconds in (trial.gain_s, trial.low_s, trial.high_s))
    return gain, low, high
