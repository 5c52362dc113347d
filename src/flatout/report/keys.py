"""Single keys from the terminal, without waiting for Enter, and a terminal that is always given back.

On leaving, on Ctrl-C, on SIGTERM and SIGHUP, and while the program is stopped with Ctrl-Z, the terminal is as
it was. Where standard input is no terminal, or another program has it, there are no keys and waiting is just
waiting.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time
from abc import ABC, abstractmethod
from types import FrameType, TracebackType
from typing import Any, Final, Self

_SHOW_CURSOR: Final = "\x1b[?25h"
_HIDE_CURSOR: Final = "\x1b[?25l"
_POLL_SECONDS: Final = 0.05


class Keys(ABC):
    """A context; inside it `wait` listens.

    Attributes:
        heard: whether a key can end the wait.
    """

    heard = True

    @abstractmethod
    def wait(self, seconds: float) -> bool:
        """Wait; True as soon as q was pressed, False when the time is over."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass


class NoKeys(Keys):
    """Nobody can press a key."""

    heard = False

    def wait(self, seconds: float) -> bool:
        time.sleep(max(seconds, 0))
        return False


def keys() -> Keys:
    """The keys of this terminal, or none."""
    try:
        if not sys.stdin.isatty():
            return NoKeys()
    except (AttributeError, ValueError):  # closed, or replaced by something that is no file
        return NoKeys()
    return _keys_of_terminal()


def _ends(pressed: str) -> bool:
    return "q" in pressed.lower() or "\x04" in pressed  # Ctrl-D


if sys.platform == "win32":
    import msvcrt

    class _WindowsKeys(Keys):
        def wait(self, seconds: float) -> bool:
            end = time.monotonic() + seconds
            while True:
                while msvcrt.kbhit():
                    if _ends(msvcrt.getwch()):
                        return True
                left = end - time.monotonic()
                if left <= 0:
                    return False
                time.sleep(min(left, _POLL_SECONDS))

    def _keys_of_terminal() -> Keys:
        return _WindowsKeys()

else:
    import select
    import termios
    import tty

    class _PosixKeys(Keys):
        def __init__(self, terminal: int) -> None:
            self._terminal = terminal
            self._before: list[Any] = []
            self._handlers: dict[int, Any] = {}

        def __enter__(self) -> Self:
            self._before = termios.tcgetattr(self._terminal)
            if threading.current_thread() is threading.main_thread():
                handlers = {signal.SIGTERM: _leave, signal.SIGHUP: _leave, signal.SIGTSTP: self._pause}
                for number, handler in handlers.items():
                    if signal.getsignal(number) is signal.SIG_DFL:  # nohup ignores SIGHUP, and so do we then
                        self._handlers[number] = signal.signal(number, handler)
            tty.setcbreak(self._terminal)
            return self

        def __exit__(self, *_: object) -> None:
            self._give_back()
            for number, handler in self._handlers.items():
                signal.signal(number, handler)

        def wait(self, seconds: float) -> bool:
            end = time.monotonic() + seconds
            while True:
                left = end - time.monotonic()
                ready, _, _ = select.select([self._terminal], [], [], max(left, 0))
                if not ready:
                    return False
                try:
                    pressed = os.read(self._terminal, 64)
                except OSError:
                    return True  # the terminal is gone
                if not pressed or _ends(pressed.decode(errors="replace")):
                    return True

        def _give_back(self) -> None:
            with contextlib.suppress(termios.error):  # the terminal may be gone
                termios.tcsetattr(self._terminal, termios.TCSADRAIN, self._before)

        def _pause(self, number: int, frame: FrameType | None) -> None:
            """Ctrl-Z: the shell gets its terminal back until `fg`."""
            self._give_back()
            _say(_SHOW_CURSOR)
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)  # stops here
            signal.signal(number, self._pause)
            tty.setcbreak(self._terminal)
            _say(_HIDE_CURSOR)

    def _keys_of_terminal() -> Keys:
        terminal = sys.stdin.fileno()
        in_background = os.tcgetpgrp(terminal) != os.getpgrp()  # another program has the keys
        return NoKeys() if in_background else _PosixKeys(terminal)


def _leave(number: int, frame: FrameType | None) -> None:
    """Let every context on the way out give back what it took."""
    sys.exit(128 + number)


def _say(code: str) -> None:
    if sys.stdout.isatty():
        sys.stdout.write(code)
        sys.stdout.flush()
