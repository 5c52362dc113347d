"""Files that a script has left open for writing: what is written to them for a while goes nowhere."""

from __future__ import annotations

import gc
import io
import os
import stat
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

from flatout.profiling.evidence import AbstainError

_DESCRIPTORS: Final = "/dev/fd"  # Linux and macOS; elsewhere only Python's own output is silenced
_BUFFERED: Final = (io.TextIOWrapper, io.BufferedWriter, io.BufferedRandom)
_OUTPUT: Final = (1, 2)


@contextmanager
def nothing_reaches_open_files() -> Iterator[None]:
    """Within it, open files and the process's output lead to nowhere; afterwards they are what they were.

    Raises:
        AbstainError: a file is open that another thread may be writing to, whose words would be lost.
    """
    files = _open_for_writing()
    others = [t.name for t in threading.enumerate() if t is not threading.current_thread()]
    if files and others:
        raise AbstainError(
            f"{files[0][1]} is open, and the thread {others[0]} may be writing to it: the model cannot be "
            "run again without touching it"
        )
    streams = _streams() if files else [sys.stdout, sys.stderr]
    _flush(streams)
    kept: dict[int, int] = {}
    try:
        with Path(os.devnull).open("wb") as nowhere:
            for descriptor in {*(number for number, _ in files), *_OUTPUT}:
                with suppress(OSError):  # a process may have no output at all
                    kept[descriptor] = os.dup(descriptor)
                    os.dup2(nowhere.fileno(), descriptor)
        yield
    finally:
        _flush(streams)  # what was written within, to nowhere
        for descriptor, original in kept.items():
            os.dup2(original, descriptor)
            os.close(original)


def _open_for_writing() -> list[tuple[int, str]]:
    """The descriptors and names of files, output left out, and those that have no name any more."""
    if not Path(_DESCRIPTORS).is_dir():
        return []
    import fcntl

    found = []
    output = {_identity(number) for number in _OUTPUT}
    for name in os.listdir(_DESCRIPTORS):  # noqa: PTH208  Path.iterdir would follow them
        number = int(name)
        with suppress(OSError):  # the descriptor of the listing itself is closed by now
            status = os.fstat(number)
            writable = fcntl.fcntl(number, fcntl.F_GETFL) & os.O_ACCMODE != os.O_RDONLY
            named = stat.S_ISREG(status.st_mode) and status.st_nlink
            if named and writable and _identity(number) not in output:
                found.append((number, _name(number)))
    return found


def _identity(descriptor: int) -> tuple[int, int] | None:
    """Which file it is; None where there is none."""
    try:
        status = os.fstat(descriptor)
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _name(descriptor: int) -> str:
    try:
        return str(Path(f"/proc/self/fd/{descriptor}").readlink())
    except OSError:
        return "a file"


def _streams() -> list[Any]:
    """Whatever Python holds words back for."""
    buffered = [each for each in gc.get_objects() if issubclass(type(each), _BUFFERED)]
    return [sys.stdout, sys.stderr, *buffered]


def _flush(streams: list[Any]) -> None:
    for stream in streams:
        with suppress(OSError, ValueError, AttributeError):  # closed, or no stream at all
            stream.flush()
