"""Which line of the user's own code is at work: the innermost that belongs to no library."""

from __future__ import annotations

import os
import sys
import sysconfig
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from types import FrameType, ModuleType
from typing import Any, Final, NamedTuple

_FLATOUT: Final = str(Path(__file__).resolve().parents[1]) + os.sep
_LIBRARIES: Final = tuple(
    {
        os.path.realpath(folder) + os.sep
        for name, folder in sysconfig.get_paths().items()
        if name in ("stdlib", "platstdlib", "purelib", "platlib")
    }
)
_PACKAGES: Final = tuple(
    {os.path.realpath(sysconfig.get_paths()[name]) + os.sep for name in ("purelib", "platlib")}
)


class Line(NamedTuple):
    """A line of a file.

    Attributes:
        inside: the installed package that was at work there, or "" where the line itself was.
    """

    file: str
    line: int
    inside: str = ""


def user_line(frame: FrameType) -> Line:
    """The innermost line from `frame` outwards that is of no library; `frame` itself where there is none."""
    at: FrameType | None = frame
    while at is not None:
        if not of_library(at.f_code.co_filename):
            return Line(at.f_code.co_filename, at.f_lineno)
        at = at.f_back
    return Line(frame.f_code.co_filename, frame.f_lineno)


def user_modules() -> list[ModuleType]:
    """The modules that are loaded and of no library."""
    return [one for one in list(sys.modules.values()) if isinstance(one, ModuleType) and _of_user(vars(one))]


def _of_user(names: Mapping[str, Any]) -> bool:
    """Whether a module with these names is the user's; none is asked, which may make it import something."""
    file = names.get("__file__")
    return names.get("__name__") == "__main__" or (isinstance(file, str) and not of_library(file))


def outside(frame: FrameType) -> FrameType:
    """The innermost frame from this one outwards that is not of this package."""
    while of_profiler(frame.f_code.co_filename) and frame.f_back is not None:
        frame = frame.f_back
    return frame


@cache
def package_of(file: str) -> str:
    """The installed package that a file is of; "" for one of the user's, and for Python's own."""
    path = os.path.realpath(file)
    for folder in _PACKAGES:
        if path.startswith(folder):
            return Path(path[len(folder) :]).parts[0].removesuffix(".py")
    return ""


@cache
def of_library(file: str) -> bool:
    """Whether a file is Python's, an installed package's, or flatout's own."""
    if file.startswith("<"):
        return not file.startswith(("<ipython", "<stdin>", "<python-input"))
    return os.path.realpath(file).startswith((*_LIBRARIES, _FLATOUT))


@cache
def of_torch(file: str) -> bool:
    """Whether a file is torch's own (not one of a project that is called torch)."""
    return of_library(file) and f"{os.sep}torch{os.sep}" in file


@cache
def of_profiler(file: str) -> bool:
    """Whether a file is of this package: what it adds to a traceback is not the script's."""
    return os.path.realpath(file).startswith(_FLATOUT + "profiling" + os.sep)
