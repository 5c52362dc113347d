"""Ctrl-C asks training to stop after the chunk it is in; a second one stops at once."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Interrupt:
    """Whether Ctrl-C was pressed."""

    def __init__(self) -> None:
        self.requested = False


@contextmanager
def interrupts() -> Iterator[Interrupt]:
    """Catch Ctrl-C while inside; do nothing outside the main thread, or where Ctrl-C is ignored."""
    interrupt = Interrupt()
    before = signal.getsignal(signal.SIGINT)
    # Python allows handlers in its main thread only; None is a handler that is not Python's.
    if threading.current_thread() is not threading.main_thread() or before in (None, signal.SIG_IGN):
        yield interrupt
        return

    def handle(signum: int, frame: FrameType | None) -> None:
        if interrupt.requested:
            signal.signal(signal.SIGINT, before)
            raise KeyboardInterrupt
        interrupt.requested = True

    signal.signal(signal.SIGINT, handle)
    try:
        yield interrupt
    finally:
        signal.signal(signal.SIGINT, before)
