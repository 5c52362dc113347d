"""The window of the trace: PyTorch's profiler over a few steps, with marks for steps, parts and layers.

First one step with the shapes of the operators' arguments, which slows it down, so that its times do not
count. Then a step for the profiler to warm up, and those that are timed, the first of which does not count.

There is only one profiler in a process: where the script has one of its own, this window stays closed. And a
profiler must not start before all ranges have ended that began under the last one: torch would write to where
that one was. This window opens and closes within such a range, that of `Optimizer.step`, so that a step lies
between; and it stays closed while a range of the script's is open that is older than that.
"""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
import weakref
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from threading import get_ident
from typing import Any, Final

from flatout.profiling.patches import Function, Patches
from flatout.profiling.tracing.marks import STEP, Marks
from flatout.racing.trace_events import Event

STEPS: Final = 8  # one with shapes, one to warm up, one more that does not count, and five that do
LEAST: Final = 3  # steps that count, for a split
_OWN: Final = "the script runs a profiler of its own"


@dataclass
class Recording:
    """What one opening of the window recorded.

    Attributes:
        steps: whether each step counts.
        timed: the steps, as the profiler exports them; "" until they have ended.
        shaped: the step with shapes, likewise.
    """

    steps: list[bool] = field(default_factory=list)
    timed: str = ""
    shaped: str = ""

    def events(self) -> list[Event]:
        """The events of the steps, in microseconds since the first."""
        return list(document_of(self.timed)["traceEvents"])

    def shapes(self) -> list[Event]:
        """The events of the step with shapes."""
        return list(document_of(self.shaped)["traceEvents"]) if self.shaped else []


class Trace:
    """Opens a profiler between `install` and `remove`.

    Attributes:
        times: seconds of the steps that count.
        recordings: one for each opening.
        reason: why it stayed closed or ended early, or None.
        marks: the layers that were seen.
    """

    def __init__(self) -> None:
        self.times: list[float] = []
        self.recordings: list[Recording] = []
        self.reason: str | None = None
        self.marks = Marks()
        self._watch = Patches()
        self._ranges = Patches()
        self._open: weakref.WeakSet[Any] = (
            weakref.WeakSet()
        )  # ranges of the script's, begun under the profiler
        self._ours = False  # it is flatout that starts the profiler now
        self._thread = 0
        self._next: Iterator[None] | None = None
        self._now = Recording()
        self._profiler: Any = None  # that is prepared, or records
        self._started = False
        self._counts = False  # what it records is the steps, and not their shapes
        self._step: Any = None  # the mark of the step that runs

    def watch(self) -> None:
        """Hear of profilers that the script starts; torch must be loaded."""
        from torch.autograd import profiler

        for name in ("_prepare_profiler", "_enable_profiler"):
            self._watch.wrap(profiler, name, self._give_way)

    def unwatch(self) -> None:
        """Hear of them no more."""
        self._watch.restore()

    def install(self, thread: int) -> None:
        """Begin to record what runs in this thread, with the step that begins now."""
        with self._refusals():
            from torch._C._autograd import _profiler_enabled

            if _profiler_enabled():
                self.reason = _OWN
            if self.reason is None:
                from torch.autograd.profiler import record_function

                self._thread = thread
                self._now = Recording()
                self._next = self._schedule()
                self.marks.install(thread)
                self._ranges.wrap(record_function, "__enter__", self._remembered)

    def remove(self) -> None:
        """Leave torch as it was."""
        self._close()
        self._ranges.restore()
        self.marks.remove()

    def begin(self) -> None:
        """A step begins."""
        if self._next is None:
            return
        with self._refusals():
            next(self._next, None)
            if self._started:
                from torch._C._profiler import _RecordFunctionFast as Range

                self._step = Range(STEP)
                self._step.__enter__()

    def end(self, seconds: float, *, settled: bool) -> None:
        """The step has ended."""
        if self._step is None:
            return
        self._end_mark()
        if self._counts:
            counts = settled and bool(self._now.steps)
            self._now.steps.append(counts)
            if counts:
                self.times.append(seconds)

    def _end_mark(self) -> None:
        if self._step is not None:
            self._step.__exit__(None, None, None)
            self._step = None

    def _schedule(self) -> Iterator[None]:
        """What is done before each step."""
        self._prepare(shapes=True)
        self._start()
        yield
        self._now.shaped = self._stop()
        self._prepare(shapes=False)
        yield
        self._start()
        self._counts = True
        yield

    def _prepare(self, *, shapes: bool) -> None:
        from torch._C._profiler import _ExperimentalConfig
        from torch.profiler import ProfilerActivity, profile

        config = _ExperimentalConfig(disable_external_correlation=True, capture_overload_names=shapes)
        activities = [ProfilerActivity.CPU]
        if _cuda_is_used() and not shapes:
            activities.append(ProfilerActivity.CUDA)
        self._profiler = profile(activities=activities, record_shapes=shapes, experimental_config=config)
        with self._as_ours():
            self._profiler.prepare_trace()

    def _start(self) -> None:
        if self._open:
            raise RuntimeError("a range of the script's own (record_function) has not ended")
        with self._as_ours():
            self._profiler.start_trace()
        self._started = True

    @contextlib.contextmanager
    def _as_ours(self) -> Iterator[None]:
        self._ours = True
        try:
            with _quiet():
                yield
        finally:
            self._ours = False

    def _stop(self) -> str:
        """What the profiler recorded; exported at once, for the next one would write over it.

        Raises:
            RuntimeError: it cannot be stopped from here; torch would crash.
        """
        from torch._C._autograd import _profiler_enabled

        profiler, started = self._profiler, self._started
        self._profiler, self._started = None, False
        if not started:
            return ""
        if get_ident() != self._thread or not _profiler_enabled():
            raise RuntimeError("the thread it was started in has ended")
        with _quiet():
            profiler.stop_trace()
        return _exported(profiler)

    def _close(self) -> None:
        """Stop; others may have wrapped what is marked since then, so that the marks stay until `remove`."""
        if self._next is None:
            return
        self._next = None
        self._end_mark()
        counts, self._counts = self._counts, False
        with self._refusals():
            recorded = self._stop()
            if counts and any(self._now.steps):
                self._now.timed = recorded
                self.recordings.append(self._now)

    def _remembered(self, original: Function) -> Function:
        def enter(self_: Any) -> Any:
            if self._started:
                self._open.add(self_)  # until it is gone, which it is when its with-statement has ended
            return original(self_)

        return enter

    def _give_way(self, original: Function) -> Function:
        def theirs(*args: Any, **kwargs: Any) -> Any:
            if not self._ours:
                self.reason = _OWN
                self._close()
            return original(*args, **kwargs)

        return theirs

    @contextlib.contextmanager
    def _refusals(self) -> Iterator[None]:
        """A profiler that torch refuses to start or to stop is no reason to end the script.

        Nor is a torch whose private names are others.
        """
        try:
            yield
        except (RuntimeError, ImportError, AttributeError, TypeError, OSError) as error:
            self.reason = f"torch's profiler does not run here: {error}"
            self._profiler, self._next, self._counts = None, None, False


def document_of(trace: str) -> dict[str, Any]:
    """A Chrome trace, with times since its first event: a double holds the others to 1 ns only."""
    document: dict[str, Any] = json.loads(trace)
    events = document["traceEvents"]
    first = min((event["ts"] for event in events), default=0.0)
    for event in events:
        event["ts"] -= first
    document["baseTimeNanoseconds"] = document.get("baseTimeNanoseconds", 0) + round(1000 * first)
    return document


def _exported(profiler: Any) -> str:
    before = tempfile.tempdir
    try:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "trace.json"
            profiler.export_chrome_trace(str(path))
            return path.read_text(encoding="utf-8", errors="replace")
    finally:
        tempfile.tempdir = before  # where the script's own files go is for it to choose


def _cuda_is_used() -> bool:
    import torch

    return bool(torch.cuda.is_initialized())  # type: ignore[no-untyped-call]


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without what the profiler writes to the script's standard error as it starts and stops."""
    name, level = "KINETO_LOG_LEVEL", "6"
    before = os.environ.get(name)
    os.environ[name] = level
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before
