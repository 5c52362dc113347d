"""`flatout train` and `flatout runs`, in a process of their own where signals come in."""

import contextlib
import io
import json
import re
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from flatout.cli.app import main

FLATOUT = [sys.executable, "-m", "flatout"]


@dataclass
class Done:
    stdout: str
    stderr: str


def flatout(*arguments, cwd, status=0):
    """Call the command line in this process; what it wrote and, checked, its exit status."""
    out, err = io.StringIO(), io.StringIO()
    with (
        pytest.MonkeyPatch.context() as patch,
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        patch.chdir(cwd)
        patch.setenv("COLUMNS", "200")
        patch.setattr(sys, "argv", ["flatout", *map(str, arguments)])
        code = 0
        try:
            main()
        except SystemExit as exit_:
            code = exit_.code or 0
    done = Done(out.getvalue(), err.getvalue())
    assert code == status, (code, done)
    return done


def refused(*arguments, cwd, status=2):
    """A call that must be refused: no traceback, nothing new in the folder; returns what it said."""
    before = sorted(cwd.rglob("*"))
    done = flatout(*arguments, cwd=cwd, status=status)
    assert "Traceback" not in done.stderr, done.stderr
    new = [path for path in sorted(cwd.rglob("*")) if path not in before and "__pycache__" not in str(path)]
    assert new == []
    assert done.stdout == ""
    return re.sub(r"\s+", " ", done.stderr)


def only_run(folder):
    (run,) = (path for path in (folder / "runs").iterdir() if not path.name.startswith("."))
    return run


@pytest.fixture
def table(tmp_path):
    rows = "\n".join(f"{i},{i % 7},{'red' if i % 2 else 'blue'},{'a' if i > 30 else 'b'}" for i in range(60))
    (tmp_path / "table.csv").write_text(f"x,y,colour,kind\n{rows}\n")
    return tmp_path


def test_train_keeps_a_run_and_says_how_it_went(tmp_path):
    done = flatout("train", "iris", "--epochs", 300, "--json", cwd=tmp_path)
    document = json.loads(done.stdout.splitlines()[-1])
    assert document["task"] == "iris"
    assert document["steps"] == 300
    assert document["plan"] == "eager"
    assert document["device"] == "cpu"
    assert document["loss"]["last"] < document["loss"]["first"]
    assert set(document["metrics"]) == {"loss", "accuracy"}
    assert document["us_per_step"] == pytest.approx(document["seconds"] / 300 * 1e6)
    run = tmp_path / document["run_dir"]
    assert run == only_run(tmp_path)
    assert {p.name for p in run.iterdir()} == {
        "run.json",
        "losses.npy",
        "loss.png",
        "model.safetensors",
        "checkpoint",
    }
    losses = np.load(run / "losses.npy")
    assert losses[-1] == pytest.approx(document["loss"]["last"])
    assert (run / "loss.png").read_bytes().startswith(b"\x89PNG")
    weights = load_file(run / "model.safetensors")
    assert weights["fc1.weight"].shape == (10, 4)
    assert "iris trained: loss" in done.stderr
    assert "300 steps" in done.stderr


def test_the_summary_goes_to_standard_output_and_quiet_says_nothing(tmp_path):
    done = flatout("train", "iris", "--epochs", 5, cwd=tmp_path)
    assert "iris trained" in done.stdout
    assert "loss.png" in done.stdout
    done = flatout("train", "iris", "--epochs", 5, "--quiet", cwd=tmp_path)
    assert done.stdout == done.stderr == ""


def test_a_seed_gives_the_losses_of_the_hand_written_loop(tmp_path):
    from flatout import load_task

    flatout("train", "digits", "--epochs", 2, "--batch-size", 64, "--seed", 3, cwd=tmp_path)
    task = load_task("digits", seed=3)
    X, y = task.data
    loader = torch.utils.data.DataLoader(
        torch.utils.data.TensorDataset(X, y),
        batch_size=64,
        shuffle=True,
        generator=torch.Generator().manual_seed(3),
    )
    losses = []
    for _ in range(2):
        for inputs, target in loader:
            loss = task.loss(task.model(inputs), target)
            task.optimizer.zero_grad()
            loss.backward()
            task.optimizer.step()
            losses.append(loss.item())
    assert np.load(only_run(tmp_path) / "losses.npy").tolist() == losses


def test_a_csv_file_is_trained_and_its_notes_are_shown(table):
    done = flatout(
        "train", "table.csv", "--target", "kind", "--hidden", "8,4", "--epochs", 3, "--lr", 0.01, cwd=table
    )
    assert "48 rows to train on" in done.stderr
    weights = load_file(only_run(table) / "model.safetensors")
    assert [len(w) for name, w in weights.items() if name.endswith("bias")] == [8, 4, 2]
    document = json.loads((only_run(table) / "run.json").read_text())
    assert document["notes"]


def test_a_python_file_is_trained(tmp_path):
    (tmp_path / "mine.py").write_text(
        "import torch, flatout\n"
        "def task():\n"
        "    model = torch.nn.Linear(2, 1)\n"
        "    X = torch.randn(20, 2)\n"
        "    return flatout.Task(model=model, data=(X, X.sum(1, keepdim=True)), loss=torch.nn.MSELoss(),\n"
        "                        optimizer=torch.optim.SGD(model.parameters(), lr=0.1), epochs=4)\n"
        "small = task()\n"
    )
    flatout("train", "mine.py", cwd=tmp_path)
    flatout("train", "mine.py:small", "--steps", 2, cwd=tmp_path)
    runs = sorted((tmp_path / "runs").iterdir())
    assert sorted(len(np.load(run / "losses.npy")) for run in runs) == [2, 4]


def test_a_killed_training_resumes_with_the_options_it_was_made_with(tmp_path):
    arguments = [*FLATOUT, "train", "digits", "--epochs", "100000", "--batch-size", "32"]
    arguments += ["--seed", "5", "--plan", "eager"]
    process = subprocess.Popen(arguments, cwd=tmp_path, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while not list(tmp_path.glob("runs/*/run.json")) and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(0.5)
    process.send_signal(signal.SIGKILL)
    process.wait()
    run = only_run(tmp_path)
    assert "cut off" in flatout("runs", cwd=tmp_path).stdout
    flatout("train", "--resume", run, "--epochs", 2, cwd=tmp_path)
    losses = np.load(run / "losses.npy")
    flatout(
        *("train", "digits", "--epochs", 2, "--batch-size", 32, "--seed", 5, "--runs-dir", "b"),
        *("--plan", "eager"),
        cwd=tmp_path,
    )
    (whole,) = (tmp_path / "b").iterdir()
    assert np.load(whole / "losses.npy").tolist() == losses.tolist()


def test_ctrl_c_saves_and_says_how_to_resume(tmp_path):
    process = subprocess.Popen(
        [*FLATOUT, "train", "iris", "--epochs", "100000000"],
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 60
    while not list(tmp_path.glob("runs/*/run.json")) and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(1)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in said
    command = re.search(r"flatout train --resume (\S+)", said)
    assert command
    done = flatout("train", "--resume", command[1], "--steps", 1, cwd=tmp_path)
    assert "nothing left to do" in re.sub(r"\s+", " ", done.stdout + done.stderr)


def test_runs_lists_what_was_trained(tmp_path):
    flatout("train", "iris", "--epochs", 5, cwd=tmp_path)
    flatout("train", "wine", "--epochs", 1, cwd=tmp_path)
    done = flatout("runs", cwd=tmp_path)
    for word in ("iris", "wine", "eager", "cpu", "accuracy", "done"):
        assert word in done.stdout
    rows = json.loads(flatout("runs", "--json", cwd=tmp_path).stdout)
    assert [row["task"] for row in rows] == ["iris", "wine"]
    assert rows[0]["steps"] == 5
    (tmp_path / "runs" / "broken").mkdir()
    (tmp_path / "runs" / "broken" / "run.json").write_text("{")
    assert "unreadable" in flatout("runs", cwd=tmp_path).stdout


def test_runs_without_a_folder_says_so(tmp_path):
    assert "nothing was trained here yet" in refused("runs", cwd=tmp_path)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["irsi"], "did you mean 'iris'"),
        (["nothing.py"], "nothing.py"),
        (["nothing.csv", "--target", "x"], "nothing.csv"),
        (["iris", "--epochs", "0"], "epochs must be a whole number of at least 1"),
        (["iris", "--steps", "0"], "steps must be a whole number of at least 1"),
        (["iris", "--epochs", "1", "--steps", "1"], "epochs or steps"),
        (["iris", "--batch-size", "0"], "batch_size must be a whole number of at least 1"),
        (["iris", "--batch-size", "121"], "batch_size is 121 but there are only 120 samples"),
        (["iris", "--device", "cuda:7"], "there is no cuda:7 here"),
        (["iris", "--device", "gpuu"], "gpuu"),
        (["iris", "--plan", "egaer"], "did you mean 'eager'"),
        (["iris", "--lr", "-1"], "learning rate"),
        (["iris", "--target", "x"], "--target"),
        (["iris", "--hidden", "a,b"], "--hidden"),
        (["iris", "--resume", "nowhere"], "not a run directory"),
        ([], "name a task"),
    ],
)
def test_bad_input_is_one_message_and_status_2(arguments, words, tmp_path):
    assert words in refused("train", *arguments, cwd=tmp_path)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "empty"),
        ("x,kind\n1,a\n", "rows"),
        ("x,kind\n" + "1,a\n" * 20, "one class"),
        ("x,y,kind\n" + "1,2,a\n2,3,b\n" * 20 + "1,2\n", "line 42"),
        ("x,y,kind\n" + "1,2,a\n2,3,b\n" * 20 + "many,2,a\n", "many"),
        ("x,y,knid\n" + "1,2,a\n2,3,b\n" * 20, "knid"),
    ],
)
def test_a_csv_file_that_cannot_be_trained_on(content, words, tmp_path):
    (tmp_path / "table.csv").write_text(content)
    assert words in refused("train", "table.csv", "--target", "kind", cwd=tmp_path)


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("x = 1\n", "Task"),
        ("import torch\nraise KeyError('mine')\n", "mine.py"),
        ("def task():\n    return 1 / 0\n", "ZeroDivisionError"),
        ("def task(:\n", "SyntaxError"),
    ],
)
def test_a_python_file_that_makes_no_task(code, words, tmp_path):
    (tmp_path / "mine.py").write_text(code)
    before = sorted(tmp_path.rglob("*"))
    done = flatout("train", "mine.py", cwd=tmp_path, status=2)
    assert words in done.stderr
    assert "site-packages" not in done.stderr
    assert "flatout/" not in done.stderr
    assert [p for p in tmp_path.rglob("*") if p not in before and "__pycache__" not in str(p)] == []


BAD_TASK = """
import torch, flatout
def task():
    model = torch.nn.Linear(2, {outputs})
    X = torch.randn(20, 2); y = torch.arange(20) % 3
    {change}
    return flatout.Task(model=model, data=(X, y), loss=torch.nn.CrossEntropyLoss(),
                        optimizer=torch.optim.SGD({parameters}, lr=0.1), epochs=4, {more})
"""


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"change": "y = y[:10]"}, "same number of samples"),
        ({"outputs": 2}, "labels of data go from 0 to 2"),
        ({"change": "y = y.float()"}, "use y.long()"),
        ({"parameters": "torch.nn.Linear(2, 2).parameters()"}, "not the model's"),
        ({"change": "X[3, 1] = float('nan')"}, "NaN or infinite"),
        ({"more": "patience=2"}, "patience needs validation"),
    ],
)
def test_a_task_that_cannot_be_trained(changes, words, tmp_path):
    parts = {"outputs": 3, "change": "", "parameters": "model.parameters()", "more": ""} | changes
    (tmp_path / "mine.py").write_text(BAD_TASK.format(**parts))
    assert words in refused("train", "mine.py", cwd=tmp_path)


def test_a_loss_that_becomes_nan_ends_with_status_1(tmp_path):
    done = flatout("train", "diabetes", "--lr", "1e12", "--json", cwd=tmp_path, status=1)
    assert "Try a smaller learning rate" in re.sub(r"\s+", " ", done.stderr)
    assert json.loads(done.stdout.splitlines()[-1])["loss"]["last"] is None
    flatout("train", "diabetes", "--lr", "1e12", "--keep-going", "--epochs", 3, cwd=tmp_path)


def test_an_error_in_the_task_s_own_code_shows_its_own_lines(tmp_path):
    code = BAD_TASK.format(outputs=3, change="", parameters="model.parameters()", more="")
    (tmp_path / "mine.py").write_text(code + "    model.forward = None\n" * 0)
    (tmp_path / "mine.py").write_text(
        code.replace("torch.nn.Linear(2, 3)", "Broken()") + "class Broken(torch.nn.Linear):\n"
        "    def __init__(self): super().__init__(2, 3)\n"
        "    def forward(self, x):\n"
        "        raise LookupError('no such thing')\n"
    )
    done = flatout("train", "mine.py", cwd=tmp_path, status=1)
    assert "LookupError: no such thing" in done.stderr
    assert "in forward" in done.stderr
    assert "site-packages" not in done.stderr


def test_another_model_s_run_is_not_resumed(table):
    flatout("train", "table.csv", "--target", "kind", "--epochs", 2, cwd=table)
    said = flatout("train", "--resume", only_run(table), "--hidden", "5", cwd=table, status=2).stderr
    assert "[32, " in said
    assert "[5, " in said


def test_a_plan_that_is_asked_for_and_refuses_is_status_2(tmp_path, monkeypatch):
    monkeypatch.setenv("CC", "no-such-cc")
    words = refused("train", "iris", "--plan", "native", cwd=tmp_path)
    assert "the plan native cannot run iris: CC is 'no-such-cc', but that cannot be run" in words


def test_a_resumed_run_is_not_put_elsewhere(tmp_path):
    flatout("train", "iris", "--steps", 2, cwd=tmp_path)
    run = only_run(tmp_path)
    words = refused("train", "--resume", run, "--runs-dir", "elsewhere", cwd=tmp_path)
    assert "run_dir is elsewhere, but a resumed run goes on in its own folder" in words


def test_a_truncated_run_directory(tmp_path):
    flatout("train", "iris", "--epochs", 2, cwd=tmp_path)
    run = only_run(tmp_path)
    for path in run.glob("checkpoint/*/state.json"):
        path.write_text(path.read_text()[:20])
    said = flatout("train", "--resume", run, "--epochs", 4, cwd=tmp_path, status=2).stderr
    assert "checksum" in said
    assert "Traceback" not in said
    assert Path(run / "losses.npy").exists()


def test_help_names_every_command(tmp_path):
    said = flatout("--help", cwd=tmp_path).stdout
    assert "train" in said
    assert "runs" in said
    assert "flatout 0." in flatout("--version", cwd=tmp_path).stdout
