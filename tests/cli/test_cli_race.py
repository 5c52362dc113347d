"""`flatout race`."""

import json
import os
import subprocess
import sys

import pytest


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cache")
    folder.chmod(0o700)
    return folder


def flatout(*arguments, cwd, cache):
    environment = os.environ | {"FLATOUT_CACHE": str(cache), "COLUMNS": "120"}
    command = [sys.executable, "-m", "flatout", *arguments]
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)


def test_the_json_document(tmp_path, cache):
    done = flatout("race", "iris", "--json", "--device", "cpu", cwd=tmp_path, cache=cache)
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout.splitlines()[-1])
    assert set(document) == {"task", "steps", "winner", "reason", "candidates"}
    assert (document["task"], document["steps"]) == ("iris", 20_000)
    assert set(document["winner"]) == {"device", "plan"}
    names = "device plan status reason setup_s us_per_step predicted_s max_abs_diff floor_us"
    for candidate in document["candidates"]:
        assert set(candidate) == set(names.split())
        assert candidate["status"] in {"ok", "refused", "wrong", "skipped"}
        assert candidate["floor_us"] > 0
        assert (
            (candidate["us_per_step"] is None) == (candidate["status"] != "ok") == bool(candidate["reason"])
        )
    assert document["candidates"][0]["plan"] == "eager"
    shown = done.stderr.split()
    assert " ".join(document["reason"].split()) in " ".join(shown)
    assert done.stdout.count("\n") == 1


def test_a_short_training_with_the_winner(tmp_path, cache):
    done = flatout("race", "iris", "--steps", "20", "--train", cwd=tmp_path, cache=cache)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("eager on cpu wins: 20 steps take about")
    assert "Where an eager step on cpu spends its" in done.stdout
    assert done.stderr.count("features were scaled") == 1
    assert "iris trained" in done.stdout
    (run,) = (tmp_path / "runs").iterdir()
    assert json.loads((run / "run.json").read_text())["plan"] == "eager"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("race",), "name a task"),
        (("race", "iris", "--plan", "natve"), "did you mean 'native'"),
        (("race", "iris", "--device", "cuda:9"), "cuda:9"),
    ],
)
def test_bad_input_is_one_message_and_status_2(tmp_path, cache, arguments, message):
    done = flatout(*arguments, cwd=tmp_path, cache=cache)
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_a_plan_that_refuses_is_status_2_and_leaves_nothing(tmp_path, cache):
    (tmp_path / "task.py").write_text(
        "import torch\nfrom torch.utils.data import DataLoader, TensorDataset\nfrom flatout import Task\n"
        "model = torch.nn.Linear(2, 1)\n"
        "loader = DataLoader(TensorDataset(torch.ones(8, 2), torch.ones(8, 1)), batch_size=4)\n"
        "task = Task(model=model, data=loader, loss=torch.nn.MSELoss(), epochs=1,\n"
        "            optimizer=torch.optim.SGD(model.parameters(), lr=0.1))\n"
    )
    done = flatout("train", "task.py", "--plan", "native", cwd=tmp_path, cache=cache)
    assert done.returncode == 2
    assert "the plan native needs resident data" in done.stderr
    assert not (tmp_path / "runs").exists()


def test_no_check_is_in_the_record(tmp_path, cache):
    done = flatout("train", "iris", "--plan", "native", "--no-check", "--json", cwd=tmp_path, cache=cache)
    assert done.returncode == 0, done.stderr
    directory = tmp_path / json.loads(done.stdout.splitlines()[-1])["run_dir"]
    assert json.loads((directory / "run.json").read_text())["check"] is False
