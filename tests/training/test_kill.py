"""A process that trains is killed at any moment, and no run is lost."""

import json
import multiprocessing
import random
import shutil
import time

import numpy as np
import pytest
import safetensors.torch
import torch
from kill_child import case, train_or_resume

from flatout import fit

KILLS = 30
PRELOADED = ["flatout.training.fit", "matplotlib.figure", "matplotlib.backends.backend_agg", "torch._dynamo"]


@pytest.fixture(scope="module")
def processes():
    """Processes that start in a moment, because torch is imported already."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    return context


@pytest.fixture(scope="module")
def unbroken():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    whole = case()
    run = fit(**whole)
    torch.set_num_threads(threads)
    return run.losses, whole["model"].state_dict()


def start(processes, parent, directory=None, plan="eager"):
    arguments = (str(parent), directory and str(directory), plan)
    child = processes.Process(target=train_or_resume, args=arguments)
    child.start()
    return child


def wait_for_run(parent, child):
    """The run directory, as soon as it is there."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        found = [path for path in parent.iterdir() if path.name.startswith("kill-")]
        if found:
            return found[0]
        if child.exitcode is not None:
            break
        time.sleep(0.0002)
    raise AssertionError(f"no run began: {said(parent)}")


def wait_for_resume(directory, child):
    """Until the child has taken over the run."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and child.exitcode is None:
        if json.loads((directory / "run.json").read_text())["process"]["pid"] == child.pid:
            return
        time.sleep(0.0002)


def kill(child, after):
    time.sleep(after)
    child.kill()  # SIGKILL; nothing where it has ended already
    child.join()


def said(parent):
    return [path.read_text() for path in parent.glob("error.txt")]


def step_of(directory):
    return json.loads((directory / "run.json").read_text())["steps"]


def assert_resumes_to(unbroken, processes, parent, directory, plan="eager"):
    child = start(processes, parent, directory, plan)
    child.join(60)
    assert child.exitcode == 0, said(parent)
    losses, weights = unbroken
    assert torch.equal(torch.from_numpy(np.load(directory / "losses.npy")), losses)
    found = safetensors.torch.load_file(directory / "model.safetensors")
    assert found.keys() == weights.keys()
    assert all(torch.equal(found[name], weights[name]) for name in weights)
    assert json.loads((directory / "run.json").read_text())["status"] == "finished"
    assert not list((directory / "checkpoint").glob(".writing-*"))


def duration(processes, parent):
    """Seconds from the appearance of the run directory to the end of the training."""
    child = start(processes, parent)
    wait_for_run(parent, child)
    begun = time.monotonic()
    child.join(60)
    assert child.exitcode == 0, said(parent)
    return time.monotonic() - begun


def test_thirty_kills_lose_no_run(tmp_path, processes, unbroken):
    seed = random.randrange(2**32)
    print(f"the moments are those of random.Random({seed})")  # shown where the test fails
    moments = random.Random(seed)
    (tmp_path / "first").mkdir()
    seconds = duration(processes, tmp_path / "first")
    steps = []
    for turn in range(KILLS):
        parent = tmp_path / str(turn)
        parent.mkdir()
        child = start(processes, parent)
        directory = wait_for_run(parent, child)
        # A third in the first moments, the others anywhere up to the end.
        kill(child, moments.uniform(0, 0.02) if turn % 3 == 0 else moments.uniform(0, seconds))
        steps.append(step_of(directory))
        assert_resumes_to(unbroken, processes, parent, directory)
    assert len(set(steps)) > KILLS // 4, steps
    assert min(steps) < len(unbroken[0]), steps


def test_killed_while_resuming_again_and_again(tmp_path, processes, unbroken):
    seed = random.randrange(2**32)
    print(f"the moments are those of random.Random({seed})")
    moments = random.Random(seed)
    child = start(processes, tmp_path)
    directory = wait_for_run(tmp_path, child)
    kill(child, 0.05)
    for _ in range(5):
        child = start(processes, tmp_path, directory)
        wait_for_resume(directory, child)
        kill(child, moments.uniform(0, 0.1))
    assert_resumes_to(unbroken, processes, tmp_path, directory)


@pytest.mark.parametrize(
    ("plan", "kills"), [("native", 4), pytest.param("compiled", 3, marks=pytest.mark.slow)]
)
@pytest.mark.skipif(shutil.which("g++") is None, reason="there is no compiler")
def test_killed_under_another_plan(tmp_path, processes, plan, kills):
    """The run goes on with the plan it was made with, to the bits of one that was not killed."""
    whole = case(plan)
    losses = fit(**whole, plan=plan).losses
    seed = random.randrange(2**32)
    print(f"the moments are those of random.Random({seed})")
    moments = random.Random(seed)
    steps = []
    for turn in range(kills):
        parent = tmp_path / str(turn)
        parent.mkdir()
        child = start(processes, parent, plan=plan)
        directory = wait_for_run(parent, child)
        kill(child, moments.uniform(0, 0.5))
        steps.append(step_of(directory))
        assert_resumes_to((losses, whole["model"].state_dict()), processes, parent, directory, plan)
        assert json.loads((directory / "run.json").read_text())["plan"] == plan
    assert min(steps) < len(losses), steps
