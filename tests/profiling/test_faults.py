"""Scripts with planted faults: each is found, at its line, and not in the clean twin."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

FAULTS = Path(__file__).parent / "faults"


def profiled(*names):
    """What `python tests/profiling/faults --json` says of each script."""
    done = subprocess.run(
        [sys.executable, str(FAULTS), "--json", *names], capture_output=True, text=True, check=False
    )
    assert done.stdout, done.stderr
    return {one["script"]: one for one in json.loads(done.stdout.splitlines()[-1])}


def test_planted_faults_are_found_and_clean_scripts_are_clean(record_property):
    scores = profiled()
    needed = {path.stem for path in FAULTS.glob("*.py") if "# GPU" not in path.read_text().splitlines()[0]}
    assert set(scores) >= needed - {"__main__"}
    ended = {name: one["outcome"] for name, one in scores.items() if one["outcome"] != "finished"}
    missed = {name: one["missed"] for name, one in scores.items() if one["missed"]}
    wrong = {name: one["wrong"] for name, one in scores.items() if one["wrong"]}
    assert (ended, missed, wrong) == ({}, {}, {})
