"""`flatout watch`: what the machine does, live."""

from __future__ import annotations

import math
import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flatout.errors import FlatoutError

if TYPE_CHECKING:
    from flatout.report.keys import Keys
    from flatout.report.watch import Display

_LEAST_EVERY = 0.1  # seconds: below, the counters of the system have moved by a few ticks only
_UNITS = {"": 1.0, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0}


def watch(
    every: Annotated[float, typer.Option(help="Seconds between two samples, 0.1 or more.")] = 1.0,
    count: Annotated[
        int | None, typer.Option(help="End after this many samples.", show_default=False)
    ] = None,
    during: Annotated[
        str | None, typer.Option("--for", help="End after this time: 60s, 5m, 1h.", show_default=False)
    ] = None,
    csv: Annotated[
        Path | None,
        typer.Option(help="Record every sample to this file; one that is there grows.", show_default=False),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object a line.")] = False,
) -> None:
    """Watch CPU, memory, GPUs and processes live; a verdict first. q or Ctrl-C ends.

    In a pipe: a line a sample on standard output, warnings on standard error.
    """
    _check(every, count)
    limit = None if during is None else _seconds(during)
    from flatout.hardware.sampling import Sampler
    from flatout.report.watch import watch as run_watch
    from flatout.report.watch_lines import CsvFile

    display, keys = _display(every, as_json)
    record = None if csv is None else CsvFile(csv)
    sampler = Sampler()
    try:
        summary = run_watch(sampler, display, keys, every=every, count=count, during=limit, record=record)
    finally:
        sampler.close()
        if record is not None:
            record.close()
    typer.echo(summary.words(), err=as_json)


def _display(every: float, as_json: bool) -> tuple[Display, Keys]:
    """The screen and its keys on a terminal; lines and no keys elsewhere."""
    from flatout.report.keys import NoKeys, keys
    from flatout.report.watch import Plain, Screen
    from flatout.report.watch_lines import JsonLines, Lines

    if as_json:
        return Plain(JsonLines(sys.stdout), sys.stderr), NoKeys()
    if not sys.stdout.isatty() or os.environ.get("TERM") == "dumb":
        return Plain(Lines(sys.stdout), sys.stderr), NoKeys()
    from rich.console import Console

    listening = keys()
    how = "q ends" if listening.heard else "Ctrl-C ends"
    return Screen(Console(highlight=False), f"{how} · a sample every {every:g} s"), listening


def _check(every: float, count: int | None) -> None:
    if not math.isfinite(every) or every < _LEAST_EVERY:
        raise FlatoutError(f"--every must be at least {_LEAST_EVERY:g} seconds, but is {every:g}")
    if count is not None and count < 1:
        raise FlatoutError(f"--count must be at least 1, but is {count}")


def _seconds(text: str) -> float:
    """60s, 5m, 1.5h or a plain number of seconds."""
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([a-z]*)\s*", text)
    if match is None or match[2] not in _UNITS or float(match[1]) == 0:
        raise FlatoutError(f"--for must be a time above 0 such as 60s, 5m or 1h, but is {text!r}")
    return float(match[1]) * _UNITS[match[2]]
