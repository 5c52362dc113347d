"""Lines that print, log or save. Files that a script writes by itself, or through `csv`, cannot be seen."""

from __future__ import annotations

import builtins
import logging
import sys
from threading import get_ident
from time import perf_counter
from typing import Any, Final

from flatout.profiling.patches import Function, Patches
from flatout.profiling.watch.calls import LOG, Calls

# Where a module is loaded: (module, class or "", function).
_LOGS: Final = tuple(
    (module, "SummaryWriter", f"add_{what}")
    for module in ("torch.utils.tensorboard.writer", "tensorboardX.writer")
    for what in ("scalar", "scalars", "histogram", "image", "images", "figure", "text", "graph", "embedding")
)
_SAVES: Final = (
    ("torch", "", "save"),
    *(("numpy", "", name) for name in ("save", "savez", "savez_compressed", "savetxt")),
    ("safetensors.torch", "", "save_file"),
    ("safetensors.torch", "", "save_model"),
    ("matplotlib.figure", "Figure", "savefig"),
    ("json", "", "dump"),
    ("pickle", "", "dump"),
)


def watch_output(patches: Patches, calls: Calls) -> None:
    """Begin to watch."""
    patches.wrap(builtins, "print", calls.timed(LOG))
    _Logging(calls).watch(patches)
    for kind, places in ((LOG, _LOGS), ("save", _SAVES)):
        for module, owner, name in places:
            place = sys.modules.get(module)
            if place is not None and owner:
                place = getattr(place, owner, None)
            if hasattr(place, name):
                patches.wrap(place, name, calls.timed(kind))


class _Logging:
    """Times messages of `logging` that are emitted.

    A frame of flatout's between the caller and `Logger.findCaller` would be taken for the caller. So the
    time is taken where the logger has said that it takes the level, and the call where it handles the record.
    """

    def __init__(self, calls: Calls) -> None:
        self._calls = calls
        self._began: float | None = None

    def watch(self, patches: Patches) -> None:
        patches.wrap(logging.Logger, "isEnabledFor", self._enabled)
        patches.wrap(logging.Logger, "handle", self._calls.timed(LOG, lead=self._lead))

    def _enabled(self, original: Function) -> Function:
        def enabled(*args: Any, **kwargs: Any) -> Any:
            answer = original(*args, **kwargs)
            if get_ident() == self._calls.thread:
                self._began = perf_counter()
            return answer

        return enabled

    def _lead(self) -> float:
        began, self._began = self._began, None
        return 0.0 if began is None else perf_counter() - began
