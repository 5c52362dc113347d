"""The machine as the doctor reads it: files, commands, environment, one child process.

The rest of the doctor reads through this class alone, so that a recorded machine can stand in for it.
"""

from __future__ import annotations

import json
import os
import platform
import stat
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flatout.hardware.doctor.evidence import DeviceFile

_COMMAND_TIMEOUT = 15.0


@dataclass(frozen=True)
class Answer:
    """What a command came to. `status` is None where it took too long."""

    status: int | None
    out: str = ""
    err: str = ""

    @property
    def text(self) -> str:
        """Both outputs, stripped: programs differ in where they complain."""
        return "\n".join(part for part in (self.out.strip(), self.err.strip()) if part)


class Machine:
    """This machine.

    Args:
        root: the folder its files are read under.
    """

    def __init__(self, root: Path = Path("/")) -> None:
        self.root = root

    @property
    def environment(self) -> Mapping[str, str]:
        return os.environ

    @property
    def platform(self) -> str:
        return sys.platform

    @property
    def architecture(self) -> str:
        return platform.machine()

    @property
    def release(self) -> str:
        return platform.mac_ver()[0] or platform.release()

    @property
    def python(self) -> str:
        return sys.executable

    @property
    def process_id(self) -> int:
        return os.getpid()

    @property
    def prefix(self) -> str:
        return sys.prefix

    def read(self, path: str) -> str | None:
        """The text of a file, or None where it cannot be read."""
        try:
            return self._at(path).read_bytes().decode("utf-8", "replace").strip("\0")
        except OSError:
            return None

    def exists(self, path: str) -> bool:
        return self._at(path).exists()

    def entries(self, path: str) -> list[str] | None:
        """The names in a folder in order, or None where it cannot be read."""
        try:
            return sorted(entry.name for entry in self._at(path).iterdir())
        except OSError:
            return None

    def link(self, path: str) -> str | None:
        """The name of what a link leads to, or None where it is no link."""
        try:
            return self._at(path).readlink().name
        except OSError:
            return None

    def resolve(self, path: str) -> str:
        """The path with its links followed, under the same root."""
        real = Path(os.path.realpath(self._at(path)))
        root = Path(os.path.realpath(self.root))
        return "/" + str(real.relative_to(root)) if real.is_relative_to(root) else str(real)

    def device_file(self, path: str) -> DeviceFile | None:
        """A device file with its mode and group; None where there is none. It is not opened."""
        try:
            about = self._at(path).stat()
        except OSError:
            return None
        return DeviceFile(path, mode=stat.filemode(about.st_mode), group=_group_name(about.st_gid))

    def groups(self) -> list[str]:
        """The groups of this process, by name."""
        if not hasattr(os, "getgroups"):  # Windows
            return []
        return sorted({_group_name(number) for number in (os.getegid(), *os.getgroups())})

    def run(self, *command: str, timeout: float = _COMMAND_TIMEOUT) -> Answer | None:
        """Run a command until it ends or the time is up; None where there is no such command."""
        try:
            child = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=dict(os.environ) | {"LC_ALL": "C"},
            )
        except OSError:
            return None
        with child:
            try:
                out, err = child.communicate(timeout=timeout)
                status: int | None = child.returncode
            except subprocess.TimeoutExpired:
                status, (out, err) = None, _stop(child)
        return Answer(status, out.decode("utf-8", "replace"), err.decode("utf-8", "replace"))

    def probe(self, timeout: float, torch: dict[str, Any] | None = None) -> Answer:
        """Run the probe in a child process, with what it said until the time was up.

        Args:
            timeout: seconds it may take.
            torch: what the probe would tell of torch, where that is known and can use no GPU.
        """
        script = str(Path(__file__).with_name("probe.py"))
        known = [] if torch is None else [json.dumps(torch)]
        answer = self.run(sys.executable, "-P", script, *known, timeout=timeout)
        return answer or Answer(-1, err=f"{sys.executable} cannot be started")

    def _at(self, path: str) -> Path:
        return self.root / path.lstrip("/")


def _stop(child: subprocess.Popen[bytes]) -> tuple[bytes, bytes]:
    """Kill a child; what it had said. One that hangs in the kernel cannot be killed and is left behind."""
    child.kill()
    try:
        return child.communicate(timeout=2)
    except subprocess.TimeoutExpired as still:
        for pipe in (child.stdout, child.stderr):
            if pipe is not None:
                pipe.close()
        child.returncode = -9  # or leaving its `with` would wait for it
        return still.output or b"", still.stderr or b""


def _group_name(number: int) -> str:
    try:
        import grp

        return grp.getgrgid(number).gr_name
    except (ImportError, KeyError):
        return str(number)
