"""`flatout devices` is one screen, what matters first; and one JSON document."""

import json
import subprocess
import sys

import pytest
import torch
from typer.testing import CliRunner

from flatout.cli.app import app
from flatout.hardware import measure


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("FLATOUT_CACHE", str(tmp_path))


def run(*arguments):
    result = CliRunner().invoke(app, ["devices", *arguments])
    assert result.exit_code == 0, result.output
    return result.stdout


@pytest.mark.parametrize("width", [80, 120])
def test_a_screen_says_first_what_trains_and_why(width, monkeypatch):
    monkeypatch.setenv("COLUMNS", str(width))
    lines = run().splitlines()
    assert lines[0].startswith("You train on ") and "because" in " ".join(lines[:2])
    assert [line for line in lines if line and not line.startswith(" ")][-4:] == [
        "CPU",
        "GPU",
        "torch",
        "health",
    ]
    assert all(len(line) <= width for line in lines if "$ " not in line)
    assert len(lines) < 60
    assert any(torch.__version__ in line for line in lines)


def test_json_is_one_document():
    document = json.loads(run("--json"))
    assert document["headline"].startswith("You train on ")
    assert {"cpu", "gpus", "torch", "health", "measured", "device"} <= set(document)
    assert document["cpu"]["threads"] >= 1


def test_measure_adds_peaks_and_they_stay(monkeypatch):
    monkeypatch.setattr(measure, "_SECONDS", 0.002)
    monkeypatch.setattr(measure, "_LARGEST_SIDE", 128)
    monkeypatch.setattr(measure, "_COPIED", 1 << 20)
    measured = json.loads(run("--measure", "--json"))["measured"]["cpu"]
    assert measured["products"]["float32"]["median"] > 0
    assert json.loads(run("--json"))["measured"]["cpu"] == measured
    assert "\nmeasured on cpu\n  " in run()


def test_where_output_goes_to_a_pipe_nothing_but_the_document_is_written():
    told = subprocess.run(
        [sys.executable, "-m", "flatout", "devices", "--json"], capture_output=True, text=True, check=True
    )
    assert json.loads(told.stdout) and told.stderr == ""
