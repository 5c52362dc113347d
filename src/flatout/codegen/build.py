"""C source to a loaded library, kept so that the second time costs nothing.

Libraries lie in a folder only their user can write: `$FLATOUT_CACHE`, else `flatout` in the user's cache
folder. A library is named by the checksum of its source, its headers, the compiler and the CPU; beside it
lie the source, for reading, and the checksum of the library, without which it is not loaded.

To run C of your own: edit the kept source and name it in `$FLATOUT_SOURCE`.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import stat
import tempfile
from dataclasses import dataclass
from pathlib import Path

import flatout._version
from flatout.codegen.compiler import Compiler, CompilerFailedError, cpu, find_compiler

_HEADERS = ("flatout_kernels.h", "flatout_matmul.h")
_HERE = Path(__file__).parent


class CacheError(Exception):
    """The folder for libraries cannot be used; the message says why."""


@dataclass(frozen=True)
class Built:
    """A library that is loaded.

    Attributes:
        library: the handle.
        source: the C file it was built from.
        fresh: whether it was built just now.
    """

    library: ctypes.CDLL
    source: Path
    fresh: bool


def build(source: str) -> Built:
    """The library of a C source, from the cache or the compiler.

    Raises:
        NoCompilerError: there is no compiler, and the library is not kept.
        CompilerFailedError: the compiler did not accept the source; the file is kept and named.
    """
    edited = os.environ.get("FLATOUT_SOURCE")
    if edited:
        source = Path(edited).read_text()
    compiler = find_compiler()
    key = _key(source, compiler)
    try:
        folder = cache_folder()
    except CacheError:
        return _build_aside(source, compiler)
    library, kept = folder / f"{key}.so", folder / f"{key}.c"
    if _is_sound(library):
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
    except CompilerFailedError as error:
        raise CompilerFailedError(f"the C compiler failed on {kept}:\n{error}") from None
    except OSError:
        return _build_aside(source, compiler)
    return Built(ctypes.CDLL(str(library)), kept, fresh=True)


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
    """Without a cache: built in a temporary folder that is gone when the library is loaded."""
    with tempfile.TemporaryDirectory(prefix="flatout-") as folder:
        path = Path(folder) / "step.c"
        path.write_text(source)
        library = path.with_suffix(".so")
        compiler.build(path, _HERE, library)
        return Built(ctypes.CDLL(str(library)), path, fresh=True)
