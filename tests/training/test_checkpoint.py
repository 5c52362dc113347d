"""Checkpoints that are damaged, foreign, or of another task."""

import json
import os
import shutil
import subprocess
import sys
import time

import psutil
import pytest
import torch
from cases import Noisy, base, mlp, pairs, scheduled
from hand_written import assert_same_run, assert_same_weights
from safetensors.torch import load_file
from torch import nn
from torch.optim import lr_scheduler

from flatout import CheckpointError, TaskError, TrainingInterrupted, fit
from flatout.training.checkpoint import checkpoints, load_checkpoint, save_checkpoint
from flatout.training.run_directory import this_process


@pytest.fixture
def stopped(tmp_path, stop_at, single_steps):
    """The directory of a run that was stopped after step 8, with the checkpoints of steps 7 and 8."""
    with pytest.raises(TrainingInterrupted) as caught:
        fit(**base(), run_dir=tmp_path / "runs", checkpoint_every=0, progress=stop_at(8))
    return caught.value.run.directory


def flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def cut(path):
    os.truncate(path, path.stat().st_size // 2)


DAMAGES = {"flipped bit": flip, "cut off": cut, "deleted": lambda path: path.unlink()}
FILES = ["tensors.safetensors", "state.json", "sha256"]


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("name", FILES)
def test_a_damaged_checkpoint_gives_way_to_the_one_before(stopped, damage, name):
    DAMAGES[damage](stopped / "checkpoint" / "000000000008" / name)
    step, _, path = load_checkpoint(stopped / "checkpoint")
    assert (step, path.name) == (7, "000000000007")
    whole, case = base(), base()
    expected = fit(**whole)
    assert_same_run(fit(**case, resume=stopped, checkpoint_every=0), expected)
    assert_same_weights(case["model"], whole["model"])
    steps = [
        load_checkpoint(stopped / "checkpoint")[0],
        *(int(p.name) for p in checkpoints(stopped / "checkpoint")),
    ]
    assert steps == [20, 19, 20]


@pytest.mark.parametrize("damage", DAMAGES)
def test_where_all_are_damaged_each_fault_is_told(stopped, damage):
    for path in checkpoints(stopped / "checkpoint"):
        DAMAGES[damage](path / "state.json")
    with pytest.raises(CheckpointError, match="no checkpoint can be read") as caught:
        fit(**base(), resume=stopped)
    assert "000000000007" in str(caught.value)
    assert "000000000008" in str(caught.value)


def test_without_any_checkpoint(stopped):
    shutil.rmtree(stopped / "checkpoint")
    with pytest.raises(CheckpointError, match="there is no checkpoint in"):
        fit(**base(), resume=stopped)


@pytest.mark.parametrize("content", [None, "", "{", "[]", "{}", "\0\xff"])
def test_what_is_not_a_run_directory_is_refused(tmp_path, content):
    if content is not None:
        (tmp_path / "run.json").write_text(content)
    with pytest.raises(CheckpointError, match=r"run\.json"):
        fit(**base(), resume=tmp_path)
    with pytest.raises(CheckpointError, match="not a run directory"):
        fit(**base(), resume=tmp_path / "nowhere")


def rewrite(path, change):
    """Another state.json, with a checksum that is right."""
    import hashlib

    content = json.dumps(change(json.loads((path / "state.json").read_text()))).encode()
    (path / "state.json").write_bytes(content)
    lines = (path / "sha256").read_text().splitlines()
    (path / "sha256").write_text(f"{lines[0]}\n{hashlib.sha256(content).hexdigest()}  state.json\n")


@pytest.mark.parametrize(
    "change", [lambda document: {**document, "format": 99}, lambda document: {}, lambda document: [document]]
)
def test_a_foreign_format_is_refused(stopped, change):
    for path in checkpoints(stopped / "checkpoint"):
        rewrite(path, change)
    with pytest.raises(CheckpointError, match="this version of flatout reads format 1"):
        fit(**base(), resume=stopped)


def adam(parameters):
    return torch.optim.Adam(parameters, lr=0.1)


def wider():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))


def two_groups(parameters):
    first, *rest = parameters
    return torch.optim.SGD([{"params": [first]}, {"params": rest}], lr=0.1)


def other_values():
    X, y = pairs()
    return X + 1, y


def some_of(parameters):
    return torch.optim.SGD(list(parameters)[:2], lr=0.1)


OTHERS = {
    r"0\.weight is \[8, 4\] here and \[6, 4\] there": lambda: base(wider()),
    r"0\.weight is torch\.float64 here and torch\.float32 there": lambda: base(
        mlp().double(), data=(pairs()[0].double(), pairs()[1])
    ),
    "this model has 3.weight, that one has not": lambda: base(mlp(nn.Tanh())),
    "this loss has weight, that one has not": lambda: base(loss=nn.CrossEntropyLoss(weight=torch.ones(3))),
    "the optimizer is Adam here and SGD there": lambda: base(optimizer=adam),
    "the optimizer has 2 parameter groups here and 1 there": lambda: base(optimizer=two_groups),
    "the optimizer holds 2 parameters here and 4 there": lambda: base(optimizer=some_of),
    "the scheduler is StepLR here and None there": lambda: scheduled(lambda o: lr_scheduler.StepLR(o, 2)),
    r"shapes of the data: \[\[21, 4\], \[21\]\] here": lambda: base(data=pairs(21)),
    "batch_size of the data: 4 here and 5 there": lambda: base(batch_size=4),
    "shuffle of the data: False here and True there": lambda: base(shuffle=False),
    "the values of the data are not the same": lambda: base(data=other_values()),
    "dataset of the data: Noisy here and None there": lambda: base(data=Noisy()),
}


@pytest.mark.parametrize("message", OTHERS)
def test_a_run_of_another_task_is_refused_and_the_task_left_alone(stopped, message):
    case, twin = OTHERS[message](), OTHERS[message]()
    before = (stopped / "run.json").read_bytes()
    with pytest.raises(CheckpointError, match=f"was made by another task: {message}"):
        fit(**case, resume=stopped)
    assert_same_weights(case["model"], twin["model"])
    assert case["optimizer"].state_dict() == twin["optimizer"].state_dict()
    assert (stopped / "run.json").read_bytes() == before
    assert case["optimizer"].param_groups[0]["lr"] == twin["optimizer"].param_groups[0]["lr"]


def test_adam_is_not_adamw(tmp_path):
    """Their options have the same names, so only the class tells them apart."""
    run = fit(**base(optimizer=adam), run_dir=tmp_path)
    with pytest.raises(CheckpointError, match="the optimizer is AdamW here and Adam there"):
        fit(**base(optimizer=lambda p: torch.optim.AdamW(p, lr=0.1)), resume=run.directory)


def test_a_run_that_is_being_trained_is_left_alone(stopped):
    document = json.loads((stopped / "run.json").read_text())
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) as other:
        created = psutil.Process(other.pid).create_time()
        process = {**this_process(), "pid": other.pid, "created": created}
        document |= {"status": "running", "process": process}
        (stopped / "run.json").write_text(json.dumps(document))
        with pytest.raises(CheckpointError, match=f"process {other.pid} is training in"):
            fit(**base(), resume=stopped)
        process["created"] -= 100  # a process that had this number before
        (stopped / "run.json").write_text(json.dumps(document))
        fit(**base(), resume=stopped)
        other.kill()


def test_a_process_that_ended_is_no_hindrance(stopped):
    document = json.loads((stopped / "run.json").read_text())
    with subprocess.Popen([sys.executable, "-c", ""]) as other:
        process = {**this_process(), "pid": other.pid, "created": time.time()}
    document |= {"status": "running", "process": process}
    (stopped / "run.json").write_text(json.dumps(document))
    assert fit(**base(), resume=stopped).status == "finished"


def test_two_checkpoints_are_kept_and_nothing_half_written(stopped):
    folder = stopped / "checkpoint"
    assert [path.name for path in checkpoints(folder)] == ["000000000007", "000000000008"]
    (folder / ".writing-000000000009-1").mkdir()
    (folder / ".writing-000000000009-1" / "state.json").write_text("{")
    save_checkpoint(folder, 9, {"a": torch.ones(2)})
    assert sorted(path.name for path in folder.iterdir()) == ["000000000008", "000000000009"]
    assert load_checkpoint(folder)[1]["a"].tolist() == [1, 1]


def test_checksums_are_those_of_sha256sum(stopped):
    if shutil.which("sha256sum") is None:
        pytest.skip("sha256sum is not here")
    path = next(checkpoints(stopped / "checkpoint"))
    subprocess.run(["sha256sum", "--check", "--quiet", "sha256"], cwd=path, check=True)


def test_state_that_cannot_be_saved_leaves_nothing_behind(tmp_path):
    case = scheduled(lambda o: lr_scheduler.StepLR(o, 2))
    case["scheduler"].extra = object()
    with pytest.raises(CheckpointError, match=r"cannot save scheduler\.extra: it is a object"):
        fit(**case, run_dir=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_file_in_place_of_the_folder_of_runs(tmp_path):
    (tmp_path / "runs").write_text("")
    with pytest.raises(CheckpointError, match=r"cannot (make|write)"):
        fit(**base(), run_dir=tmp_path / "runs")
    assert (tmp_path / "runs").read_text() == ""


def test_a_folder_that_can_only_be_read(tmp_path):
    if os.getuid() == 0:
        pytest.skip("root may write anywhere")
    tmp_path.chmod(0o500)
    with pytest.raises(CheckpointError, match="Permission denied"):
        fit(**base(), run_dir=tmp_path)


def test_what_a_killed_process_left_is_cleared_by_the_next_run(tmp_path, monkeypatch):
    """It is killed as it is about to give the folder its name; a process at work is left alone."""
    with monkeypatch.context() as patch, pytest.raises(SystemExit):
        patch.setattr("shutil.rmtree", lambda *_, **__: None)
        patch.setattr("pathlib.Path.rename", lambda *_: sys.exit(1))
        fit(**base(), run_dir=tmp_path)
    (mine,) = tmp_path.iterdir()
    assert (mine / "run.json").exists()
    with subprocess.Popen([sys.executable, "-c", ""]) as other:
        ended = mine.with_name(mine.name.replace(f"-{os.getpid()}-", f"-{other.pid}-"))
        shutil.copytree(mine, ended)
        elsewhere = tmp_path / f".new-elsewhere-{other.pid}-1"
        elsewhere.mkdir()
    run = fit(**base(), run_dir=tmp_path)
    assert sorted(tmp_path.iterdir()) == sorted([mine, elsewhere, run.directory])


def test_what_a_killed_process_left_in_a_run_goes_with_the_resume(stopped, monkeypatch):
    with monkeypatch.context() as patch, pytest.raises(SystemExit):
        patch.setattr("pathlib.Path.unlink", lambda *_, **__: None)
        patch.setattr("pathlib.Path.replace", lambda *_: sys.exit(1))
        fit(**base(), resume=stopped)
    assert [path.name for path in stopped.glob(".*")]
    fit(**base(), resume=stopped)
    assert not [path.name for path in stopped.glob(".*")]


def test_a_resumed_run_stays_in_its_folder(stopped, tmp_path):
    with pytest.raises(TaskError, match=r"run_dir is \S+other, but a resumed run goes on in its own folder"):
        fit(**base(), resume=stopped, run_dir=tmp_path / "other")
    assert not (tmp_path / "other").exists()
    assert fit(**base(), resume=stopped, run_dir=stopped.parent).directory == stopped


class Turning(nn.Module):
    """Complex weights of double precision."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.turn = nn.Parameter(torch.randn(4, 3, dtype=torch.complex128))

    def forward(self, x):
        return (x.to(torch.complex128) @ self.turn).abs()


def test_complex_weights_are_kept_and_resumed(tmp_path, stop_at, single_steps):
    make = lambda: base(Turning(), lambda p: torch.optim.Adam(p, lr=0.05))  # noqa: E731
    whole, rest = make(), make()
    expected = fit(**whole)
    with pytest.raises(TrainingInterrupted) as caught:
        fit(**make(), run_dir=tmp_path, progress=stop_at(7))
    run = fit(**rest, resume=caught.value.run.directory)
    assert_same_run(run, expected)
    assert_same_weights(rest["model"], whole["model"])
    kept = load_file(run.directory / "model.safetensors")["turn"]
    assert torch.equal(torch.view_as_complex(kept), whole["model"].turn)
