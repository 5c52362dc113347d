"""C source to a loaded library, kept so that the second time costs nothing.

Libraries lie in a folder only their user can write: `$FLATOUT_CACHE`, else `flatout` in the user's cache
folder. A library is named by the checksum of its source, its headers, the compiler and the CPU; beside it
lie the source, for reading, and the checksum of the library, without which it is not loaded.

To run C of your own: edit the kept source and name it in `$FLATOUT_SOURCE`. It runs in place of the source it
was made from, which its first line tells.
"""

from __future__ import annotations

import ctypes
import errno
import hashlib
import os
import shutil
import stat
import tempfile
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import flatout._version
from flatout.codegen.compiler import Compiler, CompilerFailedError, NoCompilerError, cpu, find_compiler

_HEADERS = ("flatout_kernels.h", "flatout_functions.h", "flatout_matmul.h", "flatout_random.h")
_HERE = Path(__file__).parent


class CacheError(Exception):
    """A folder or file of libraries cannot be used; the message says which and why."""


@dataclass(frozen=True)
class Built:
    """A library that is loaded.

    Attributes:
        library: the handle.
        source: the C file it was built from.
        fresh: whether it was built just now.
        edited: whether it is of the file in `$FLATOUT_SOURCE`.
    """

    library: ctypes.CDLL
    source: Path
    fresh: bool
    edited: bool = False


def build(source: str) -> Built:
    """The library of a C source, from the cache or the compiler.

    Raises:
        NoCompilerError: there is no compiler.
        CompilerFailedError: the compiler made no library of the source; the file is kept and named.
        CacheError: no folder can be written, or `$FLATOUT_SOURCE` cannot be read.
    """
    edit = edited_source()
    if edit is not None and edit.partition("\n")[0].strip() == source.partition("\n")[0].strip():
        return replace(_build(edit), edited=True)
    return _build(source)


def edited_source() -> str | None:
    """The text of the file in `$FLATOUT_SOURCE`, or None.

    Raises:
        CacheError: it cannot be read.
    """
    path = os.environ.get("FLATOUT_SOURCE")
    if not path:
        return None
    try:
        return Path(path).read_text()
    except (OSError, ValueError) as error:
        raise CacheError(f"FLATOUT_SOURCE is {path}, which cannot be read: {error}") from error


def _build(source: str) -> Built:
    compiler = find_compiler()
    key = _key(source, compiler)
    try:
        folder = cache_folder()
    except CacheError:
        return _build_aside(source, compiler)
    library, kept = folder / f"{key}.so", folder / f"{key}.c"
    if _is_sound(library):
        with suppress(OSError):  # where it cannot be loaded all the same, it is built anew
            return Built(ctypes.CDLL(str(library)), kept, fresh=False)
    try:
        _write_aside(kept, source.encode())
        with tempfile.TemporaryDirectory(dir=folder, prefix=".building-") as aside:
            fresh = Path(aside) / library.name
            compiler.build(kept, _HERE, fresh)
            checksum = hashlib.sha256(fresh.read_bytes()).hexdigest()
            fresh.chmod(0o600)
            fresh.replace(library)
            _write_aside(library.with_suffix(".sha256"), checksum.encode())
        return Built(ctypes.CDLL(str(library)), kept, fresh=True)
    except CompilerFailedError as error:
        if os.strerror(errno.ENOSPC) in str(error):
            return _build_aside(source, compiler)
        raise CompilerFailedError(f"the C compiler failed on {kept}: {error}") from None
    except OSError:  # the disk is full or read-only, or nothing on it may be run
        return _build_aside(source, compiler)


def foreseen_seconds(source: str) -> float:
    """About how long `build` will take: nothing where the library is kept, else by what is to be compiled.

    The numbers were fitted to gcc 12 on two cores.
    """
    try:
        if _is_sound(cache_folder() / f"{_key(source, find_compiler())}.so"):
            return 0.0
    except (CacheError, NoCompilerError):
        return 0.0  # build says what is wrong
    return 0.1 + 0.06 * source.count("fo_matmul") + 0.00085 * source.count("\n")


def cache_folder() -> Path:
    """The folder for libraries, made if need be.

    Raises:
        CacheError: it cannot be made or written, or others than this user can write to it.
    """
    wish = os.environ.get("FLATOUT_CACHE")
    base = os.environ.get("XDG_CACHE_HOME") or str(Path("~/.cache").expanduser())
    folder = Path(wish) if wish else Path(base) / "flatout" / "libraries"
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        status = folder.stat()
    except OSError as error:
        raise CacheError(f"{folder} cannot be made: {error.strerror}") from error
    if hasattr(os, "getuid") and status.st_uid != os.getuid():
        raise CacheError(f"{folder} belongs to another user: libraries from there are not loaded")
    if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise CacheError(f"others can write to {folder}: libraries from there are not loaded")
    if not os.access(folder, os.W_OK):
        raise CacheError(f"{folder} cannot be written")
    return folder


def _key(source: str, compiler: Compiler) -> str:
    checksum = hashlib.sha256()
    headers = [(_HERE / name).read_text() for name in _HEADERS]
    version = flatout._version.__version__
    for part in (source, *headers, *compiler.command, compiler.version, *compiler.flags, cpu(), version):
        checksum.update(part.encode())
        checksum.update(b"\0")
    return checksum.hexdigest()[:32]


def _is_sound(library: Path) -> bool:
    """Whether a kept library is the one that was written, by this user."""
    try:
        status = library.lstat()
        if not stat.S_ISREG(status.st_mode) or (hasattr(os, "getuid") and status.st_uid != os.getuid()):
            return False
        if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            return False
        noted = library.with_suffix(".sha256").read_text().strip()
        return hashlib.sha256(library.read_bytes()).hexdigest() == noted
    except OSError:
        return False


def _write_aside(path: Path, content: bytes) -> None:
    handle, aside = tempfile.mkstemp(dir=path.parent, prefix=".writing-")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        Path(aside).replace(path)
    except OSError:
        Path(aside).unlink(missing_ok=True)
        raise


def _build_aside(source: str, compiler: Compiler) -> Built:
    """Without a cache: built in a temporary folder, which stays only where the compiler fails."""
    try:
        folder = Path(tempfile.mkdtemp(prefix="flatout-"))
        path = folder / "step.c"
        path.write_text(source)
    except OSError as error:
        raise CacheError(f"there is no folder to build a library in: {error.strerror or error}") from error
    library = path.with_suffix(".so")
    try:
        compiler.build(path, _HERE, library)
        loaded = ctypes.CDLL(str(library))
    except CompilerFailedError as error:
        raise CompilerFailedError(f"the C compiler failed on {path}: {error}") from None
    except OSError as error:
        raise CompilerFailedError(
            f"what the C compiler {compiler.command[0]} made of {path} cannot be loaded: {error}"
        ) from error
    shutil.rmtree(folder, ignore_errors=True)
    return Built(loaded, path, fresh=True)
