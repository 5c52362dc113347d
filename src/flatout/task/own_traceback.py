"""A traceback shortened to the lines a person wrote."""

from __future__ import annotations

import traceback
from pathlib import Path

_FLATOUT = Path(__file__).resolve().parents[1]


def own_traceback(error: BaseException, folder: Path) -> str:
    """The traceback of `error`, and of what led to it, with the lines of files in `folder` only.

    Empty where none of its lines is in `folder`.
    """
    shown = traceback.TracebackException.from_exception(error)
    pending: list[traceback.TracebackException | None] = [shown]
    while pending:
        part = pending.pop()
        if part is not None:
            part.stack = traceback.StackSummary.from_list(
                [frame for frame in part.stack if _is_own(frame.filename, folder)]
            )
            pending += [part.__cause__, part.__context__, *(getattr(part, "exceptions", None) or [])]
    return "".join(shown.format()).rstrip() if shown.stack else ""


def _is_own(filename: str, folder: Path) -> bool:
    if filename.startswith("<"):
        return False
    file = Path(filename)
    installed = {"site-packages", "dist-packages"} & set(file.parts)
    return file.is_relative_to(folder) and not installed and not file.is_relative_to(_FLATOUT)
