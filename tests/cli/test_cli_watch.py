"""`flatout watch` as it is used: in a pipe, and on a terminal that must come back as it was."""

import json
import os
import select
import signal
import subprocess
import sys
import time

import pytest

WATCH = [sys.executable, "-m", "flatout", "watch"]
PATIENCE = 60  # seconds until a hanging test gives up


def watch(*arguments, status=0):
    done = subprocess.run(
        [*WATCH, *map(str, arguments)], capture_output=True, text=True, timeout=PATIENCE, check=False
    )
    assert "Traceback" not in done.stderr
    assert done.returncode == status, done.stderr
    return done


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--every", 0), "--every must be at least 0.1 seconds, but is 0"),
        (("--every", -1), "--every must be at least 0.1 seconds, but is -1"),
        (("--every", "nan"), "--every must be at least 0.1 seconds, but is nan"),
        (("--count", 0), "--count must be at least 1, but is 0"),
        (("--for", "soon"), "--for must be a time above 0 such as 60s, 5m or 1h, but is 'soon'"),
        (("--for", "0s"), "--for must be a time above 0"),
        (("--csv", "/no/such/folder/watch.csv"), "No such file or directory"),
    ],
)
def test_bad_input_is_one_message_and_status_2(arguments, message):
    done = watch(*arguments, status=2)
    assert message in " ".join(done.stderr.split())
    assert done.stdout == ""


def test_in_a_pipe_it_is_a_line_a_sample(tmp_path):
    path = tmp_path / "watch.csv"
    lines = watch("--every", 0.1, "--count", 3, "--csv", path).stdout.splitlines()
    assert lines[0].split()[:4] == ["time", "CPU", "core", "GiB"]
    assert len(lines) == 5
    assert lines[-1].startswith("watched 3 samples in ")
    assert len(path.read_text().splitlines()) == 4


def test_json_is_all_that_stands_on_standard_output():
    done = watch("--json", "--every", 0.1, "--for", "0.5s")
    documents = [json.loads(line) for line in done.stdout.splitlines()]
    assert documents[0]["cpu"]["memory_total_bytes"] > 0
    assert "watched" in done.stderr


on_linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="a Linux terminal")


class Terminal:
    """A child on a terminal of its own, of which we hold the other end."""

    def __init__(self, *arguments):
        import pty
        import termios

        self.ours, theirs = pty.openpty()
        self.theirs = theirs
        self._modes = lambda: termios.tcgetattr(theirs)
        termios.tcsetwinsize(theirs, (40, 100))
        self.before = self._modes()
        self.seen = ""
        self.process = subprocess.Popen(
            [sys.executable, "-c", _ON_ITS_OWN_TERMINAL, *WATCH, *arguments],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
            env={**os.environ, "TERM": "xterm"},
        )

    def wait_for(self, text):
        end = time.monotonic() + PATIENCE
        while text not in self.seen:
            assert time.monotonic() < end, self.seen
            if select.select([self.ours], [], [], 0.1)[0]:
                self.seen += os.read(self.ours, 65536).decode(errors="replace")

    def press(self, keys):
        os.write(self.ours, keys)

    def is_as_before(self):
        return self._modes() == self.before

    def ended(self):
        """The exit status."""
        end = time.monotonic() + PATIENCE
        while self.process.poll() is None:
            assert time.monotonic() < end, self.seen
            if select.select([self.ours], [], [], 0.05)[0]:
                self.seen += os.read(self.ours, 65536).decode(errors="replace")
        while select.select([self.ours], [], [], 0)[0]:
            self.seen += os.read(self.ours, 65536).decode(errors="replace")
        return self.process.returncode

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self.ours)
        os.close(self.theirs)


# The child takes the terminal as its controlling one, as a shell would give it.
_ON_ITS_OWN_TERMINAL = """
import fcntl, os, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execv(sys.argv[1], sys.argv[1:])
"""


@pytest.fixture
def terminal():
    opened = []

    def open_(*arguments):
        opened.append(Terminal(*arguments))
        return opened[-1]

    yield open_
    for each in opened:
        each.close()


@on_linux
@pytest.mark.parametrize("key", [b"q", b"Q", b"\x03", b"\x04"], ids=["q", "Q", "Ctrl-C", "Ctrl-D"])
def test_a_key_ends_it_and_the_terminal_is_as_before(terminal, key):
    watching = terminal("--every", "30")
    watching.wait_for("q ends")
    assert not watching.is_as_before()  # keys come without Enter
    watching.press(b"x")
    watching.press(key)
    assert watching.ended() == 0
    assert "watched 1 sample in 0 s: CPU mean" in watching.seen
    assert watching.is_as_before()
    assert watching.seen.rindex("\x1b[?25h") > watching.seen.rindex("\x1b[?25l")


@on_linux
def test_a_killed_watch_gives_the_terminal_back(terminal):
    watching = terminal("--every", "30")
    watching.wait_for("q ends")
    watching.process.send_signal(signal.SIGTERM)
    assert watching.ended() == 128 + signal.SIGTERM
    assert watching.is_as_before()
    assert watching.seen.rindex("\x1b[?25h") > watching.seen.rindex("\x1b[?25l")
    assert "Traceback" not in watching.seen


@on_linux
def test_ctrl_z_gives_the_terminal_back_for_the_time_and_goes_on(terminal):
    watching = terminal("--every", "30")
    watching.wait_for("q ends")
    watching.seen = ""
    # Nobody could continue a process without a shell, so the kernel does not stop it; it only thinks so.
    watching.process.send_signal(signal.SIGTSTP)
    watching.wait_for("\x1b[?25l")
    assert watching.seen.index("\x1b[?25h") < watching.seen.index("\x1b[?25l")
    watching.press(b"q")
    assert watching.ended() == 0
    assert watching.is_as_before()
