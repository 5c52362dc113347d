"""The C of a step, edited by hand, runs in place of the generated one, and is checked like any plan."""

import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from flatout import PlanRefusedError, fit, load_task, race
from flatout.cli.app import app
from flatout.codegen import compiler as compilers

pytestmark = pytest.mark.skipif(
    not any(map(shutil.which, compilers._CANDIDATES)), reason="there is no C compiler"
)
STEPS = 6000  # enough for a race to try native


def iris(**options):
    return replace(load_task("iris", seed=0), epochs=None, steps=STEPS, **options)


@pytest.fixture
def edited(tmp_path, monkeypatch):
    """Edits the file that `flatout graph --code` says is kept, and names the copy in FLATOUT_SOURCE."""
    monkeypatch.setenv("FLATOUT_CACHE", str(tmp_path / "cache"))
    said = CliRunner().invoke(app, ["graph", "iris", "--code"]).stderr
    kept = re.search(r"cp (\S+) step\.c, edit it", said)[1]

    def edit(pattern, new):
        text, times = re.subn(pattern, new, Path(kept).read_text())
        assert times == 1
        (tmp_path / "step.c").write_text(text)
        monkeypatch.setenv("FLATOUT_SOURCE", str(tmp_path / "step.c"))

    return edit


def native_in(race_):
    return next(c for c in race_.candidates if c.plan == "native")


def test_an_edit_that_changes_the_numbers_runs_and_is_found_out(edited, tmp_path):
    expected = fit(iris(), plan="native").losses
    edited(r"losses\[step\] = (\w+);", r"losses[step] = \1 + 2;")
    assert torch.equal(fit(iris(), plan="native", check=False).losses[:1], expected[:1] + 2)
    found = native_in(race(iris(), plans=["native"]))
    assert found.status == "wrong"
    assert re.search(r"the loss differs by 2 from eager \(allowed: 0\.0\d+\)", found.reason)
    with pytest.warns(
        RuntimeWarning, match="native computes something else than eager.*the loss differs by 2"
    ):
        run = fit(iris(), plan="native")
    assert run.plan == "eager"
    assert torch.equal(run.losses, fit(iris(), plan="eager").losses)


def test_an_edit_that_keeps_the_numbers_agrees(edited):
    edited(r"\n    float \*losses = losses_;", "\n    /* mine */\n    float *losses = losses_;")
    assert native_in(race(iris(), plans=["native"])).status == "ok"
    assert fit(iris(), plan="native").plan == "native"


def test_an_edit_of_another_step_is_not_run(edited):
    edited(r"\n    float \*losses = losses_;", "\n    float *losses = losses_;\n    losses[0] = 7;")
    with pytest.raises(PlanRefusedError, match="its first line is not that of the C of iris"):
        fit(iris(batch_size=30), plan="native")
