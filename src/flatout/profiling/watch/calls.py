"""Times the calls that lines of the user make. Of calls within each other the outermost counts."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from threading import get_ident
from time import perf_counter
from typing import Any, Final

from flatout.profiling.patches import Function
from flatout.profiling.user_lines import Line, of_library, of_torch, package_of, user_line
from flatout.profiling.watch.reading import Reading
from flatout.profiling.watch.seen import Seen

LOG: Final = "log"
_BLOCKS, _CALLS = 5, 50  # to time a call that does nothing

Arguments = tuple[Any, ...]
Names = dict[str, Any]
When = Callable[[Arguments, Names], bool]
Keep = Callable[[Line, float, Any, Arguments, Names], None]


class Calls:
    """What the user's lines called since the last step ended.

    Args:
        seen: `end_step` adds the calls there.

    Attributes:
        thread: where they are watched.
    """

    def __init__(self, seen: Seen) -> None:
        self.thread = 0
        self._seen = seen
        self._outer: str | None = None  # the kind of the call that runs
        self._shown: str | None = None  # how it shows a tensor, where it logs
        self._read: list[tuple[Function, Arguments, Names]] = []  # what this call has read
        self._inner = 0  # calls within this call that are wrapped, too
        self._pass_s = 0.0  # what each of them takes longer for it
        self._now: list[tuple[dict[Any, list[Any]], Any, Any]] = []

    def prepare(self) -> None:
        """Measure what a call within another one takes longer for being wrapped."""

        def nothing(tensor: Any) -> None:
            pass

        wrapped = self.timed("nothing")(nothing)
        self._outer = "nothing"
        try:
            self._pass_s = max(0.0, _seconds(wrapped) - _seconds(nothing))
        finally:
            self._outer = None

    def end_step(self) -> None:
        """The calls since the last one belong to the step that has ended."""
        for where, key, value in self._now:
            where.setdefault(key, []).append(value)
        self._now.clear()

    def forget(self) -> None:
        """The calls since the last step belong to none."""
        self._now.clear()

    def add(self, where: dict[Any, list[Any]], key: Any, value: Any) -> None:
        """Something of the step that runs, for one of the dictionaries of `seen`."""
        self._now.append((where, key, value))

    def _show(self, kind: str, original: Function, args: Arguments, kwargs: Names, again: bool) -> Any:
        """A call that shows a tensor within one that logs."""
        self._shown = self._shown or kind
        if again:
            self._read.append((original, args, kwargs))
        self._outer = kind
        try:
            return original(*args, **kwargs)
        finally:
            self._outer = LOG

    def timed(
        self,
        kind: str,
        *,
        when: When | None = None,
        keep: Keep | None = None,
        lead: Callable[[], float] | None = None,
        own: bool = False,
        again: bool = False,
    ) -> Callable[[Function], Function]:
        """What wraps a function so that its calls from outside of torch are seen as calls of this kind.

        A tensor shown by a call that logs makes that call one of the kind of the showing: it is one thing
        that costs, and it has one fix.

        Args:
            kind: of `seen.calls`.
            when: which calls these are, by their arguments; None for all.
            keep: takes the line, the seconds, the result and the arguments of a call in the place of
                `seen.calls`.
            lead: the seconds that belong to the call and passed before it.
            own: only calls in the user's own files, not in libraries that these call.
            again: the call reads a tensor, its first argument, and can be made again.
        """
        from torch.compiler import is_compiling

        def make(original: Function) -> Function:
            def timed(*args: Any, **kwargs: Any) -> Any:
                if self._outer is not None:
                    if self._outer is LOG and kind is not LOG and get_ident() == self.thread:
                        return self._show(kind, original, args, kwargs, again)
                    self._inner += 1
                    return original(*args, **kwargs)
                if (
                    is_compiling()
                    or get_ident() != self.thread
                    or (when is not None and not when(args, kwargs))
                ):
                    return original(*args, **kwargs)
                caller = sys._getframe(1)
                file = caller.f_code.co_filename
                if of_torch(file) or (own and of_library(file)):
                    return original(*args, **kwargs)
                self._outer, self._shown = kind, None
                self._read, self._inner = [], 0
                before = 0.0 if lead is None else lead()
                began = perf_counter()
                try:
                    result = original(*args, **kwargs)
                except BaseException:
                    self._read = []  # nothing of the script's is kept alive
                    raise
                finally:
                    took = perf_counter() - began + before - self._inner * self._pass_s
                    self._outer = None
                line = user_line(caller)._replace(inside=package_of(file))
                if again:
                    self._read.append((original, args, kwargs))
                if keep is None:
                    key = (self._shown or kind, line)
                    self.add(self._seen.calls, key, took)
                    readings = [one for one in (Reading.of(*call) for call in self._read) if one is not None]
                    self._read = []
                    if readings:
                        self._seen.readings[key] = readings
                else:
                    keep(line, took, result, args, kwargs)
                return result

            return timed

        return make


def _seconds(function: Callable[[Any], Any]) -> float:
    """What a call takes, at best."""
    best = math.inf
    for _ in range(_BLOCKS):
        began = perf_counter()
        for _ in range(_CALLS):
            function(None)
        best = min(best, perf_counter() - began)
    return best / _CALLS
