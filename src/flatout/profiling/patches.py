"""Functions of torch that are wrapped for a while and then are what they were."""

from __future__ import annotations

import functools
import weakref
from collections.abc import Callable, Iterable
from types import BuiltinFunctionType, FunctionType, ModuleType
from typing import Any, Final

Function = Callable[..., Any]

_INHERITED: Final = object()
_wrappers: Final[weakref.WeakSet[Any]] = weakref.WeakSet()  # all that were ever made


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
        self._undo: list[tuple[Any, str, Any, Any, Callable[[Any, Any], None] | None]] = []

    def wrap(
        self,
        owner: Any,
        name: str,
        make: Callable[[Function], Function],
        then: Callable[[Any, Any], None] | None = None,
    ) -> None:
        """Put `make(original)` in the place of the attribute `name` of a module or class.

        Args:
            owner: the module or class.
            name: the attribute.
            make: makes the wrapper.
            then: told what is there now and what was before, when it is wrapped and when it is restored.
        """
        original = getattr(owner, name)
        own = vars(owner).get(name, _INHERITED)
        wrapper = functools.wraps(original)(make(original))
        _wrappers.add(wrapper)
        setattr(owner, name, wrapper)
        self._undo.append((owner, name, own, wrapper, then))
        if then is not None:
            then(wrapper, original)

    def wrap_by_name(self, importers: Iterable[ModuleType]) -> None:
        """Put the wrappers of modules' functions also where others have imported these by name.

        Who imports one while it is wrapped has the wrapper: that goes, too.

        Args:
            importers: the modules that may have.
        """
        wrappers = {
            id(_plain(wrapper)): wrapper
            for owner, _, _, wrapper, _ in self._undo
            if isinstance(owner, ModuleType)
        }
        for module in importers:
            for name, value in list(vars(module).items()):
                if isinstance(value, FunctionType | BuiltinFunctionType):
                    plain = _plain(value)
                    wrapper = wrappers.get(id(plain))
                    if wrapper is not None:
                        setattr(module, name, wrapper)
                        self._undo.append((module, name, plain, wrapper, None))

    def restore(self) -> None:
        """Undo all of it; what somebody else has put there since then stays."""
        while self._undo:
            owner, name, own, wrapper, then = self._undo.pop()
            if vars(owner).get(name) is not wrapper:
                continue
            if own is _INHERITED:
                delattr(owner, name)
            else:
                setattr(owner, name, own)
            if then is not None:
                then(getattr(owner, name), wrapper)


def _plain(function: Any) -> Any:
    """What is in our wrappers."""
    while function in _wrappers:
        function = function.__wrapped__
    return function
