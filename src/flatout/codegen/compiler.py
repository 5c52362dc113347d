"""The C compiler of this machine, and how it is called."""

from __future__ import annotations

import functools
import importlib.util
import os
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

# NaN and infinity are as in eager: nothing here lets the compiler assume that there are none.
FLAGS = (
    "-O3",
    "-std=gnu11",
    "-shared",
    "-fPIC",
    "-fno-math-errno",
    "-fno-trapping-math",
    "-fassociative-math",
    "-fno-signed-zeros",
    "-freciprocal-math",
    "-ffp-contract=fast",
    "-Wno-unknown-pragmas",
)
# Passes of GCC that put jumps into loops that are vectors without them; clang knows no such flags.
_GCC_FLAGS = ("-fno-tree-pre", "-fno-thread-jumps")
_CANDIDATES = ("cc", "gcc", "clang")


class NoCompilerError(Exception):
    """There is no C compiler; the message says what was looked for."""


class CompilerFailedError(Exception):
    """The compiler made no library of the source; the message is the compiler's."""


@dataclass(frozen=True)
class Compiler:
    """A C compiler.

    Attributes:
        command: how it is called.
        version: the first line of what it says of itself.
        flags: its flags on this machine.
    """

    command: tuple[str, ...]
    version: str
    flags: tuple[str, ...]

    def build(self, source: Path, include: Path, library: Path) -> None:
        """Compile a source into a shared library.

        Raises:
            CompilerFailedError: it did not accept the source, or wrote no library.
        """
        call = [*self.command, *self.flags, f"-I{include}", str(source), "-o", str(library), "-lm"]
        try:
            done = subprocess.run(call, capture_output=True, text=True, errors="replace", check=False)
        except OSError as error:
            raise CompilerFailedError(f"{self.command[0]} cannot be run: {error.strerror}") from error
        if done.returncode != 0 or not library.exists():
            said = (done.stderr or done.stdout).strip() or "it said nothing and wrote no library"
            gist = next((line for line in said.splitlines() if "error" in line.lower()), said.splitlines()[0])
            raise CompilerFailedError(f"{gist}\n{shlex.join(call)}\n{said}")


def find_compiler() -> Compiler:
    """`$CC`, else cc, gcc or clang, else the compiler of the `ziglang` package.

    Raises:
        NoCompilerError: there is none of these, or `$CC` cannot be run.
    """
    return _found(os.environ.get("CC"), os.environ.get("PATH"))


@functools.cache
def _found(wish: str | None, path: str | None) -> Compiler:
    if wish:
        try:
            compiler = _tried(tuple(shlex.split(wish)))
        except ValueError:  # quotes that do not close
            compiler = None
        if compiler is None:
            raise NoCompilerError(
                f"CC is {wish!r}, but that cannot be run as a C compiler: set it to one, or unset it"
            )
        return compiler
    for name in _CANDIDATES:
        if shutil.which(name) and (compiler := _tried((name,))):
            return compiler
    if importlib.util.find_spec("ziglang") and (compiler := _tried((sys.executable, "-m", "ziglang", "cc"))):
        return compiler
    raise NoCompilerError(
        f"there is no C compiler: looked for {', '.join(_CANDIDATES)} and the package ziglang; "
        "install gcc or clang, or pip install ziglang"
    )


def _tried(command: tuple[str, ...]) -> Compiler | None:
    try:
        done = subprocess.run(
            [*command, "--version"], capture_output=True, text=True, errors="replace", check=False, timeout=30
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    if done.returncode != 0:
        return None
    version = done.stdout.strip().splitlines()[0] if done.stdout.strip() else ""
    flags: tuple[str, ...] = FLAGS
    native = "-mcpu=native" if os.uname().machine in ("arm64", "aarch64") else "-march=native"
    flags = (*flags, native) if "clang" in done.stdout else (*flags, *_GCC_FLAGS, native)
    if "512" in _vector_hint():
        flags = (*flags, "-mprefer-vector-width=512")
    return Compiler(command, version, flags)


@functools.cache
def cpu() -> str:
    """What this CPU can do, so that a library is not loaded on another kind."""
    info = Path("/proc/cpuinfo")
    if info.exists():
        lines = info.read_text().splitlines()
        wanted = ("model name", "flags", "Features", "CPU part")
        return "\n".join(next((row for row in lines if row.startswith(key)), "") for key in wanted)
    return f"{os.uname().sysname} {os.uname().machine} {os.uname().release}"


def _vector_hint() -> str:
    return "512" if "avx512f" in cpu() else ""
