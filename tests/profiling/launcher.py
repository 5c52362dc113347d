"""Starts `flatout` in forks of a process that has imported torch: the import takes longer than most scripts.

Run by itself it is that process: it reads a job as a line of JSON and answers with two, when the job has
begun and when it has ended.
"""

import atexit
import contextlib
import functools
import json
import os
import subprocess
import sys
import threading
import traceback
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Done:
    returncode: int
    stdout: str
    stderr: str

    @property
    def document(self):
        return json.loads(self.stdout.splitlines()[-1])


class Launcher:
    """`run(...)` as one would with `subprocess.run`, and `start(...)` for what must be ended."""

    def __init__(self, python=sys.executable):
        self._process = subprocess.Popen(
            [python, str(Path(__file__).resolve())], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def close(self):
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait()

    @contextmanager
    def start(self, *arguments, cwd, **environment):
        """Runs `flatout` with these arguments; gives its process id and a function that waits for the end."""
        cwd = Path(cwd)
        job = {"arguments": arguments, "cwd": str(cwd), "environment": {"COLUMNS": "110"} | environment}
        print(json.dumps(job), file=self._process.stdin, flush=True)
        number = self._answer()

        def wait():
            status = self._answer()
            return Done(status, (cwd / ".out").read_text(), (cwd / ".err").read_text())

        yield number, wait

    def run(self, *arguments, cwd, **environment):
        with self.start(*arguments, cwd=cwd, **environment) as (_, wait):
            return wait()

    def _answer(self):
        return json.loads(self._process.stdout.readline())


@functools.cache
def launcher():
    """The one of these tests."""
    launcher = Launcher()
    atexit.register(launcher.close)
    return launcher


def serve():
    import torch  # noqa: F401
    from typer.testing import CliRunner

    import flatout.report.profile_view  # noqa: F401
    from flatout.cli.app import app, main

    CliRunner().invoke(app, ["profile", "nothing.py"])  # imports what parsing takes

    answers = os.dup(1)
    for line in sys.stdin:
        job = json.loads(line)
        child = os.fork()
        if child == 0:
            os.close(answers)
            os.chdir(job["cwd"])
            os.environ.update(job["environment"])
            for name, descriptor in ((".out", 1), (".err", 2)):
                os.dup2(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), descriptor)
            os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
            sys.argv = ["flatout", *job["arguments"]]
            leave(main)
        os.write(answers, f"{child}\n".encode())
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        os.write(answers, f"{status}\n".encode())


def leave(main):
    """Run it and end the process as Python does, but for torch: what it has loaded takes seconds to go."""
    status = 0
    try:
        main()
    except SystemExit as error:
        status = error.code or 0
    except BaseException:  # noqa: BLE001
        traceback.print_exc()
        status = 1
    threading._shutdown()
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(ValueError, AttributeError):
            stream.flush()
    os._exit(status)


if __name__ == "__main__":
    serve()
