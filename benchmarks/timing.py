"""Timing: two ways of the same work turn by turn, so that noise meets both, and work in a fresh process."""

from __future__ import annotations

import gc
import json
import os
import select
import signal
import statistics
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Ratio:
    """How long `ours` takes against `theirs`, from paired rounds.

    Attributes:
        ours, theirs: median seconds a round.
        ratio: median of ours / theirs over the rounds.
        low, high: the quartiles of that ratio.
    """

    ours: float
    theirs: float
    ratio: float
    low: float
    high: float


def paired(ours: Callable[[], float], theirs: Callable[[], float], rounds: int) -> Ratio:
    """Time both `rounds` times in turn, after one round each that is not counted.

    Args:
        ours, theirs: do the work once and return its seconds (see `seconds`).
        rounds: at least 3.
    """
    ours(), theirs()
    pairs = []
    for turn in range(rounds):
        first, second = (ours, theirs) if turn % 2 else (theirs, ours)
        gc.collect()
        a, b = first(), second()
        pairs.append((a, b) if turn % 2 else (b, a))
    low, middle, high = quartiles([a / b for a, b in pairs])
    return Ratio(
        statistics.median(a for a, _ in pairs), statistics.median(b for _, b in pairs), middle, low, high
    )


def seconds(work: Callable[[], object]) -> float:
    """How long `work` takes."""
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def quartiles(values: list[float]) -> tuple[float, float, float]:
    """The lower quartile, the median and the upper quartile of at least two values."""
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return low, middle, high


def in_fork(work: Callable[[], Any], limit: float | None = None) -> tuple[float, Any]:
    """Seconds `work` takes in a process that has only imported what this one has, and what it returns.

    Args:
        work: returns what JSON can hold; what it prints is dropped.
        limit: seconds after which it is ended.

    Raises:
        TimeoutError: it took longer than `limit`.
        RuntimeError: it failed; its traceback is on standard error.
    """
    source, sink = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.setsid()
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            begun = time.perf_counter()
            result = work()
            answer = json.dumps([time.perf_counter() - begun, result])
            os.write(sink, answer.encode())
        except (Exception, SystemExit):  # noqa: BLE001
            traceback.print_exc()
        finally:
            os._exit(0)
    os.close(sink)
    with os.fdopen(source) as answers:
        done = bool(select.select([answers], [], [], limit)[0])
        if not done:
            os.killpg(child, signal.SIGKILL)
        text = answers.read() if done else ""
    os.waitpid(child, 0)
    if not done:
        raise TimeoutError(f"it took more than {limit} s")
    if not text:
        raise RuntimeError("the work of a benchmark failed; its traceback is above")
    taken, result = json.loads(text)
    return float(taken), result
