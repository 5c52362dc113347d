"""Asking a driver or torch for one figure, so that a refusal costs that figure and nothing else."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

# What torch, its drivers, a version that lacks a function and a command that fails raise.
_REFUSALS = (
    RuntimeError,
    AttributeError,
    AssertionError,
    ImportError,
    OSError,
    ValueError,
    TypeError,
    subprocess.SubprocessError,
)


def ask(question: Callable[[], T]) -> T | None:
    """What `question()` gives, or None where it fails.

    >>> ask(lambda: 1 + 1), ask(lambda: int("unknown"))
    (2, None)
    """
    try:
        return question()
    except _REFUSALS:
        return None


def positive(value: float | None) -> float | None:
    """A figure that cannot be 0; drivers write 0 for what they do not know.

    >>> positive(2520.0), positive(0), positive(None)
    (2520.0, None, None)
    """
    return value if value and value > 0 else None


def whole(value: float | None) -> int | None:
    """The same for a whole number.

    >>> whole(384.0), whole(0)
    (384, None)
    """
    found = positive(value)
    return None if found is None else int(found)
