"""A file that a command writes at its end: whether it can is told before the command begins."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryFile

from flatout.cli.message import say
from flatout.errors import FlatoutError


def page_file(path: Path) -> Path:
    """The absolute path of a page that can be written.

    Raises:
        FlatoutError: its name does not end in .html, or its folder is missing or cannot be written to.
    """
    if path.suffix.lower() not in (".html", ".htm"):
        raise FlatoutError(f"--html takes the name of a page, like report.html, but got {str(path)!r}")
    return output_file(path, "--html", "a page")


def output_file(path: Path, option: str, what: str) -> Path:
    """The absolute path of a file that can be written; what is in it stays as it is.

    Args:
        path: as it was given.
        option: that it was given to.
        what: the file is to be, for example "a page".

    Raises:
        FlatoutError: its folder is missing or cannot be written to.
    """
    path = path.absolute()
    folder = path.parent
    if not folder.is_dir():
        raise FlatoutError(f"{option}: the folder {str(folder)!r} does not exist; make it first")
    if path.is_dir():
        raise FlatoutError(f"{option} takes the name of {what}, but {str(path)!r} is a folder")
    try:
        if path.exists():
            path.open("ab").close()
        else:
            TemporaryFile(dir=folder).close()
    except OSError as error:
        why = error.strerror or error
        raise FlatoutError(
            f"{option}: {str(path)!r} cannot be written ({why}); choose another folder"
        ) from None
    return path


def write_page(path: Path, page: str) -> bool:
    """Write it; where the disk is full or the folder has gone, say so and return True."""
    try:
        path.write_text(page, encoding="utf-8")
    except OSError as error:
        say(f"--html: {str(path)!r} was not written: {error.strerror or error}")
        return True
    return False
