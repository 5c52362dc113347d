"""The live display of a training, on stderr.

    Progress           what every display can be told
    ├── Bar            two lines that redraw themselves, for terminals
    ├── Lines          a plain line every few seconds, for log files and pipes
    └── Silent         nothing

`progress_for` picks one. No display starts a thread, and each draws a few times a second at most,
so that drawing takes next to no time from training.
"""

from __future__ import annotations

import atexit
import os
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, TextIO, final

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from flatout.report import text
from flatout.report.remaining import RemainingTime

_SECONDS_BETWEEN_DRAWINGS: Final = 1 / 8
_SECONDS_BETWEEN_LINES: Final = 5.0


class Progress(ABC):
    """Shows how a training goes: `start`, then `chunk` after each chunk, then `finish`.

    >>> progress = Lines(sys.stdout)
    >>> progress.start(name="iris", plan="eager", device="cpu", total_steps=20_000)
    >>> progress.chunk(done=800, steps=800, seconds=0.1, loss=0.2134)
    >>> progress.finish()  # doctest: +ELLIPSIS
    iris  step 800/20,000  loss 0.2134  8,000 steps/s  cpu eager  took ...
    """

    @abstractmethod
    def start(self, *, name: str, plan: str, device: str, total_steps: int | None, done: int = 0) -> None:
        """Begin to show a training that has `done` of `total_steps` (None: unknown) behind it."""

    @abstractmethod
    def chunk(self, *, done: int, steps: int, seconds: float, loss: float) -> None:
        """A chunk of `steps` took `seconds` and ended with `loss`; `done` steps are done in all."""

    @abstractmethod
    def validated(self, *, step: int, metrics: dict[str, float]) -> None:
        """After `step` steps the validation data gave these `metrics`."""

    @abstractmethod
    def note(self, message: str) -> None:
        """Show a message on a line of its own."""

    @abstractmethod
    def finish(self, message: str | None = None) -> None:
        """Leave the display as it is and give the terminal back; may be called at any time, and again."""


@dataclass
class _State:
    """What a display knows at a moment."""

    name: str
    plan: str
    device: str
    done: int
    remaining: RemainingTime
    started: float  # seconds, on the clock of the display
    loss: float | None = None
    metrics: dict[str, float] = field(default_factory=dict)

    def add_chunk(self, done: int, steps: int, seconds: float, loss: float) -> None:
        self.done = done
        self.loss = loss
        self.remaining.add(steps, seconds)

    def steps_text(self) -> str:
        total = self.remaining.total_steps
        return text.count(self.done) if total is None else f"{self.done:,}/{total:,}"

    def rate_text(self) -> str:
        step_seconds = self.remaining.step_seconds
        return text.rate(1 / step_seconds) if step_seconds else ""

    def left_text(self) -> str:
        left = self.remaining.seconds(self.done)
        return "time left unknown" if left is None else f"{text.seconds(left)} left"

    def metrics_text(self) -> str:
        names = {"loss": "validation loss"}  # beside the loss of the last step
        return "  ".join(f"{names.get(n, n)} {text.metric(n, value)}" for n, value in self.metrics.items())


@final
class Bar(Progress):
    """A bar that redraws itself at most eight times a second, and a line with the numbers below it.

    Args:
        console: the terminal to draw on; stderr if not given.
        clock: gives the time in seconds.
    """

    def __init__(
        self, console: Console | None = None, *, clock: Callable[[], float] = time.perf_counter
    ) -> None:
        self._console = Console(stderr=True) if console is None else console
        self._clock = clock
        self._state: _State | None = None
        self._live: Live | None = None
        self._drawn = 0.0  # seconds, on the clock
        self._end = ""

    def start(self, *, name: str, plan: str, device: str, total_steps: int | None, done: int = 0) -> None:
        """Begin to draw."""
        self.finish()
        self._end = ""
        self._state = _State(name, plan, device, done, RemainingTime(total_steps), self._clock())
        self._live = Live(
            get_renderable=self._render,
            console=self._console,
            auto_refresh=False,
            # Prints go above the bar, but what a user sends to a file must still arrive there.
            redirect_stdout=sys.stdout is not None and sys.stdout.isatty(),
        )
        atexit.register(self.finish)  # the cursor comes back even where nobody calls finish
        self._live.start()
        self._draw()

    def chunk(self, *, done: int, steps: int, seconds: float, loss: float) -> None:
        """Count the chunk; draw it where the last drawing is old enough."""
        if self._state is None:
            return
        self._state.add_chunk(done, steps, seconds, loss)
        if self._clock() - self._drawn >= _SECONDS_BETWEEN_DRAWINGS:
            self._draw()

    def validated(self, *, step: int, metrics: dict[str, float]) -> None:
        """Show the metrics from the next drawing on."""
        if self._state is not None:
            self._state.metrics = dict(metrics)

    def note(self, message: str) -> None:
        """Print the message above the bar."""
        self._console.print(Text(message))

    def finish(self, message: str | None = None) -> None:
        """Draw a last time, show the cursor again, and print the message."""
        if self._live is not None and self._state is not None:
            live, self._live = self._live, None
            self._end = f"took {text.seconds(self._clock() - self._state.started)}"
            try:
                live.stop()
            finally:
                self._console.show_cursor(True)  # also where a second Ctrl-C cut the last drawing short
                atexit.unregister(self.finish)
        if message is not None:
            self._console.print(Text(message))

    def _draw(self) -> None:
        if self._live is not None:
            self._live.refresh()
            self._drawn = self._clock()

    def _render(self) -> RenderableType:
        state = self._state
        if state is None:
            return Text()
        total = state.remaining.total_steps
        stopped = bool(self._end)
        bar = ProgressBar(
            # A bar of unknown length pulses; once stopped it stands still and is full.
            total=(max(total, 1) if total is not None else (1 if stopped else None)),
            completed=state.done if total is not None else 1,
            pulse=total is None and not stopped,
        )
        first = Table.grid(padding=(0, 2, 0, 0), expand=True)
        first.add_column(no_wrap=True, overflow="ellipsis", style="bold")
        first.add_column(ratio=1, min_width=8)
        first.add_column(no_wrap=True, justify="right")
        first.add_column(no_wrap=True, justify="right", min_width=12)
        first.add_row(Text(state.name), bar, Text(state.steps_text()), Text(self._end or state.left_text()))
        parts = [
            f"loss {text.number(state.loss)}",
            state.metrics_text(),
            state.rate_text(),
            f"{state.device} · {state.plan}",
        ]
        second = Text("  ".join(filter(None, parts)), style="dim", no_wrap=True, overflow="ellipsis")
        return Group(first, second)


@final
class Lines(Progress):
    """A plain line at most every five seconds and one at the end.

    Args:
        stream: where the lines go; stderr if not given.
        clock: gives the time in seconds.
    """

    def __init__(
        self, stream: TextIO | None = None, *, clock: Callable[[], float] = time.perf_counter
    ) -> None:
        self._stream = sys.stderr if stream is None else stream
        self._clock = clock
        self._state: _State | None = None
        self._written = 0.0  # seconds, on the clock

    def start(self, *, name: str, plan: str, device: str, total_steps: int | None, done: int = 0) -> None:
        """Begin; the first line comes after five seconds."""
        self.finish()
        self._written = self._clock()
        self._state = _State(name, plan, device, done, RemainingTime(total_steps), self._written)

    def chunk(self, *, done: int, steps: int, seconds: float, loss: float) -> None:
        """Count the chunk; write a line where the last one is old enough."""
        if self._state is None:
            return
        self._state.add_chunk(done, steps, seconds, loss)
        now = self._clock()
        if now - self._written >= _SECONDS_BETWEEN_LINES:
            self._written = now
            self._write_state(self._state.left_text())

    def validated(self, *, step: int, metrics: dict[str, float]) -> None:
        """Show the metrics from the next line on."""
        if self._state is not None:
            self._state.metrics = dict(metrics)

    def note(self, message: str) -> None:
        """Write the message."""
        self._write(message)

    def finish(self, message: str | None = None) -> None:
        """Write how far the training came and how long it took, and the message."""
        if self._state is not None:
            self._write_state(f"took {text.seconds(self._clock() - self._state.started)}")
            self._state = None
        if message is not None:
            self._write(message)

    def _write_state(self, end: str) -> None:
        state = self._state
        if state is None:
            return
        parts = [
            state.name,
            f"step {state.steps_text()}",
            f"loss {text.number(state.loss)}",
            state.rate_text(),
            f"{state.device} {state.plan}",
            state.metrics_text(),
            end,
        ]
        self._write("  ".join(filter(None, parts)))

    def _write(self, line: str) -> None:
        self._stream.write(line + "\n")
        self._stream.flush()


@final
class Silent(Progress):
    """Shows nothing."""

    def start(self, *, name: str, plan: str, device: str, total_steps: int | None, done: int = 0) -> None:
        """Show nothing."""

    def chunk(self, *, done: int, steps: int, seconds: float, loss: float) -> None:
        """Show nothing."""

    def validated(self, *, step: int, metrics: dict[str, float]) -> None:
        """Show nothing."""

    def note(self, message: str) -> None:
        """Show nothing."""

    def finish(self, message: str | None = None) -> None:
        """Show nothing."""


def progress_for(stream: TextIO | None = None, *, quiet: bool = False) -> Progress:
    """The display that suits a stream: `Bar` on a terminal, `Lines` elsewhere, `Silent` if quiet.

    Args:
        stream: where to show it; stderr if not given.
        quiet: show nothing.

    >>> import io
    >>> type(progress_for(io.StringIO())).__name__
    'Lines'
    """
    target: TextIO | None = sys.stderr if stream is None else stream
    if quiet or target is None:  # a program without a console has no stderr
        return Silent()
    if target.isatty() and os.environ.get("TERM") not in ("dumb", "unknown"):
        return Bar(Console(file=target))
    return Lines(target)
