"""Fixes that flatout can put into a script while it runs, to measure what they gain. One class a remedy.

Another is one class and one line of `_REMEDIES`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from flatout.profiling.remedies.loaders import Pinned, Resident, Workers
from flatout.profiling.remedies.reads import DeferredReads
from flatout.profiling.remedies.remedy import Remedy
from flatout.profiling.remedies.settings import OptimizerOption, Threads
from flatout.profiling.user_lines import Line

__all__ = ["Remedy", "remedy_for"]

_Make = Callable[[Line, str, str | None], Remedy | None]


def remedy_for(finding: Mapping[str, Any], folder: Path, device: str | None) -> Remedy | None:
    """What puts the fix of a finding into its script, or None where flatout cannot.

    Args:
        finding: as in a profile's "findings"; the code of its fix says which it is.
        folder: its file is named relative to it.
        device: the type of the device where the model lies.
    """
    make = _REMEDIES.get(finding["kind"])
    line = Line(str((folder / finding["file"]).absolute()), finding["line"])
    return make(line, finding["code"], device) if make else None


def _reads(line: Line, code: str, device: str | None) -> Remedy | None:
    try:
        source = Path(line.file).read_bytes()
    except OSError:
        return None
    remedy = DeferredReads(line)
    remedy.rewritten(source, line.file)
    return DeferredReads(line) if remedy.applied else None  # the read may be within a library


def _data(line: Line, code: str, device: str | None) -> Remedy | None:
    if workers := re.search(r"num_workers=(\d+)", code):
        return Workers(line, int(workers[1]))
    return Resident(line, device) if ".split(batch_size)" in code else None


def _optimizer(line: Line, code: str, device: str | None) -> Remedy | None:
    option = re.search(r"\b(fused|foreach)=True", code)
    return OptimizerOption(line, option[1]) if option else None


def _threads(line: Line, code: str, device: str | None) -> Remedy | None:
    count = re.search(r"set_num_threads\((\d+)\)", code)
    return Threads(line, int(count[1])) if count else None


_REMEDIES: Final[Mapping[str, _Make]] = {
    "item": _reads,
    "float": _reads,
    "data": _data,
    "unpinned": lambda line, code, device: Pinned(line),
    "blocking-copy": lambda line, code, device: Pinned(line),
    "optimizer": _optimizer,
    "threads": _threads,
}
