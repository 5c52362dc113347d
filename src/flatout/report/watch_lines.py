"""`flatout watch` without a screen: a readable line a sample, a JSON object a sample, and the CSV file.

Lines       columns for people, in a pipe or a log file
JsonLines   one object a line
CsvFile     a recording, beside whatever else is shown
"""

from __future__ import annotations

import csv
import io
import json
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TextIO

from flatout.errors import FlatoutError
from flatout.hardware.sample import Sample
from flatout.report.text import UNKNOWN
from flatout.report.watch_words import percent

_GIB = 2**30


class Lines:
    """Columns: those of the CPU, then for each GPU its use, memory, temperature, power and clock."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._has_header = False

    def show(self, sample: Sample) -> None:
        """Write the line of a sample."""
        columns = list(_columns(sample))
        if not self._has_header:
            self._has_header = True
            self._write([name.rjust(width) for name, width, _ in columns])
        self._write([value.rjust(width) for _, width, value in columns])

    def _write(self, cells: list[str]) -> None:
        print("  ".join(cells), file=self._out, flush=True)


def _columns(sample: Sample) -> list[tuple[str, int, str]]:
    """(heading, width, value) of each column; the widths hold for every sample."""
    cpu = sample.cpu
    columns = [
        ("time", 8, time.strftime("%H:%M:%S", time.localtime(sample.time))),
        ("CPU", 5, percent(cpu.utilisation)),
        ("core", 5, percent(cpu.busiest_core)),
        ("GiB", 6, _gib(cpu.memory_used)),
    ]
    if cpu.temperature is not None:
        columns.append(("°C", 4, _whole(cpu.temperature)))
    for gpu in sample.gpus:
        columns += [
            (f"GPU {gpu.index}", 6, percent(gpu.utilisation)),
            ("GiB", 6, _gib(gpu.memory_used)),
            ("°C", 3, _whole(gpu.temperature)),
            ("W", 4, _whole(gpu.power)),
            ("MHz", 4, _whole(gpu.clock)),
        ]
    return columns


class JsonLines:
    """One JSON object a sample; every name ends in its unit, null is unknown."""

    def __init__(self, out: TextIO) -> None:
        self._out = out

    def show(self, sample: Sample) -> None:
        """Write the object of a sample."""
        print(json.dumps(sample.document()), file=self._out, flush=True)


class CsvFile:
    """A recording with a row a sample; an empty cell is unknown. A file with the same columns grows.

    Attributes:
        trouble: why the recording stopped in the middle (a full disk), or None.
    """

    def __init__(self, path: Path) -> None:
        """Open `path` to add to it.

        Raises:
            FlatoutError: it cannot be written.
        """
        self._path = path
        self._columns: list[str] = []
        self.trouble: str | None = None
        try:
            self._file = path.open("a+", newline="", encoding="utf-8")
        except OSError as error:
            raise FlatoutError(
                f"--csv must name a file that can be written, but {path}: {error.strerror}"
            ) from error

    def show(self, sample: Sample) -> None:
        """Write the row of a sample.

        Raises:
            FlatoutError: the file holds other columns, from another machine or another program.
        """
        if self.trouble is not None:
            return
        row = row_of(sample)
        try:
            if not self._columns:
                self._begin(list(row))
            self._write([row.get(name) for name in self._columns])
        except OSError as error:
            self.trouble = f"recording to {self._path} stopped: {error.strerror}"

    def close(self) -> None:
        """Finish the file."""
        try:
            self._file.close()
        except OSError as error:
            self.trouble = self.trouble or f"recording to {self._path} stopped: {error.strerror}"

    def _begin(self, columns: list[str]) -> None:
        self._file.seek(0)
        try:
            header = next(csv.reader(self._file), None)
        except (UnicodeDecodeError, csv.Error):
            header = ["?"]
        self._file.seek(0, io.SEEK_END)
        if header is None:
            self._write(columns)
        elif header != columns:
            raise FlatoutError(
                f"--csv must name a new file, or one that watched this machine, but {self._path} holds other "
                f"columns: name another file"
            )
        self._columns = columns

    def _write(self, cells: list[Any]) -> None:
        csv.writer(self._file).writerow("" if cell is None else cell for cell in cells)
        self._file.flush()


def row_of(sample: Sample) -> dict[str, Any]:
    """A sample as one flat row: "cpu_percent", "memory_used_bytes", "gpu0_power_w", …"""
    cpu = sample.cpu.document()
    row = {"time": datetime.fromtimestamp(sample.time, UTC).isoformat(timespec="milliseconds")}
    row |= {name if name.startswith("memory") else f"cpu_{name}": value for name, value in cpu.items()}
    del row["cpu_cores_percent"]  # a list; the JSON has it
    for gpu in sample.gpus:
        values = gpu.document()
        values["slowed_by"] = None if gpu.slowed_by is None else " and ".join(gpu.slowed_by) or "nothing"
        row |= {f"gpu{gpu.index}_{name}": value for name, value in values.items() if name != "index"}
    return row


def _gib(size: int | None) -> str:
    return UNKNOWN if size is None else f"{size / _GIB:.1f}"


def _whole(value: float | None) -> str:
    return UNKNOWN if value is None else f"{value:.0f}"
