"""The trace as a file that Perfetto opens: the profiler's events, and steps, parts, layers and findings.

The Chrome trace format: complete events ("X") with `ts` and `dur` in microseconds, instants ("i"), and names
of processes and threads ("M"). Events on one track lie within each other or beside each other.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from flatout.errors import FlatoutError
from flatout.profiling.tracing.arithmetic import kind
from flatout.profiling.tracing.host import Host, Reader
from flatout.profiling.tracing.layers import names_of
from flatout.profiling.tracing.marks import MARK, Layer
from flatout.profiling.tracing.window import Recording, Trace, document_of

_STEPS, _PARTS, _FINDINGS, _LAYERS = range(1, 5)  # the tracks; those of other threads come after
_TRACKS: Final = {_STEPS: "steps", _PARTS: "parts", _FINDINGS: "findings", _LAYERS: "layers"}
# The part of a step that a finding is shown at; the others are shown where it begins.
_AT: Final = {"data": "data", "launch-bound": "forward", "kept-graph": "backward"}


class TraceFile:
    """A Chrome trace, written when all is done.

    Args:
        path: where to.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._trace: dict[str, Any] | None = None

    def fill(self, trace: Trace, seen: dict[str, Any]) -> None:
        """Take what is to be written; where there is nothing, a note of the document says so.

        Args:
            trace: what the profiler saw.
            seen: the document of the profile.
        """
        if trace.recordings:
            self._trace = chrome_trace(trace.recordings[-1], trace.marks.layers, seen["findings"])
        else:
            reason = trace.reason or "the script ended before the profiler had run"
            seen["notes"].append(f"{self._path.name} was not written: {reason}")

    def write(self) -> None:
        """Write it.

        Raises:
            FlatoutError: it cannot be written after all: the disk is full, or the folder has gone.
        """
        if self._trace is None:
            return
        try:
            self._path.write_text(json.dumps(self._trace), encoding="utf-8")
        except OSError as error:
            raise FlatoutError(f"--trace: {str(self._path)!r} was not written: {error.strerror}") from error


def chrome_trace(
    recording: Recording, layers: Sequence[Layer], findings: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """The Chrome trace of one opening of the window.

    Args:
        recording: what the profiler saw.
        layers: those that were called.
        findings: of the document.
    """
    document = document_of(recording.timed)
    events = document["traceEvents"]
    steps = Reader(kind).steps(events)
    kept = [event for event in events if not str(event["name"]).startswith(MARK)]
    process = 1 + max((event["pid"] for event in kept if isinstance(event["pid"], int)), default=0)
    own = [*_steps(steps, recording.steps), *_parts(steps), *_layers(steps, names_of(layers))]
    own += _findings(steps, findings)
    tracks = sorted({event["tid"] for event in own} | set(_TRACKS))
    named = [_metadata("process_name", 0, name="flatout"), _metadata("process_sort_index", 0, sort_index=-1)]
    for track in tracks:
        named.append(_metadata("thread_name", track, name=_TRACKS.get(track, "layers (autograd)")))
        named.append(_metadata("thread_sort_index", track, sort_index=track))
    return document | {"traceEvents": [*({**event, "pid": process} for event in [*named, *own]), *kept]}


def _steps(steps: Sequence[Host], counts: Sequence[bool]) -> Iterator[dict[str, Any]]:
    for number, (host, counted) in enumerate(zip(steps, counts, strict=False), 1):
        yield _complete(f"step {number}", *host.window, _STEPS, counted=counted)


def _parts(steps: Sequence[Host]) -> Iterator[dict[str, Any]]:
    """The parts of each step, each as long as it lasts without a break."""
    for host in steps:
        part, begin, end = "", *host.window
        for one in host.segments[host.thread]:
            if one.part != part:
                if part:
                    yield _complete(part, begin, one.begin, _PARTS)
                part, begin = one.part, one.begin
            end = one.end
        if part:
            yield _complete(part, begin, end, _PARTS)


def _layers(steps: Sequence[Host], names: Sequence[str]) -> Iterator[dict[str, Any]]:
    others = sorted({call.thread for host in steps for call in host.calls if call.thread != host.thread})
    for host in steps:
        for call in host.calls:
            track = _LAYERS if call.thread == host.thread else _LAYERS + 1 + others.index(call.thread)
            name = f"{names[call.layer]} backward" if call.part == "backward" else names[call.layer]
            yield _complete(name, call.begin, call.end, track)


def _findings(steps: Sequence[Host], findings: Sequence[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    if not steps:
        return
    host = steps[0]
    for one in findings:
        part = _AT.get(one["kind"])
        begins = (segment.begin for segment in host.segments[host.thread] if segment.part == part)
        shown = {name: one[name] for name in ("kind", "ms_per_step", "fix", "code")}
        yield {
            "ph": "i",
            "s": "t",
            "name": f"{one['file']}:{one['line']} {one['what']}",
            "cat": "finding",
            "ts": next(begins, host.window[0]),
            "tid": _FINDINGS,
            "args": shown,
        }


def _complete(name: str, begin: float, end: float, track: int, **args: Any) -> dict[str, Any]:
    return {
        "ph": "X", "name": name, "cat": "flatout", "ts": begin, "dur": end - begin, "tid": track, "args": args
    }  # fmt: skip


def _metadata(what: str, track: int, **args: Any) -> dict[str, Any]:
    return {"ph": "M", "name": what, "ts": 0, "tid": track, "args": args}
