"""The split of a step on a CPU: what computes, what is dispatch and what is Python.

An event of the profiler's takes time of what it begins and ends in. That much more the parts of a step take
under it than in the bare steps, and so it is known how much to take off, and where.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from statistics import median
from typing import Final

from flatout.profiling.tracing.arithmetic import arithmetic, called, kind
from flatout.profiling.tracing.host import DATA_WAIT, DISPATCH, PYTHON, Host, Operator, Reader
from flatout.profiling.tracing.layers import of_host
from flatout.racing.trace_events import Event

PARTS: Final = ("compute", DISPATCH, PYTHON, DATA_WAIT)
_EVENT_US: Final = 3.0  # the most that the profiler takes for an event of its own


def cpu_parts(
    bare: Mapping[str, float], hosts: Sequence[Host], computing: Mapping[str, float]
) -> dict[str, float]:
    """Microseconds of each part on a CPU; they add up to the bare step.

    Args:
        bare: microseconds of each part of the bare step.
        hosts: the steps that the profiler saw.
        computing: microseconds of arithmetic in each part of a step.
    """
    parts = dict.fromkeys(PARTS, 0.0)
    seen, events = _seen(hosts), _events(hosts)
    for part, us in bare.items():
        own = {does: took for (of, does), took in seen.items() if of == part}
        began = {does: events[part, does] for does in own}
        for does, took in _shared_out(us, own, began, computing.get(part, 0.0), otherwise=part).items():
            parts[does] = parts.get(does, 0.0) + took
    return parts


def _shared_out(
    us: float, seen: Mapping[str, float], events: Mapping[str, float], computing: float, *, otherwise: str
) -> dict[str, float]:
    """A part of the bare step, shared out as it was seen, less what the profiler took for its events."""
    extra = max(0.0, sum(seen.values()) - us)
    each = min(_EVENT_US, extra / max(1.0, sum(events.values())))
    kept = {does: max(0.0, took - each * events[does]) for does, took in seen.items()}
    kept["compute"] = min(computing, kept.get(DISPATCH, 0.0))
    if kept["compute"]:
        kept[DISPATCH] -= kept["compute"]
    whole = sum(kept.values())
    if whole <= 0.0:
        return {DATA_WAIT if otherwise == "data" else PYTHON: us}
    return {does: us * took / whole for does, took in kept.items()}


def _seen(hosts: Sequence[Host]) -> dict[tuple[str, str], float]:
    """Microseconds of a step by part and by what the script's thread did."""
    times: dict[tuple[str, str], float] = defaultdict(float)
    for host in hosts:
        for one in host.segments[host.thread]:
            times[one.part, one.does] += (one.end - one.begin) / len(hosts)
    return times


def _events(hosts: Sequence[Host]) -> dict[tuple[str, str], float]:
    """Events of the profiler in a step, likewise."""
    events: dict[tuple[str, str], float] = defaultdict(float)
    for host in hosts:
        for place, count in host.events.items():
            events[place] += count / len(hosts)
    return events


def computing(hosts: Sequence[Host], shapes: Iterable[Event]) -> dict[str, float]:
    """Microseconds of arithmetic in each part of a step.

    What an operator is called with is known from one step only: the n-th of a name is taken to be the n-th of
    that name in every step.

    Args:
        hosts: the steps that the profiler saw.
        shapes: the events of a step with shapes.
    """
    usual: dict[tuple[str, int], list[float]] = {}
    for host in hosts:
        for place, one in _numbered(host):
            usual.setdefault(place, []).append(one.us)
    shaped = [pair for host in Reader(kind).steps(shapes) for pair in _numbered(host)]
    calls = [(called(one.event), median(usual.get(place, [one.us]))) for place, one in shaped]
    own = dict(zip((place for place, _ in shaped), arithmetic(calls), strict=True))
    parts: dict[str, float] = defaultdict(float)
    for host in hosts:
        for place, one in _numbered(host):
            parts[one.part] += min(one.us, own.get(place, 0.0)) / len(hosts)
    return parts


def _numbered(host: Host) -> list[tuple[tuple[str, int], Operator]]:
    """The operators of a step, each with its name and how many of that name came before."""
    count: Counter[str] = Counter()
    numbered = []
    for one in host.operators:
        numbered.append(((one.name, count[one.name]), one))
        count[one.name] += 1
    return numbered


def layer_times(bare: Mapping[str, float], hosts: Sequence[Host]) -> dict[tuple[int, str], float]:
    """Microseconds of each layer by itself in the bare step, by its number and the part.

    Args:
        bare: microseconds of each part of the bare step.
        hosts: the steps that the profiler saw.
    """
    whole: dict[str, float] = defaultdict(float)
    for (part, _), us in _seen(hosts).items():
        whole[part] += us
    return {
        (layer, part): us / len(hosts) * bare.get(part, 0.0) / whole[part]
        for (layer, part), us in of_host(hosts).items()
        if whole[part]
    }
