"""What costs time in a script: where, how much, the fix, and what it would gain.

A gain that cannot be predicted is None, with the range it must lie in. On a GPU a read waits for work that
has to be done anyway; how much of the wait is lost is not known from time stamps, so it gains 0 to all of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Final

from flatout.profiling.lines import Loader, Seen
from flatout.profiling.stamps import StepTime
from flatout.profiling.user_lines import Line

_EVERY: Final = 100  # steps between two looks, in the fixes
_STARVES: Final = 0.1  # of a step
_LATER: Final = "keep loss.detach() in a list and read the list every 100 steps"
_LATER_CODE: Final = "kept.append(loss.detach())"
_SELDOM: Final = "show it every 100 steps"
_SELDOM_CODE: Final = "if step % 100 == 0: ..."

# What is read: (name, the fix, its code, whether it can be put off without changing what the script does).
_READS: Final = {
    "item": (".item()", _LATER, _LATER_CODE, True),
    "float": ("float(tensor)", _LATER, _LATER_CODE, True),
    "tolist": (".tolist()", _LATER.replace("loss", "it"), _LATER_CODE.replace("loss", "it"), True),
    "format": ("a tensor in a string", _SELDOM, _SELDOM_CODE, True),
    "print": ("print(tensor)", _SELDOM, _SELDOM_CODE, True),
    "int": ("int(tensor)", "compute with the tensor instead of its number", "", False),
    "bool": ("if tensor:", "choose with torch.where, or look every 100 steps", _SELDOM_CODE, False),
    "numpy": (".numpy()", "stay in torch, and convert after the loop", "", False),
    "move": ("a copy between devices", "copy before the loop, or with non_blocking=True", "", False),
    "tensor": ("torch.tensor(...)", "make the tensor before the loop, if its values stay", "", False),
}


@dataclass(frozen=True)
class Finding:
    """One thing that costs time.

    Attributes:
        kind: "item", "float", "tolist", "format", "print", "int", "bool", "numpy", "move", "tensor", "data"
            or "kept-graph".
        file: of the user's code.
        line: in it.
        what: the kind in words.
        count: times a step.
        ms_per_step: milliseconds of a step it takes; None where it costs memory, not time.
        share: of the step, 0 to 1, or None.
        fix: what to do, in words.
        code: what to write, or "".
        gain_ms: milliseconds of a step the fix saves; None where that is not known.
        gain_low: the least it saves, or None.
        gain_high: the most it saves, or None.
    """

    kind: str
    file: str
    line: int
    what: str
    count: float
    ms_per_step: float | None
    share: float | None
    fix: str
    code: str
    gain_ms: float | None
    gain_low: float | None
    gain_high: float | None


def findings(
    seen: Seen, bare: Sequence[StepTime], *, device: str | None, detach_s: float, clock_s: float
) -> list[Finding]:
    """All that is found, the largest cost first.

    Args:
        seen: what the windows of lines saw.
        bare: the steps of the bare windows; without any there is no share, and nothing is found.
        device: where the model lies.
        detach_s: seconds that `loss.detach()` and `append` take, which a read put off costs instead.
        clock_s: seconds that reading the clock adds to every call that is timed.
    """
    if not bare or not seen.steps:
        return []
    step = fmean(time.total for time in bare)
    on_cpu = device == "cpu"
    found = [
        _read(kind, line, [max(0.0, s - clock_s) for s in times], seen.steps, step, on_cpu, detach_s)
        for (kind, line), times in seen.calls.items()
    ]
    found += _data(seen.loaders, bare, step)
    found += [_kept(line, count / seen.steps) for line, count in seen.kept.items()]
    return sorted(found, key=lambda one: -(one.ms_per_step or 0.0))


def _read(
    kind: str, line: Line, times: list[float], steps: int, step: float, on_cpu: bool, detach_s: float
) -> Finding:
    what, fix, code, later = _READS[kind]
    count = len(times) / steps
    cost = sum(times) / steps
    low, high = 1e3 * count * _quantile(times, 0.25), 1e3 * cost
    gain: float | None = None
    if later and on_cpu:
        spared = 1e3 * count * detach_s if code == _LATER_CODE else 1e3 * cost / _EVERY
        gain = max(0.0, 1e3 * cost - spared)
        low = min(gain, max(0.0, low - spared))
    else:
        low = 0.0
    return Finding(
        kind, line.file, line.line, what, count, 1e3 * cost, cost / step, fix, code, gain, low, high
    )


def _data(loaders: Mapping[Line, Loader], bare: Sequence[StepTime], step: float) -> list[Finding]:
    times = [time.data for time in bare]
    cost = fmean(times)
    if not loaders or cost / step < _STARVES:
        return []
    line, loader = max(loaders.items(), key=lambda item: item[1].batches)
    gain, low, high = None, 0.0, 1e3 * cost
    code = ""
    if loader.workers:
        fix = "the workers do not keep up: more of them, persistent_workers=True, or resident data"
    elif loader.index_s is None:
        fix = "let workers load while the step computes"
        code = "DataLoader(..., num_workers=2, persistent_workers=True)"
    else:
        fix = "index the tensors with whole batches, or train with flatout.fit(model, (X, y), ...)"
        code = "for rows in torch.randperm(len(X)).split(batch_size): loss = step(X[rows], y[rows])"
        if len(loaders) == 1:  # of several, nobody knows which took how much
            gain = 1e3 * max(0.0, cost - loader.index_s)
            low = min(gain, 1e3 * max(0.0, _quantile(times, 0.25) - 2 * loader.index_s))
            high = max(gain, 1e3 * _quantile(times, 0.75))
    what = "waiting for a DataLoader" if loader.index_s is None else "a DataLoader over a TensorDataset"
    return [
        Finding("data", line.file, line.line, what, 1.0, 1e3 * cost, cost / step, fix, code, gain, low, high)
    ]


def _kept(line: Line, count: float) -> Finding:
    what = "a loss that is kept with its graph"
    fix = "keep losses without their graph"
    code = "losses.append(loss.detach())"
    return Finding("kept-graph", line.file, line.line, what, count, None, None, fix, code, None, None, None)


def _quantile(values: Sequence[float], part: float) -> float:
    ordered = sorted(values)
    return ordered[round(part * (len(ordered) - 1))]
