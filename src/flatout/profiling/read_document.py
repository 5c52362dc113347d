"""Read a profile that `flatout profile --json` printed into a file."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any, Final

from flatout.errors import FlatoutError
from flatout.profiling.version import VERSION

_LISTS: Final = ("arguments", "findings")
_MAPPINGS: Final = ("step_times_us", "breakdown", "machine", "versions")
_FINDING: Final = ("kind", "file", "line", "what", "gain_ms", "gain_low", "gain_high", "source")


def read_document(path: Path) -> dict[str, Any]:
    """The profile in a file: all of it, or its last line, after what the script itself printed.

    Raises:
        FlatoutError: there is no such file, no profile in it, one of another version, or one without times.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise FlatoutError(
            f"{path}: {error.strerror}; compare takes two files of flatout profile --json"
        ) from None
    except UnicodeDecodeError:
        raise FlatoutError(f"{path} is not text; compare takes two files of flatout profile --json") from None
    seen = _parse(text)
    if not isinstance(seen, dict) or "us_per_step" not in seen or "breakdown" not in seen:
        raise FlatoutError(
            f"{path} holds no profile: its last line must be the document of flatout profile --json, "
            f"but is {_shown(text)}"
        )
    version = seen.get("version")
    if version != VERSION:
        written = (
            "an older flatout" if not isinstance(version, int) or version < VERSION else "a newer flatout"
        )
        raise FlatoutError(
            f"{path} was written by {written} (document version {version}, expected {VERSION}); "
            "profile the script again with this one"
        )
    if seen["us_per_step"] is None:
        raise FlatoutError(f"{path} holds no times to compare: {seen.get('verdict', 'nothing was measured')}")
    if wrong := _wrong(seen):
        raise FlatoutError(f"{path} is not a whole profile: {wrong}; profile the script again")
    return seen


def _parse(text: str) -> Any:
    lines = text.rstrip().splitlines()
    for candidate in (lines[-1] if lines else "", text):
        try:
            return json.loads(candidate)
        except ValueError:
            continue
    return None


def _wrong(seen: dict[str, Any]) -> str:
    """What of a document is not as it must be to be compared; "" where all is."""
    for names, kind in ((_LISTS, list), (_MAPPINGS, dict)):
        for name in names:
            if not isinstance(seen.get(name), kind):
                return f"its {name!r} is {_shown(json.dumps(seen.get(name)))}"
    for part, took in seen["breakdown"].items():
        if not isinstance(took, dict) or not _is_number(took.get("us")):
            return f"the time of {part!r} is {_shown(json.dumps(took))}"
    blocks = seen["step_times_us"].get("blocks")
    numbers = [seen["us_per_step"], *(blocks if isinstance(blocks, list) else [None])]
    if not all(_is_number(number) and number > 0 for number in numbers):
        return "its times of steps are not numbers above 0"
    for one in seen["findings"]:
        if missing := [key for key in _FINDING if not isinstance(one, dict) or key not in one]:
            return f"a finding lacks {missing[0]!r}"
    return ""


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _shown(text: str) -> str:
    lines = text.rstrip().splitlines()
    if not lines:
        return "empty"
    return repr(lines[-1] if len(lines[-1]) <= 60 else f"{lines[-1][:57]}…")
