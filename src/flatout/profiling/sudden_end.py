"""Ends of a process that no `finally` sees: `os._exit`, and SIGTERM."""

from __future__ import annotations

import atexit
import contextlib
import os
import signal
import sys
import threading
from collections.abc import Callable
from types import FrameType
from typing import NoReturn

from flatout.profiling.patches import Function, Patches
from flatout.profiling.run_script import Outcome


class SuddenEnd:
    """Calls `report` before this process ends so, between `watch` and `stop`; not in its forks.

    Args:
        report: told how the script ended.
    """

    def __init__(self, report: Callable[[Outcome], None]) -> None:
        self._report = report
        self._process = os.getpid()
        self._patches = Patches()
        self._handling = False

    def watch(self) -> None:
        """Begin. A handler of SIGTERM that is there already stays."""
        self._patches.wrap(os, "_exit", self._exit)
        main = threading.current_thread() is threading.main_thread()
        if main and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
            signal.signal(signal.SIGTERM, self._terminated)
            self._handling = True

    def stop(self) -> None:
        """End; this, too, in a fork."""
        self._patches.restore()
        if self._handling and signal.getsignal(signal.SIGTERM) == self._terminated:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
        self._handling = False

    def now(self, outcome: Outcome) -> NoReturn:
        """End the process as Python would, but for what still holds on to it."""
        atexit._run_exitfuncs()
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(Exception):
                stream.flush()
        self.stop()
        try:
            self._report(outcome)
        finally:
            os._exit(outcome.status)

    def _exit(self, original: Function) -> Function:
        def leave(status: int) -> None:
            if os.getpid() == self._process:
                self.stop()
                try:
                    self._report(Outcome(status & 0xFF, "exited"))
                finally:
                    original(status)
            original(status)

        return leave

    def _terminated(self, number: int, frame: FrameType | None) -> None:
        """It dies of the signal, as it would without a handler."""
        self.stop()
        try:
            if os.getpid() == self._process:
                self._report(Outcome(128 + number, "terminated"))
        finally:
            os.kill(os.getpid(), number)
