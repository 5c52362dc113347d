"""Scripts as people write them run unmodified: a verdict, and findings at the user's own lines."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from launcher import Done, launcher

SCRIPTS = Path(__file__).parent / "scripts"


def line_to_find(script):
    (line,) = (
        number
        for number, text in enumerate((SCRIPTS / script).read_text().splitlines(), start=1)
        if "the line to find" in text
    )
    return line


def profiled(folder, script, *arguments):
    shutil.copy(SCRIPTS / script, folder)
    return launcher().run("profile", "--json", script, *arguments, cwd=folder)


def check(done, script, *, steps, backwards):
    assert done.returncode == 0, done.stderr
    seen = done.document
    assert (seen["outcome"], seen["step_ends_with"], seen["steps"]) == ("finished", "optimizer", steps)
    assert seen["backwards_per_step"] == pytest.approx(backwards)
    assert seen["verdict"]
    assert sum(part["share"] for part in seen["breakdown"].values()) == pytest.approx(1)
    assert all(seen["breakdown"][part]["us"] > 0 for part in ("backward", "optimizer"))
    files = {one["file"] for one in seen["findings"]}
    assert files <= {script}
    found = {(one["kind"], one["line"]) for one in seen["findings"]}
    assert ("item", line_to_find(script)) in found
    return seen


def test_the_iris_loop(tmp_path):
    pytest.importorskip("sklearn")
    done = profiled(tmp_path, "iris.py")
    seen = check(done, "iris.py", steps=200, backwards=1)
    (reads,) = (one for one in seen["findings"] if one["kind"] == "item")
    assert reads["count"] == 1


def test_a_small_gpt(tmp_path):
    done = profiled(tmp_path, "gpt.py", "--steps", "50", "--accumulate", "3")
    seen = check(done, "gpt.py", steps=50, backwards=3)
    assert "gradients are accumulated: 3 calls of backward a step" in seen["notes"]
    # --steps is an option of the script's.
    assert "--steps is for gpt.py" in done.stderr
    assert "iter 40: loss" in done.stdout
    assert (tmp_path / "out" / "ckpt.pt").exists()


def in_python(folder, script):
    """In a process of its own: frameworks start threads and change much of torch."""
    shutil.copy(SCRIPTS / script, folder)
    environment = os.environ | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "COLUMNS": "110"}
    run = [sys.executable, "-m", "flatout", "profile", "--json", script]
    done = subprocess.run(run, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    return Done(done.returncode, done.stdout, done.stderr)


@pytest.mark.frameworks
@pytest.mark.parametrize(
    ("script", "package", "steps", "backwards"),
    [
        ("lightning_fit.py", "lightning", 64, 1),
        ("accelerate_loop.py", "accelerate", 32, 2),
        ("hf_trainer.py", "transformers", 40, 1),
    ],
)
def test_a_framework(tmp_path, script, package, steps, backwards):
    pytest.importorskip(package)
    seen = check(in_python(tmp_path, script), script, steps=steps, backwards=backwards)
    for one in seen["findings"]:
        if one["line"] == line_to_find(script):
            assert "inside" not in one["what"]
