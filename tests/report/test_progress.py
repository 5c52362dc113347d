import io
import os
import subprocess
import sys
import textwrap
import time

import pytest
from rich.console import Console

from flatout.report.progress import Bar, Lines, Progress, Silent, progress_for

HIDE_CURSOR, SHOW_CURSOR = "\x1b[?25l", "\x1b[?25h"


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


class Terminal(io.StringIO):
    def isatty(self):
        return True


def bar_on(stream, clock=time.perf_counter, width=80):
    console = Console(
        file=stream,
        force_terminal=True,
        width=width,
        height=24,
        color_system=None,
        _environ={"TERM": "xterm"},
    )
    return Bar(console, clock=clock)


def start_iris(progress, total_steps=20_000):
    progress.start(name="iris", plan="eager", device="cpu", total_steps=total_steps)


def test_lines_are_rare_and_end_with_one():
    stream, clock = io.StringIO(), Clock()
    progress = Lines(stream, clock=clock)
    start_iris(progress)
    for done in range(800, 20_001, 800):
        clock.now += 0.4
        progress.chunk(done=done, steps=800, seconds=0.1, loss=0.2134)
        progress.validated(step=done, metrics={"accuracy": 0.967})
    progress.finish()
    assert stream.getvalue().splitlines() == [
        "iris  step 10,400/20,000  loss 0.2134  8,000 steps/s  cpu eager  accuracy 96.7 %  1.2 s left",
        "iris  step 20,000/20,000  loss 0.2134  8,000 steps/s  cpu eager  accuracy 96.7 %  took 10 s",
    ]


def test_lines_without_a_total_say_that_the_time_is_unknown():
    stream, clock = io.StringIO(), Clock()
    progress = Lines(stream, clock=clock)
    start_iris(progress, total_steps=None)
    clock.now = 6.0
    progress.chunk(done=800, steps=800, seconds=0.1, loss=float("nan"))
    assert stream.getvalue() == ("iris  step 800  loss NaN  8,000 steps/s  cpu eager  time left unknown\n")


def test_the_bar_shows_everything_in_80_columns():
    stream, clock = io.StringIO(), Clock()
    progress = bar_on(stream, clock)
    start_iris(progress)
    progress.validated(step=0, metrics={"accuracy": 0.967})
    clock.now = 0.2
    progress.chunk(done=8000, steps=800, seconds=0.1, loss=0.21341)
    for words in (
        "iris",
        "8,000/20,000",
        "1.5 s left",
        "8,000 steps/s",
        "loss 0.2134",
        "cpu · eager",
        "96.7 %",
    ):
        assert words in stream.getvalue()
    progress.finish("saved")
    assert "took 200 ms" in stream.getvalue()
    assert stream.getvalue().endswith("saved\n")


def test_the_bar_draws_at_most_eight_times_a_second():
    stream, clock = io.StringIO(), Clock()
    progress = bar_on(stream, clock)
    start_iris(progress)
    for done in range(1000):
        clock.now += 0.001
        progress.chunk(done=done, steps=1, seconds=0.001, loss=1.0)
    progress.finish()
    assert stream.getvalue().count("loss") <= 1 + 8 + 1  # start, one second, finish


@pytest.mark.parametrize("width", [20, 40, 80, 200])
def test_the_bar_keeps_to_two_lines_of_the_terminal(width):
    stream = io.StringIO()
    progress = bar_on(stream, width=width)
    start_iris(progress)
    progress.finish()
    drawn = stream.getvalue().split(HIDE_CURSOR)[1].split("\r")[0]
    assert drawn.count("\n") == 1
    assert all(len(line) <= width for line in drawn.splitlines())


def test_the_bar_pulses_without_a_total_and_stands_still_at_the_end():
    stream = io.StringIO()
    progress = bar_on(stream)
    start_iris(progress, total_steps=None)
    assert "time left unknown" in stream.getvalue()
    progress.chunk(done=5, steps=5, seconds=0.1, loss=1.0)
    progress.finish()
    assert "took" in stream.getvalue()


def test_a_bar_of_no_steps_can_be_drawn():
    progress = bar_on(io.StringIO())
    start_iris(progress, total_steps=0)
    progress.finish()


def test_the_bar_gives_the_cursor_back_after_an_exception_and_can_finish_twice():
    stream = io.StringIO()
    progress = bar_on(stream)
    with pytest.raises(KeyboardInterrupt):
        try:
            start_iris(progress)
            assert HIDE_CURSOR in stream.getvalue()
            raise KeyboardInterrupt
        finally:
            progress.finish()
    assert stream.getvalue().rindex(SHOW_CURSOR) > stream.getvalue().rindex(HIDE_CURSOR)
    length = len(stream.getvalue())
    progress.finish()
    assert len(stream.getvalue()) == length
    start_iris(progress)  # and can be used again
    progress.finish()


def test_notes_stand_above_the_bar_and_are_no_markup():
    stream = io.StringIO()
    progress = bar_on(stream)
    start_iris(progress)
    progress.note("plan [bold] is [/] off")
    progress.finish()
    assert "plan [bold] is [/] off\n" in stream.getvalue()


@pytest.mark.skipif(os.name != "posix", reason="needs a pseudo-terminal")
def test_the_cursor_comes_back_even_where_nobody_calls_finish():
    script = """
        from flatout.report.progress import Bar, progress_for
        progress = progress_for()
        assert isinstance(progress, Bar)
        progress.start(name="iris", plan="eager", device="cpu", total_steps=10)
        print("to the pipe")
        raise KeyboardInterrupt
    """
    ours, theirs = os.openpty()
    environment = {**os.environ, "TERM": "xterm-256color"}
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(script)],
        stdout=subprocess.PIPE,
        stderr=theirs,
        env=environment,
    )
    os.close(theirs)
    seen = b""
    try:
        while piece := os.read(ours, 65536):
            seen += piece
    except OSError:  # how Linux says that the other end is closed
        pass
    output, _ = process.communicate()
    os.close(ours)
    assert output == b"to the pipe\n"  # what the user prints is not drawn into
    shown = seen.decode()
    assert HIDE_CURSOR in shown
    assert shown.rindex(SHOW_CURSOR) > shown.rindex(HIDE_CURSOR)


@pytest.mark.parametrize("progress", [Lines(io.StringIO()), bar_on(io.StringIO()), Silent()])
def test_nothing_goes_wrong_before_the_start(progress: Progress):
    progress.chunk(done=1, steps=1, seconds=0.1, loss=1.0)
    progress.validated(step=1, metrics={})
    progress.note("hello")
    progress.finish("bye")
    progress.finish()


def test_progress_for_picks_by_stream(monkeypatch, capsys):
    monkeypatch.setenv("TERM", "xterm")
    assert isinstance(progress_for(Terminal()), Bar)
    assert isinstance(progress_for(io.StringIO()), Lines)
    assert isinstance(progress_for(Terminal(), quiet=True), Silent)
    assert isinstance(progress_for(), Lines)  # pytest captures stderr
    monkeypatch.setenv("TERM", "dumb")
    assert isinstance(progress_for(Terminal()), Lines)
    monkeypatch.setattr("sys.stderr", None)
    assert isinstance(progress_for(), Silent)


def test_silent_shows_nothing(capsys):
    progress = progress_for(quiet=True)
    start_iris(progress)
    progress.chunk(done=1, steps=1, seconds=0.1, loss=1.0)
    progress.finish("done")
    assert capsys.readouterr() == ("", "")
