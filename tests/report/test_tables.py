import io
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from flatout.report.tables import run_summary, runs_table


def shown(renderable, width=100):
    stream = io.StringIO()
    Console(file=stream, width=width, color_system=None).print(renderable)
    return stream.getvalue()


ROW = {
    "run": "2024-05-01-iris-1",
    "task": "iris",
    "plan": "eager",
    "device": "cpu",
    "steps": 20_000,
    "time": 2.41,
    "loss": 0.0603123,
    "metric": "accuracy 96.7 %",
    "status": "done",
}


def test_runs_table_shows_each_value_in_its_form():
    lines = shown(runs_table([ROW])).splitlines()
    words = [
        "2024-05-01-iris-1",
        "iris",
        "eager",
        "cpu",
        "20,000",
        "2.41 s",
        "0.06031",
        "accuracy",
        "done",
    ]
    assert " ".join(lines[2].split()) == " ".join(words)
    assert lines[3].split() == ["96.7", "%"]


def test_what_a_run_does_not_know_is_a_dash_and_names_are_no_markup():
    line = shown(runs_table([{"run": "[bold]a[/]", "loss": None, "metric": 0.5}])).splitlines()[2]
    assert line.split() == ["[bold]a[/]", "–", "–", "–", "–", "–", "–", "0.5", "–"]


@pytest.mark.parametrize("width", [60, 80, 120])
def test_a_narrow_terminal_keeps_the_numbers_whole(width):
    output = shown(runs_table([ROW]), width)
    assert all(len(line) <= width for line in output.splitlines())
    for number in ("20,000", "2.41 s", "0.06031"):
        assert number in output


def summary(**changed):
    values = {
        "name": "iris",
        "steps": 20_000,
        "seconds": 2.4,
        "device": "cpu",
        "plan": "eager",
        "losses": np.geomspace(1.135, 0.0603, 20_000),
    }
    return shown(run_summary(**{**values, **changed}), width=110)


def test_run_summary_says_the_verdict_first():
    verdict, loss, picture, run = summary(
        metrics={"accuracy": 0.967}, picture=Path("runs/1/loss.png"), directory="runs/1"
    ).splitlines()
    assert verdict == (
        "iris trained: loss 0.0603, accuracy 96.7 % after 20,000 steps in 2.4 s (120 µs a step, cpu, eager)"
    )
    assert loss.startswith("█")
    assert loss.endswith("▁  loss 1.135 → 0.0603 (log scale)")
    assert picture.split() == ["picture", "runs/1/loss.png"]
    assert run.split() == ["run", "runs/1"]


def test_run_summary_leaves_out_what_is_not_there():
    assert summary(losses=[], steps=0, seconds=None, verdict="interrupted") == (
        "iris interrupted: loss – after 0 steps in – (cpu, eager)\n"
    )
    assert "loss NaN" in summary(losses=[float("nan")], verdict="diverged")


def test_a_long_path_is_shown_whole():
    path = "/" + "long/" * 40 + "loss.png"
    output = summary(picture=path)
    assert path in "".join(line[9:] for line in output.splitlines()[2:])
