"""A few lines of the user's source, for reports that are read elsewhere."""

from __future__ import annotations

import linecache
from typing import Any, Final

_AROUND: Final = 2  # lines before and after
_LONGEST: Final = 200  # characters of a line


def excerpt(file: str, line: int) -> dict[str, Any] | None:
    """The line with two around it: "first" (its number) and "lines"; None where there is no source.

    >>> excerpt("missing.py", 3) is None
    True
    """
    source = linecache.getlines(file)
    if not 1 <= line <= len(source):
        return None
    first = max(1, line - _AROUND)
    lines = [text.rstrip()[:_LONGEST] for text in source[first - 1 : line + _AROUND]]
    return {"first": first, "lines": lines}
