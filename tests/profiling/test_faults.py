"""Scripts with planted faults: each fault is found, at its line, and not in the clean twin."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from flatout.profiling.rules import KINDS

FAULTS = Path(__file__).parent / "faults"
FIRST = {path.stem: path.read_text().splitlines()[0] for path in FAULTS.glob("*.py") if path.stem[0] != "_"}
TRIALS = {name for name, line in FIRST.items() if "TRIALS" in line}
GPU = {name for name, line in FIRST.items() if "# GPU" in line}


def check(names, record_property):
    """Profile these scripts as `python tests/profiling/faults` does; nothing may be missed or wrong."""
    done = subprocess.run(
        [sys.executable, str(FAULTS), "--json", *sorted(names)], capture_output=True, text=True, check=False
    )
    assert done.stdout, done.stderr
    seen = json.loads(done.stdout.splitlines()[-1])
    record_property("planted faults", seen["summary"])
    scores = {one["script"]: one for one in seen["scores"]}
    assert set(scores) == set(names)
    ended = {name: one["outcome"] for name, one in scores.items() if one["outcome"] != "finished"}
    missed = {name: one["missed"] for name, one in scores.items() if one["missed"]}
    wrong = {name: one["wrong"] for name, one in scores.items() if one["wrong"]}
    assert (ended, missed, wrong) == ({}, {}, {})
    for name in names:
        twin = scores.get(f"{name}_clean")
        if twin is not None:
            kinds = {fault.partition(":")[0] for fault in scores[name]["faults"]}
            assert not kinds & {fault.partition(":")[0] for fault in twin["found"]}, name


def test_planted_faults_are_found_and_clean_scripts_are_clean(record_property):
    check(set(FIRST) - GPU - TRIALS, record_property)


@pytest.mark.slow
def test_what_experiments_have_to_show_is_found(record_property):
    check(TRIALS - GPU, record_property)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA GPU here")
def test_what_only_a_gpu_shows_is_found(record_property):
    check(GPU, record_property)


def test_every_kind_has_a_planted_fault_and_a_line_in_the_docs():
    planted = "".join((FAULTS / f"{name}.py").read_text() for name in FIRST)
    marks = re.findall(r"# FAULT: ([\w-]+(?:, [\w-]+)*)", planted)
    assert {kind for mark in marks for kind in mark.split(", ")} == set(KINDS)
    docs = (Path(__file__).parents[2] / "docs" / "profiling.md").read_text()
    assert [kind for kind in KINDS if not re.search(rf"^\|[^|]*`{kind}`", docs, re.MULTILINE)] == []
