"""`flatout graph` shows a step as people can read it."""

import json
import shutil

import pytest
from typer.testing import CliRunner

from flatout.cli.app import app
from flatout.hardware import peaks
from flatout.hardware.peaks import Peaks

WIDTH = 80


@pytest.fixture(autouse=True)
def measured(tmp_path, monkeypatch):
    """Peaks without a measurement, and a cache of its own."""
    monkeypatch.setenv("FLATOUT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("COLUMNS", str(WIDTH))
    known = Peaks("a processor", 1e11, 1e10, 1e11, 2, "2026-01-01", "torch")
    monkeypatch.setattr(peaks, "measure", lambda device: known)


def run(*arguments):
    result = CliRunner().invoke(app, ["graph", *arguments])
    assert result.exit_code == 0, result.output
    return result


def test_the_first_line_is_the_verdict():
    lines = run("iris").stdout.splitlines()
    assert lines[0] == "iris: one step does 52.6 kFLOP in 39 launches; this CPU could do it in 526 ns"
    assert all(len(line.rstrip()) <= WIDTH for line in lines)


def test_operators_are_grouped_by_phase_and_layer():
    words = [line.split() for line in run("iris").stdout.splitlines() if line.strip()]
    phases = [row[0] for row in words if row[0] in ("forward", "backward", "update")]
    assert phases == ["forward", "backward", "update"]
    first = next(row for row in words if row[0] == "fc1")
    assert first == ["fc1", "addmm", "10,800", "6.92", "kB", "1"]
    assert {"computing", "moving", "floor", "memory"} <= {row[0] for row in words}
    floor = next(row for row in words if row[0] == "floor")
    assert floor[1:3] == ["526", "ns"] and " ".join(floor[-4:]) == "arithmetic is the bottleneck"


def test_memory_is_the_bottleneck_where_moving_takes_longer(monkeypatch):
    slow = Peaks("a processor", 1e12, 1e6, 1e6, 2, "2026-01-01", "torch")
    monkeypatch.setattr(peaks, "measure", lambda device: slow)
    assert "the larger of the two: memory is the bottleneck" in run("iris").stdout


def test_options_of_the_task_count():
    assert "one step does 1.39 MFLOP" in run("digits", "--batch-size", "64").stdout


def test_json():
    document = json.loads(run("iris", "--json").stdout)
    assert document["task"] == "iris"
    assert document["launches"] == sum(row["launches"] for row in document["layers"])
    assert document["flops"] == sum(row["flops"] for row in document["layers"])
    assert document["floor_us"] == pytest.approx(document["flops"] / 1e11 * 1e6)
    assert document["peaks"]["measured"] == "2026-01-01"


@pytest.mark.skipif(not any(map(shutil.which, ("cc", "gcc", "clang"))), reason="there is no C compiler")
def test_the_code_is_the_file_that_is_kept(tmp_path):
    result = run("iris", "--code")
    (kept,) = (tmp_path / "cache").glob("*.c")
    assert result.stdout.strip() == kept.read_text().strip()
    assert "fc1" in result.stdout
    assert str(kept) in result.stderr
    assert "FLATOUT_SOURCE=step.c flatout train iris --plan native" in result.stderr


def test_without_a_compiler_the_code_is_shown_and_the_reason_said(monkeypatch):
    monkeypatch.setenv("CC", "/no/such/compiler")
    result = run("iris", "--code")
    assert "for (long step = 0" in result.stdout
    assert "CC is '/no/such/compiler'" in result.stderr


def test_a_step_that_cannot_be_traced_is_refused(tmp_path):
    path = tmp_path / "looks.py"
    path.write_text(
        "import torch\nfrom flatout import Task\n"
        "class Looks(torch.nn.Linear):\n"
        "    def forward(self, x):\n"
        "        return super().forward(x) * (2 if x.sum() > 0 else 1)\n"
        "def task():\n"
        "    model = Looks(3, 2)\n"
        "    return Task(model=model, data=(torch.ones(4, 3), torch.ones(4, 2)), epochs=1,\n"
        "                loss=torch.nn.MSELoss(), optimizer=torch.optim.SGD(model.parameters(), lr=0.1))\n"
    )
    result = CliRunner().invoke(app, ["graph", str(path)])
    assert result.exit_code != 0
    assert "cannot be traced at looks.py:5" in str(result.exception)
