"""Steps that wait for their data."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import ceil
from statistics import fmean, median
from typing import Final

from flatout.profiling.evidence import Evidence, quantile
from flatout.profiling.finding import Finding
from flatout.profiling.user_lines import Line
from flatout.profiling.watch.seen import Loader

_STARVES: Final = 0.1  # of a step
_PAYS: Final = 0.05  # of a step, that workers must save
_SOLE: Final = 0.9  # of the batches: of several loaders, nobody knows which took how much
_HAND_OVER_S: Final = (
    0.0001,
    0.0003,
    0.001,
)  # at best, as a rule and at worst, to take a batch from a worker
_ROUNDED: Final = 0.1  # of a worker, that is not asked for
_CERTAIN: Final = 0.6  # what is sure of a gain, of the most it can be, for it to be a number


@dataclass(frozen=True)
class _Advice:
    """What to do about a DataLoader, and the milliseconds it saves: expected, at least, at most."""

    fix: str
    code: str
    gain: float | None
    low: float
    high: float


def find(evidence: Evidence) -> Iterator[Finding]:
    """The DataLoader that steps wait for, where the wait is a tenth of a step or more."""
    loaders = evidence.seen.loaders
    if not loaders:
        return
    line, loader = max(loaders.items(), key=lambda item: item[1].batches)
    sole = loader.batches >= _SOLE * sum(one.batches for one in loaders.values())
    if loader.workers and not loader.persistent:
        yield from _restarts(evidence, line, loader)
    steps = [time for time in evidence.bare if not time.started]
    if not steps:
        return
    times = [time.data for time in steps]
    cost, step = fmean(times), fmean(time.total for time in steps)
    usual = median(times) / median(time.total for time in steps)
    # Without workers every step waits; that one of them did, on a busy machine, is not the loader's doing.
    if cost / step < _STARVES or (not loader.workers and usual < _STARVES):
        return
    what = "waiting for a DataLoader" if loader.index_s is None else "a DataLoader over a TensorDataset"
    if loader.workers:
        fix = "the workers do not keep up: more of them, less work a sample, or resident data"
        advice = _Advice(fix, "", None, 0.0, 1e3 * cost)
    elif loader.index_s is not None:
        advice = _whole_batches(times, loader.index_s, sole=sole)
    else:
        advice = _workers(evidence, loader, cost, step, sole=sole)
    yield _finding(line, what, 1.0, cost, step, advice)


def _restarts(evidence: Evidence, line: Line, loader: Loader) -> Iterator[Finding]:
    """What it costs to start the workers anew for each epoch, where that is a tenth of the time or more."""
    started = [time for time in evidence.every if time.started]
    going = [time.data for time in evidence.every if not time.started]
    if not started or not going:
        return
    usual = median(going)
    each = [max(0.0, time.data - usual) for time in started]
    steps = len(evidence.every)
    cost, step = sum(each) / steps, fmean(time.total for time in evidence.every)
    if cost / step < _STARVES:
        return
    count = len(each) / steps
    advice = _Advice(
        "keep the workers from one epoch to the next",
        f"DataLoader(..., num_workers={loader.workers}, persistent_workers=True)",
        1e3 * cost,
        min(1e3 * cost, 1e3 * count * max(0.0, quantile(each, 0.25) - 2 * usual)),
        max(1e3 * cost, 1e3 * count * quantile(each, 0.75)),
    )
    yield _finding(line, "workers that start anew every epoch", count, cost, step, advice)


def _whole_batches(times: list[float], index_s: float, *, sole: bool) -> _Advice:
    """A TensorDataset need not be taken sample by sample."""
    cost = fmean(times)
    fix = "index the tensors with whole batches, or train with flatout.fit(model, (X, y), ...)"
    code = "for rows in torch.randperm(len(X)).split(batch_size): loss = step(X[rows], y[rows])"
    if not sole:
        return _Advice(fix, code, None, 0.0, 1e3 * cost)
    gain = 1e3 * max(0.0, cost - index_s)
    low = min(gain, 1e3 * max(0.0, quantile(times, 0.25) - 2 * index_s))
    return _Advice(fix, code, gain, low, max(gain, 1e3 * quantile(times, 0.75)))


def _workers(evidence: Evidence, loader: Loader, fetch: float, step: float, *, sole: bool) -> _Advice:
    """Workers fetch beside the step: it takes as long as the longer, where there are cores for both."""
    if not loader.map_style:
        fix = "let workers load while the step computes, each its own part of the data (get_worker_info)"
        return _Advice(fix, "DataLoader(..., num_workers=2)", None, 0.0, 1e3 * fetch)
    rest, cpus = step - fetch, evidence.cpus or 1.0
    count = max(1, min(ceil(fetch / rest - _ROUNDED) if rest > 0 else 1, int(cpus)))
    busy = evidence.threads if evidence.on_cpu else 1  # CPUs, while a step computes
    apart = max(rest, fetch / count)
    shared = max(apart, (fetch + rest * busy) / cpus)
    best, usual, worst = _HAND_OVER_S
    high, gain, low = step - apart - best, step - shared - usual, step - 1.1 * shared - worst
    if not sole or high < _PAYS * step:
        fix = (
            "a batch is fetched too fast for workers to pay: fetch it whole (__getitems__) or keep it"
            if sole
            else "let workers load while the step computes, or keep the data resident"
        )
        return _Advice(fix, "", None, 0.0, 1e3 * fetch)
    fix = "let workers load while the step computes"
    if loader.batch_size == 1:
        fix += "; and batches of more than one sample share what a step costs"
    code = f"DataLoader(..., num_workers={count}, persistent_workers=True)"
    low, gain = max(0.0, low), max(0.0, gain)
    sure = low >= _CERTAIN * high
    return _Advice(fix, code, 1e3 * gain if sure else None, 1e3 * low, 1e3 * high)


def _finding(line: Line, what: str, count: float, cost: float, step: float, advice: _Advice) -> Finding:
    return Finding(
        "data",
        line.file,
        line.line,
        what,
        count,
        1e3 * cost,
        cost / step,
        advice.fix,
        advice.code,
        advice.gain,
        advice.low,
        advice.high,
    )
