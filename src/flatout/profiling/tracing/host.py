"""What each thread of the host does at each moment of the steps that were traced.

Events of a thread lie within each other. The time between the events within one is its own, and it belongs to
a part of the step, to what is done (dispatch, Python, …) and to a layer.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from flatout.profiling.tracing.marks import BACKWARD, DATA, LAYER, MARK, STEP
from flatout.racing.trace_events import Event, Interval, interval, is_runtime, waits

DISPATCH: Final = "dispatch"  # inside torch
PYTHON: Final = "python"
DATA_WAIT: Final = "data"
SYNC: Final = "sync"  # waits for the device
COMPILED: Final = "compiled"  # code that torch.compile made

_ENGINE: Final = "autograd::engine::evaluate_function: "
_COMPILED: Final = ("Torch-Compiled Region", "CompiledFunction", "## Call CompiledFxGraph")
_OPTIMIZER: Final = "Optimizer.step#"
_OF_AUTOGRAD: Final = re.compile(r"\w+Backward\d+$")


class Segment(NamedTuple):
    """A time in which one thread does one thing.

    Attributes:
        begin: microseconds.
        end: microseconds.
        part: "data", "forward", "backward", "optimizer" or "rest".
        does: what is done then.
        layer: the number of the layer at work, or None.
    """

    begin: float
    end: float
    part: str
    does: str
    layer: int | None


class Operator(NamedTuple):
    """An operator of torch that does work, and is not called by another one that does.

    Attributes:
        name: for example "aten::addmm", without its overload.
        us: microseconds it took.
        part: of the step.
        event: as the profiler saw it.
    """

    name: str
    us: float
    part: str
    event: Event


class Call(NamedTuple):
    """A layer that was called, or one of whose operators was undone by autograd; microseconds."""

    begin: float
    end: float
    part: str
    layer: int
    thread: Any


@dataclass(eq=False)
class Host:
    """The host in one step.

    Attributes:
        window: when the step began and ended, in microseconds.
        thread: that of the script.
        segments: of each thread, in order; those of the script's own cover the step.
        events: how many of the profiler's own events begin within what is done, by part and what.
        operators: in the order they were called.
        calls: of layers.
    """

    window: Interval
    thread: Any
    segments: dict[Any, list[Segment]] = field(default_factory=dict)
    events: Counter[tuple[str, str]] = field(default_factory=Counter)
    operators: list[Operator] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)

    def at(self, thread: Any, begin: float, end: float) -> Iterator[Segment]:
        """What a thread does between two moments; of the script's where it does nothing itself."""
        now = begin
        for own in self._of(thread, begin, end):
            yield from self._of(self.thread, now, own.begin)
            yield own
            now = own.end
        yield from self._of(self.thread, now, end)

    def when(self, thread: Any, moment: float) -> Segment | None:
        """What a thread does at a moment, or None where it does nothing then."""
        of_thread = self.segments.get(thread, [])
        last = bisect_right(of_thread, moment, key=lambda one: one.begin) - 1
        return of_thread[last] if last >= 0 and moment < of_thread[last].end else None

    def _of(self, thread: Any, begin: float, end: float) -> Iterator[Segment]:
        of_thread = self.segments.get(thread, [])
        first = max(0, bisect_right(of_thread, begin, key=lambda one: one.begin) - 1)
        for one in of_thread[first:]:
            if one.begin >= end:
                return
            low, high = max(one.begin, begin), min(one.end, end)
            if low < high:
                yield one._replace(begin=low, end=high)


@dataclass(slots=True)
class _Node:
    """An event and those within it."""

    name: str
    begin: float
    end: float
    event: Event
    children: list[_Node] = field(default_factory=list)


class Reader:
    """Reads the steps of a trace one after another; knows which layer called what autograd undoes later.

    Args:
        kind: of an operator, by its name: "kernel" does work, "view" none, "composite" calls others.
    """

    def __init__(self, kind: Callable[[str], str]) -> None:
        self._kind = kind
        self._layer_of: dict[int, int | None] = {}  # by sequence number
        self._undone: int | None = None  # the layer that autograd was at last
        self._engine = 0.0, 0.0  # when it ran in this step

    def steps(self, events: Iterable[Event]) -> list[Host]:
        """The steps of a trace, in order; each without what began before it."""
        on_host = [event for event in events if event.get("ph") == "X" and _on_host(event)]
        on_host.sort(key=lambda event: (float(event["ts"]), -float(event["dur"])))
        starts = [float(event["ts"]) for event in on_host]
        marks = [number for number, event in enumerate(on_host) if event["name"] == STEP]
        return [
            self._step(on_host[at], on_host[at + 1 : bisect_left(starts, interval(on_host[at])[1])])
            for at in marks
        ]

    def _step(self, mark: Event, events: list[Event]) -> Host:
        host = Host(interval(mark), mark["tid"])
        threads: dict[Any, list[Event]] = {host.thread: []}
        for event in events:
            threads.setdefault(event["tid"], []).append(event)
        engine = [interval(event) for event in events if str(event["name"]).startswith(_ENGINE)]
        self._engine = min((b for b, _ in engine), default=0.0), max((e for _, e in engine), default=0.0)
        root = _Node(STEP, *host.window, mark)
        _nest(root, threads.pop(host.thread))
        self._walk(root, host, "rest", None, inside="")
        for thread, of_thread in threads.items():
            beside = _Node("", *host.window, {"tid": thread})
            _nest(beside, of_thread)
            for node in beside.children:
                self._walk(node, host, "backward", None, inside="")
        return host

    def _walk(self, node: _Node, host: Host, part: str, layer: int | None, inside: str) -> None:
        """Append the segments of a node and of those within it.

        Args:
            node: an event.
            host: what it belongs to.
            part: of the step around it.
            layer: around it.
            inside: the kind of the operator around it, "" outside of operators.
        """
        name, event = node.name, node.event
        part = _part(name, part)
        if name.startswith(LAYER):
            layer = int(name.removeprefix(LAYER))
            host.calls.append(Call(node.begin, node.end, part, layer, event["tid"]))
        elif name.startswith(_ENGINE):
            layer = self._of_backward(event)
            if layer is not None:
                host.calls.append(Call(node.begin, node.end, part, layer, event["tid"]))
        elif event.get("cat") == "cpu_op" and not _OF_AUTOGRAD.match(name):
            inside = self._operator(node, host, part, layer, inside)
        does = DATA_WAIT if part == "data" else _does(event, name, inside)
        segments = host.segments.setdefault(event["tid"], [])
        now = node.begin
        for child in node.children:
            self._own(segments, node, now, child.begin, part, does, layer)
            self._walk(child, host, part, layer, inside)
            now = child.end
        self._own(segments, node, now, node.end, part, does, layer)
        host.events[part, does] += len(node.children)

    def _own(
        self,
        segments: list[Segment],
        node: _Node,
        begin: float,
        end: float,
        part: str,
        does: str,
        layer: int | None,
    ) -> None:
        """A time between the children of a node; within backward, autograd's engine is at work."""
        if begin >= end:
            return
        if node.name == BACKWARD and does == PYTHON and self._engine[0] <= begin and end <= self._engine[1]:
            does = DISPATCH
        segments.append(Segment(begin, end, part, does, layer))

    def _operator(self, node: _Node, host: Host, part: str, layer: int | None, inside: str) -> str:
        """Count an operator that does work, and say what is around those within it."""
        number = node.event.get("args", {}).get("Sequence number")
        if number is not None and _is_forward(node.event) and node.event["tid"] == host.thread:
            self._layer_of[int(number)] = layer  # of several, the last makes what autograd will undo
        if "::" not in node.name or node.name.startswith("torch::autograd"):
            return inside
        if inside == "kernel":
            return inside
        name = node.name.partition(".")[0]
        kind = self._kind(name)
        if kind == "kernel":
            host.operators.append(Operator(name, node.end - node.begin, part, node.event))
        return kind

    def _of_backward(self, event: Event) -> int | None:
        """The layer whose operator is undone; a gradient is stored by whoever made it just before."""
        number = event.get("args", {}).get("Sequence number")
        if number is not None:
            self._undone = self._layer_of.get(int(number))
        elif "AccumulateGrad" not in str(event["name"]):
            self._undone = None
        return self._undone


def _is_forward(event: Event) -> bool:
    """Whether its number is that of what it makes, and not of what it undoes."""
    return not event.get("args", {}).get("Fwd thread id")


def _part(name: str, part: str) -> str:
    """The part of a step within an event: the outermost; an optimizer leaves to its closure what is its."""
    if part not in ("rest", "optimizer"):
        return part
    if name.startswith(LAYER):
        return "forward"
    if name == DATA:
        return "data"
    if name == BACKWARD:
        return "backward"
    return "optimizer" if name.startswith(_OPTIMIZER) else part


def _does(event: Event, name: str, inside: str) -> str:
    """What an event does by itself."""
    if is_runtime(event):
        return SYNC if waits(event) else DISPATCH
    if name.startswith(_COMPILED):
        return COMPILED
    if event.get("cat") != "cpu_op" or name.startswith(MARK):
        return PYTHON
    # The rest are functions that the user has defined for autograd.
    return DISPATCH if inside or "::" in name or _OF_AUTOGRAD.match(name) else PYTHON


def _on_host(event: Event) -> bool:
    return event.get("cat") in ("cpu_op", "user_annotation") or is_runtime(event)


def _nest(root: _Node, events: list[Event]) -> None:
    """Put events, in order, within those that were running when they began; none outlasts those around it."""
    running = [root]
    for event in events:
        begin, end = interval(event)
        while len(running) > 1 and running[-1].end <= begin:
            running.pop()
        around = running[-1]
        node = _Node(str(event["name"]), min(begin, around.end), min(end, around.end), event)
        around.children.append(node)
        running.append(node)
