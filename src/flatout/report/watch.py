"""Watch the machine: sample, show, wait for the next moment or for q.

Screen     redraws itself, for terminals
Plain      a line a sample (columns or JSON); warnings and notes go to standard error
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from typing import Protocol, TextIO, final

from rich.console import Console
from rich.live import Live

from flatout.hardware.sample import Sample
from flatout.report.keys import Keys
from flatout.report.watch_lines import CsvFile, JsonLines, Lines
from flatout.report.watch_screen import WatchScreen
from flatout.report.watch_words import Summary, Warnings

_HISTORY = 200  # samples: wider than any terminal shows
_FIRST_AFTER = 0.25  # seconds: use of the CPU is counted between two moments


class Samples(Protocol):
    """Where samples come from: a `Sampler`."""

    def sample(self) -> Sample:
        """The machine now."""
        ...


class Display(Protocol):
    """What shows the samples."""

    def show(self, sample: Sample) -> None:
        """Show one more."""
        ...

    def note(self, message: str) -> None:
        """Say something about the recording."""
        ...

    def close(self) -> None:
        """Leave the terminal as it was."""
        ...


def watch(
    sampler: Samples,
    display: Display,
    keys: Keys,
    *,
    every: float,
    count: int | None = None,
    during: float | None = None,
    record: CsvFile | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> Summary:
    """Sample and show until q, Ctrl-C, `count` samples or `during` seconds; what was seen comes back.

    Args:
        sampler: read once a sample.
        display: shows each.
        keys: waits, and hears q.
        every: seconds from one sample to the next. A moment that was missed is left out, not made up for.
        count: of samples; no limit where None.
        during: seconds; no limit where None.
        record: a file that gets each sample too.
        clock: seconds that only grow.
    """
    summary = Summary()
    start = clock()
    taken = 0
    due = start + min(every, _FIRST_AFTER, during if during is not None else every)
    try:
        with keys:
            while not keys.wait(max(due - clock(), 0)):
                sample = sampler.sample()
                taken += 1
                summary.add(sample)
                display.show(sample)
                if record is not None:
                    _record(record, sample, display)
                due = max(due + every, clock())
                is_over = during is not None and due > start + during
                if is_over or (count is not None and taken >= count):
                    break
    except KeyboardInterrupt:
        pass  # as good an end as q
    finally:
        display.close()
    return summary


def _record(record: CsvFile, sample: Sample, display: Display) -> None:
    had_trouble = record.trouble is not None
    record.show(sample)
    if record.trouble is not None and not had_trouble:
        display.note(record.trouble)


@final
class Screen:
    """The live screen."""

    def __init__(self, console: Console, footer: str) -> None:
        self._samples: deque[Sample] = deque(maxlen=_HISTORY)
        self._warnings = Warnings()
        self._notes: list[str] = []
        self._footer = footer
        self._live = Live(console=console, auto_refresh=False, transient=True)

    def show(self, sample: Sample) -> None:
        """Redraw."""
        self._samples.append(sample)
        self._notes += sample.notes
        warnings = list(self._warnings.of(sample).values())
        if not self._live.is_started:
            self._live.start()
        self._live.update(WatchScreen(list(self._samples), warnings, self._notes, self._footer), refresh=True)

    def note(self, message: str) -> None:
        """Keep a message on the screen."""
        self._notes.append(message)

    def close(self) -> None:
        """Take the screen away and show the cursor."""
        self._live.stop()


@final
class Plain:
    """Lines; what is said goes to `err`, each warning once."""

    def __init__(self, lines: Lines | JsonLines, err: TextIO) -> None:
        self._lines = lines
        self._err = err
        self._warnings = Warnings()
        self._said: set[str] = set()

    def show(self, sample: Sample) -> None:
        """Write the line."""
        for note in sample.notes:
            self.note(note)
        for key, warning in self._warnings.of(sample).items():
            if key not in self._said:
                self._said.add(key)
                self.note(warning)
        self._lines.show(sample)

    def note(self, message: str) -> None:
        """Say something."""
        print(message, file=self._err, flush=True)

    def close(self) -> None:
        """Nothing was taken."""
