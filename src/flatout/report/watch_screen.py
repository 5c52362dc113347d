"""The live screen of `flatout watch`: what matters first, in whatever width the terminal has."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.table import Table
from rich.text import Text

from flatout.hardware.sample import GpuSample, ProcessSample, Sample
from flatout.report.text import UNKNOWN
from flatout.report.watch_words import memory, percent, verdict

_BLOCKS: Final = "▁▂▃▄▅▆▇█"
_NO_READING: Final = "·"
_LEAST_HISTORY, _MOST_HISTORY = 8, 60
_SPARE: Final = ("clock", "power", "temp")  # what a narrow terminal does without, the first first
_GAP: Final = 2
_LEAST_NAME, _MOST_NAME, _OTHERS = 12, 40, 50  # of a process, and what stands beside it
_BUSY: Final = 0.8


class WatchScreen:
    """All of the screen, as something rich can print.

    Args:
        samples: the last ones, oldest first; as many as the history may show.
        warnings: what to look at now.
        notes: what cannot be read.
        footer: how to end.
    """

    def __init__(
        self, samples: Sequence[Sample], warnings: Sequence[str], notes: Sequence[str], footer: str
    ) -> None:
        self._samples, self._warnings, self._notes, self._footer = samples, warnings, notes, footer

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        samples = self._samples
        width = options.max_width
        rows: list[RenderableType] = [
            *(Text(line, "bold") for line in verdict(samples) or ["watching: a verdict takes three samples"]),
            *(Text(warning, "yellow") for warning in self._warnings),
            "",
            _devices(samples, width),
            *_names(samples[-1].gpus),
            _cores(samples[-1].cpu.cores, width),
            "",
            *_processes(samples[-1].processes, width),
            *(Text(note, "dim") for note in self._notes),
            Text(self._footer, "dim"),
        ]
        yield Group(*rows)


def history(shares: Sequence[float | None], width: int) -> str:
    """The last `width` shares of 1, a character each, the newest on the right; "·" where none was read.

    >>> history([0.0, 0.5, 1.0, None], 10)
    '▁▅█·'
    """
    return "".join(
        _NO_READING if share is None else _BLOCKS[min(math.floor(share * len(_BLOCKS)), len(_BLOCKS) - 1)]
        for share in shares[-width:]
    )


def _devices(samples: Sequence[Sample], width: int) -> Table:
    """A row a device; the history takes the room that the others leave."""
    cpu = samples[-1].cpu
    rows = [
        {
            "": "CPU",
            "busy": percent(cpu.utilisation),
            "memory": _of(cpu.memory_used, cpu.memory_total),
            "temp": _degrees(cpu.temperature),
            "power": UNKNOWN,
            "clock": _clock(cpu.clock),
        }
    ]
    rows += [
        {
            "": f"GPU {gpu.index}",
            "busy": percent(gpu.utilisation),
            "memory": _of(gpu.memory_used, gpu.memory_total),
            "temp": _degrees(gpu.temperature),
            "power": _power(gpu.power, gpu.power_limit),
            "clock": _clock(gpu.clock),
        }
        for gpu in samples[-1].gpus
    ]
    names = list(rows[0])
    for spare in _SPARE:
        left = width - sum(max(len(name), *(len(row[name]) for row in rows)) + _GAP for name in names)
        if left >= _LEAST_HISTORY:
            break
        names.remove(spare)
    past = [
        [sample.cpu.utilisation for sample in samples],
        *([s.gpus[place].utilisation for s in samples] for place in range(len(rows) - 1)),
    ]
    shown = max(_LEAST_HISTORY, min(_MOST_HISTORY, left))
    table = _table()
    for name in (*names[:2], "history", *names[2:]):
        table.add_column(name, justify="left" if name in ("", "history") else "right", no_wrap=True)
    for row, shares in zip(rows, past, strict=True):
        cells = [Text(row[name], _style(name, shares[-1])) for name in names]
        table.add_row(*cells[:2], history(shares, shown), *cells[2:])
    return table


def _table() -> Table:
    return Table(box=None, pad_edge=False, padding=(0, _GAP, 0, 0), header_style="dim")


def _style(name: str, busy: float | None) -> str:
    return "green" if name == "busy" and busy is not None and busy >= _BUSY else ""


def _names(gpus: Sequence[GpuSample]) -> list[Text]:
    """Which cards these are; equal ones are named once."""
    names: dict[str, list[str]] = {}
    for gpu in gpus:
        if gpu.name is not None:
            names.setdefault(gpu.name, []).append(str(gpu.index))
    return [Text(f"GPU {', '.join(indices)}: {name}", "dim") for name, indices in names.items()]


def _cores(cores: Sequence[float] | None, width: int) -> Text:
    if not cores:
        return Text("cores –", "dim")
    label = "core" if len(cores) == 1 else "cores"
    line = Text.assemble((f"{len(cores)} {label} ", "dim"), history(cores, len(cores)))
    return line.append(f" busiest {percent(max(cores))}", "dim") if len(cores) > 1 else line


def _processes(processes: Sequence[ProcessSample], width: int) -> list[RenderableType]:
    if not processes:
        return []
    table = _table()
    on_gpu = any(process.gpu_memory for process in processes)
    table.add_column("process", no_wrap=True, max_width=max(_LEAST_NAME, min(_MOST_NAME, width - _OTHERS)))
    table.add_column("pid", justify="right", no_wrap=True)
    table.add_column("cores", justify="right", no_wrap=True)
    table.add_column("memory", justify="right", no_wrap=True)
    if on_gpu:
        table.add_column("on GPU")
    for process in processes:
        on = (f"{index}: {memory(held)}" for index, held in sorted(process.gpu_memory.items()))
        table.add_row(
            Text(process.name or UNKNOWN),
            str(process.pid),
            UNKNOWN if process.cores is None else f"{process.cores:.2f}",
            memory(process.memory),
            *([", ".join(on)] if on_gpu else []),
        )
    return [table, ""]


def _of(used: int | None, total: int | None) -> str:
    if used is None:
        return UNKNOWN
    return memory(used) if total is None else f"{used / 2**30:.1f}/{memory(total)}"


def _degrees(temperature: float | None) -> str:
    return UNKNOWN if temperature is None else f"{temperature:.0f} °C"


def _power(power: float | None, limit: float | None) -> str:
    if power is None:
        return UNKNOWN
    return f"{power:.0f} W" if limit is None else f"{power:.0f}/{limit:.0f} W"


def _clock(clock: float | None) -> str:
    return UNKNOWN if clock is None else f"{clock:.0f} MHz"
