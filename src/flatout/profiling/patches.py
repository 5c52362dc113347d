"""Functions of torch that are wrapped for a while and then are what they were."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, Final

Function = Callable[..., Any]

_INHERITED: Final = object()


class Patches:
    """What is wrapped now.

    >>> patches = Patches()
    >>> patches.wrap(functools, "reduce", lambda original: lambda *args: "wrapped")
    >>> functools.reduce(max, [1, 2])
    'wrapped'
    >>> patches.restore()
    >>> functools.reduce(max, [1, 2])
    2
    """

    def __init__(self) -> None:
        self._undo: list[tuple[Any, str, Any, Any]] = []

    def wrap(self, owner: Any, name: str, make: Callable[[Function], Function]) -> None:
        """Put `make(original)` in the place of the attribute `name` of a module or class."""
        original = getattr(owner, name)
        own = vars(owner).get(name, _INHERITED)
        wrapper = functools.wraps(original)(make(original))
        setattr(owner, name, wrapper)
        self._undo.append((owner, name, own, wrapper))

    def restore(self) -> None:
        """Undo all of it; what somebody else has put there since then stays."""
        while self._undo:
            owner, name, own, wrapper = self._undo.pop()
            if vars(owner).get(name) is not wrapper:
                continue
            if own is _INHERITED:
                delattr(owner, name)
            else:
                setattr(owner, name, own)
