"""The examples do what they say, by `flatout.load_task` and as scripts."""

import importlib.util
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

import flatout

EXAMPLES = Path(__file__).parents[2] / "examples"
NAMES = sorted(path.stem for path in EXAMPLES.glob("*.py"))


@pytest.fixture(autouse=True)
def one_thread():
    """Small models on a busy machine are faster so, and the numbers do not depend on the cores."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def load(name):
    return flatout.load_task(str(EXAMPLES / f"{name}.py"))


def module(name):
    """An example as a module of its own, for its functions."""
    spec = importlib.util.spec_from_file_location(f"example_{name}", EXAMPLES / f"{name}.py")
    example = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(example)
    return example


def weights(model):
    return [parameter.detach().clone() for parameter in model.parameters()]


def test_the_examples():
    assert NAMES == ["digits_cnn", "hand_over", "pinn", "regression", "streaming"]


@pytest.mark.parametrize("name", NAMES)
def test_it_trains_and_is_kept_and_resumed(name, tmp_path):
    def fresh(steps):
        return replace(load(name), epochs=None, steps=steps)

    unbroken = fresh(30)
    whole = flatout.fit(unbroken, run_dir=tmp_path)
    part = flatout.fit(fresh(17), run_dir=tmp_path)
    resumed = fresh(30)
    run = flatout.fit(resumed, resume=part.directory)
    assert torch.isfinite(whole.losses).all()
    assert torch.equal(run.losses, whole.losses)
    for mine, theirs in zip(weights(resumed.model), weights(unbroken.model), strict=True):
        assert torch.equal(mine, theirs)
    assert (whole.directory / "loss.png").stat().st_size > 10_000


@pytest.mark.parametrize("name", NAMES)
def test_it_runs_as_a_script(name, tmp_path):
    done = subprocess.run(
        [sys.executable, "-W", "error", EXAMPLES / f"{name}.py"],
        cwd=tmp_path,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert done.stdout


def test_the_pinn_finds_the_exact_solution():
    """At its full length: within 0.01 of a solution that swings between 1 and -0.8."""
    task = load("pinn")
    run = flatout.fit(task)
    assert run.metrics["largest error"] < 0.01

    t = torch.linspace(0, 4, 1001).unsqueeze(1)  # by another formula than the example's own
    root = torch.sqrt(torch.tensor(0.2**2 - 4 + 0j))
    a = (0.2 + root) / (2 * root)
    exact = (a * torch.exp((root - 0.2) * t) + (1 - a) * torch.exp((-root - 0.2) * t)).real
    with torch.no_grad():
        assert (task.model(t) - exact).abs().max() < 0.01


def test_the_classifier_reads_digits():
    task = load("digits_cnn")
    run = flatout.fit(replace(task, epochs=6))
    assert run.metrics["accuracy"] > 0.95
    assert any(isinstance(part, nn.Conv2d) for part in task.model.modules())
    assert int(task.model[0][1].num_batches_tracked) == run.steps  # validation left batch norm alone


def test_the_regression_comes_close_to_the_noise():
    run = flatout.fit(load("regression"))
    assert 0.9 < run.metrics["R²"] < 0.96  # a perfect curve has about 0.94: the rest is noise
    assert 0.03 < run.metrics["loss"] < 0.05
    assert run.status == "stopped early"
    assert run.best_step < run.steps


def test_the_streamed_model_learns():
    task = load("streaming")
    run = flatout.fit(replace(task, epochs=5))
    assert run.metrics["accuracy"] > 0.9
    assert run.losses[0] > 1
    assert run.losses[-20:].mean() < 0.3


def test_streamed_signals_are_new_each_time_and_those_of_validation_are_not():
    task = load("streaming")
    assert not torch.equal(task.data[3][0], task.data[3][0])
    assert torch.equal(task.validation[3][0], task.validation[3][0])


def test_what_is_handed_over_works_in_plain_pytorch(tmp_path, capsys):
    example = module("hand_over")
    example.main(tmp_path)
    assert "accuracy" in capsys.readouterr().out
    assert (tmp_path / "spirals.png").is_file()
    model = example.network()
    model.load_state_dict(torch.load(tmp_path / "spirals.pt", weights_only=True))
    X, y = example.spirals(200, seed=1)
    with torch.no_grad():
        assert (model(X).argmax(1) == y).float().mean() > 0.95
