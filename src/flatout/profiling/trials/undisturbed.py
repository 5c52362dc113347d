"""Run a person's code again without a trace: what it draws, prints, writes and sets is undone or refused."""

from __future__ import annotations

import io
import logging
import os
import random
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout
from typing import Any, Final

from flatout.profiling.trials.open_files import nothing_reaches_open_files

_WRITES: Final = frozenset("wax+")
_WRITE_FLAGS: Final = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_REFUSED: Final = (
    *(
        f"os.{name}"
        for name in ("remove", "rename", "mkdir", "rmdir", "link", "symlink", "truncate", "chmod")
    ),
    *(f"os.{name}" for name in ("chown", "utime", "system", "exec", "posix_spawn", "fork", "forkpty")),
    *(f"os.{name}" for name in ("kill", "killpg", "putenv", "unsetenv", "chdir", "startfile")),
    *("shutil.copyfile", "shutil.move", "shutil.rmtree", "tempfile.mkstemp", "tempfile.mkdtemp"),
    *("subprocess.Popen", "socket.connect", "socket.bind", "socket.sendto", "sqlite3.connect"),
)


class WritesError(PermissionError):
    """The model's forward writes a file, or reaches beyond this process."""


class _Guard:
    """An audit hook cannot be taken away again, so there is one, which is asleep most of the time."""

    def __init__(self) -> None:
        self.thread: int | None = None
        self._there = False

    def wake(self) -> None:
        if not self._there:
            sys.addaudithook(self._hear)
            self._there = True
        self.thread = threading.get_ident()

    def _hear(self, event: str, args: tuple[Any, ...]) -> None:
        if self.thread != threading.get_ident():
            return
        if event == "open":
            path, mode, flags = args
            by_mode = isinstance(mode, str) and not _WRITES.isdisjoint(mode)
            if path != os.devnull and (by_mode or (isinstance(flags, int) and flags & _WRITE_FLAGS)):
                raise WritesError(f"it opens {path!r} to write to it")
        elif event in _REFUSED:
            raise WritesError(f"it calls {event}")


_GUARD: Final = _Guard()


@contextmanager
def undisturbed() -> Iterator[None]:
    """Within it, this thread's code prints nowhere and reads no input, and files cannot be written.

    Afterwards the random numbers of torch, NumPy and Python go on where they were, and gradients, threads,
    the default type, warnings and logging are what they were. Torch must be loaded.

    Raises:
        AbstainError: files are open that another thread may be writing to.
    """
    with ExitStack() as stack:
        stack.enter_context(random_numbers_kept())
        stack.enter_context(_settings())
        stack.enter_context(warnings.catch_warnings())
        warnings.simplefilter("ignore")
        stack.enter_context(_logging_off())
        stack.enter_context(nothing_reaches_open_files())
        stack.enter_context(redirect_stdout(_Nowhere()))
        stack.enter_context(redirect_stderr(_Nowhere()))
        stack.enter_context(_no_input())
        stack.enter_context(_no_writing())
        yield


class _Nowhere(io.TextIOBase):
    def write(self, text: str) -> int:
        return len(text)

    def writable(self) -> bool:
        return True


@contextmanager
def _no_writing() -> Iterator[None]:
    import torch

    def refused(*args: Any, **kwargs: Any) -> None:
        raise WritesError("it calls torch.save")  # which opens files in C++, unheard

    save, bytecode = torch.save, sys.dont_write_bytecode
    torch.save, sys.dont_write_bytecode = refused, True
    _GUARD.wake()
    try:
        yield
    finally:
        _GUARD.thread = None
        torch.save, sys.dont_write_bytecode = save, bytecode


@contextmanager
def _no_input() -> Iterator[None]:
    original, sys.stdin = sys.stdin, io.StringIO()
    try:
        yield
    finally:
        sys.stdin = original


@contextmanager
def _logging_off() -> Iterator[None]:
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(before)


@contextmanager
def random_numbers_kept() -> Iterator[None]:
    """Every global stream of random numbers goes on afterwards where it was."""
    import torch

    numpy = sys.modules.get("numpy")
    on_host, python = torch.get_rng_state(), random.getstate()
    of_numpy = numpy.random.get_state() if numpy is not None else None
    on_gpus = torch.cuda.get_rng_state_all() if _uses_cuda() else None
    on_mps = torch.mps.get_rng_state() if torch.backends.mps.is_available() else None
    try:
        yield
    finally:
        torch.set_rng_state(on_host)
        random.setstate(python)
        if numpy is not None:
            numpy.random.set_state(of_numpy)
        if on_gpus is not None:
            torch.cuda.set_rng_state_all(on_gpus)
        if on_mps is not None:
            torch.mps.set_rng_state(on_mps)


def _uses_cuda() -> bool:
    import torch

    return bool(torch.cuda.is_initialized())  # type: ignore[no-untyped-call]


@contextmanager
def _settings() -> Iterator[None]:
    """What experiments set in torch for longer than a context, and a forward that fails may leave behind."""
    import torch

    threads, dtype = torch.get_num_threads(), torch.get_default_dtype()
    try:
        with torch.enable_grad():
            yield
    finally:
        if torch.get_num_threads() != threads:
            torch.set_num_threads(threads)
        torch.set_default_dtype(dtype)
