"""Experiments with where the model computes: on how many threads, and on which device."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import torch

from flatout.profiling.evidence import AbstainError
from flatout.profiling.trials.replica import Context, Replica
from flatout.profiling.trials.setup import Setup
from flatout.profiling.trials.trial import Trial


def threads(setup: Setup) -> Trial | None:
    """On one thread, on half and on all CPUs of this process, where the model lies on the CPU."""
    subject = setup.subject
    if subject.device.type != "cpu":
        return None
    counts = {1, max(1, setup.cpus // 2), setup.cpus} - {subject.threads}
    if not counts:
        return None
    before = setup.base.under(_on(subject.threads))
    ways = {count: setup.base.under(_on(count)) for count in sorted(counts)}
    now = _quickly(before, math.inf)
    first = {count: _quickly(way, now) for count, way in ways.items()}
    quickest = min(first, key=lambda count: first[count])
    found = setup.trial(before, ways[quickest], f"torch.set_num_threads({quickest})")
    return replace(found, threads=quickest)


def device(setup: Setup) -> Trial | None:
    """On the CPU, where the model lies on a GPU; on a GPU, where there is one and it lies on the CPU."""
    return on_device(setup, _other(setup.subject.device))


def on_device(setup: Setup, other: torch.device | None) -> Trial | None:
    """On another device; inputs go there in each step where they would have to."""
    if other is None:
        return None
    there = setup.copy(
        change=lambda model: model.to(other), inputs=lambda t: t.to(other), every_step=other.type != "cpu"
    )
    return setup.trial(setup.base, there, f'device = "{other.type}"')


def _other(device: torch.device) -> torch.device | None:
    if device.type != "cpu":
        return torch.device("cpu")
    if not torch.accelerator.is_available():
        return None
    found = torch.accelerator.current_accelerator()
    if found is None or found.type not in ("cuda", "mps"):
        raise AbstainError(f"no experiment is made on {found}")
    return found


def _quickly(way: Replica, now: float) -> float:
    """The least of a few runs, or of two where these are hopeless against the time that it takes now."""
    took = min(way.run(1), way.run(1))
    return took if took > 2 * now else min(took, *(way.run(1) for _ in range(3)))


def _on(count: int) -> Context:
    @contextmanager
    def on() -> Iterator[None]:
        before = torch.get_num_threads()
        torch.set_num_threads(count)
        try:
            yield
        finally:
            torch.set_num_threads(before)

    return on
