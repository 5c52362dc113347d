"""The record of a training, in memory and on disk."""

import json
import math

import numpy as np
import pytest
import safetensors.torch
import torch
from cases import base, pairs
from hypothesis import given
from hypothesis import strategies as st

from flatout import CheckpointError, Run, fit
from flatout.training.chunk import TARGET_SECONDS, ChunkSize
from flatout.training.record import Record


def test_a_run_directory_holds_everything(tmp_path):
    case = base(validation=pairs(9, 1), name="little", validate_every=2)
    run = fit(**case, run_dir=tmp_path / "deep" / "runs", source={"spec": "x.py"})
    directory = run.directory
    names = sorted(path.name for path in directory.iterdir())
    assert names == ["checkpoint", "loss.png", "losses.npy", "model.safetensors", "run.json"]
    assert directory.parent == tmp_path / "deep" / "runs"
    assert np.array_equal(np.load(directory / "losses.npy"), run.losses.numpy())
    weights = safetensors.torch.load_file(directory / "model.safetensors")
    assert all(torch.equal(weights[name], tensor) for name, tensor in case["model"].state_dict().items())
    assert (directory / "loss.png").read_bytes().startswith(b"\x89PNG")
    document = json.loads((directory / "run.json").read_text())
    assert document["id"] == directory.name
    assert document["source"] == {"spec": "x.py"}
    assert document["status"] == "finished"
    assert document["versions"]["torch"] == torch.__version__
    assert document["options"]["optimizer"] == "SGD"
    assert document["metrics"] == run.metrics
    assert document["history"] == run.history
    loaded = Run.load(directory)
    assert torch.equal(loaded.losses, run.losses)
    for name in (
        "task",
        "plan",
        "device",
        "metrics",
        "history",
        "seconds",
        "status",
        "best_step",
        "directory",
    ):
        assert getattr(loaded, name) == getattr(run, name), name


def test_the_document_is_what_the_command_line_prints():
    run = fit(**base(name="little"))
    document = run.document()
    assert list(document) == [
        "task",
        "device",
        "plan",
        "steps",
        "seconds",
        "us_per_step",
        "loss",
        "metrics",
        "run_dir",
    ]
    assert document["steps"] == 20
    assert document["loss"] == {"first": float(run.losses[0]), "last": float(run.losses[-1])}
    assert (document["task"], document["device"], document["plan"]) == ("little", "cpu", "eager")
    assert document["us_per_step"] == pytest.approx(run.seconds / 20 * 1e6)
    json.dumps(document, allow_nan=False)


def test_a_document_has_no_word_for_nan():
    losses = torch.tensor([math.inf, math.nan])
    run = Run("t", "eager", "cpu", losses, {"R²": -math.inf}, [], 1.0, "finished")
    assert json.loads(json.dumps(run.document(), allow_nan=False))["loss"] == {"first": None, "last": None}
    assert run.document()["metrics"] == {"R²": None}
    empty = Run("t", "eager", "cpu", torch.empty(0), {}, [], 0.0, "interrupted")
    assert empty.document()["us_per_step"] is None


@pytest.mark.parametrize("suffix", ["png", "svg", "pdf"])
def test_plot(tmp_path, suffix):
    run = fit(**base(validation=pairs(9, 1), validate_every=1))
    path = run.plot(str(tmp_path / f"loss.{suffix}"))
    assert path.stat().st_size > 1000


def test_loading_what_is_no_run(tmp_path):
    with pytest.raises(CheckpointError, match="is not a run directory"):
        Run.load(tmp_path)
    (tmp_path / "run.json").write_text('{"task": "a"}')
    with pytest.raises(CheckpointError, match=r"no readable losses\.npy"):
        Run.load(tmp_path)
    np.save(tmp_path / "losses.npy", np.zeros(3, np.float32))
    with pytest.raises(CheckpointError, match="has no 'plan'"):
        Run.load(tmp_path)


@given(st.lists(st.tuples(st.integers(1, 10**6), st.floats(0, 100)), min_size=1))
def test_a_chunk_is_at_least_a_step_and_grows_at_most_fourfold(history):
    size = ChunkSize()
    for steps, seconds in history:
        before = size.steps
        size.took(steps, seconds)
        assert 1 <= size.steps <= 4 * max(before, steps)
        assert size.steps == 1 or size.steps * seconds / steps <= TARGET_SECONDS * 1.001


def test_a_chunk_settles_at_a_tenth_of_a_second():
    size = ChunkSize()
    for _ in range(10):
        size.took(size.steps, size.steps * 1e-4)
    assert size.steps == 1000
    size.took(0, 1.0)
    assert size.steps == 1000


@given(st.lists(st.lists(st.floats(width=32), min_size=1, max_size=5)))
def test_a_record_keeps_every_loss_and_the_first_bad_step(chunks):
    record, flat = Record(), [loss for chunk in chunks for loss in chunk]
    for chunk in chunks:
        record.add(torch.tensor(chunk), 0.5)
        assert record.losses.dtype == torch.float32
    assert record.step == len(flat)
    assert torch.equal(record.losses.nan_to_num(7), torch.tensor(flat).nan_to_num(7))
    bad = [i for i, loss in enumerate(flat) if not math.isfinite(loss)]
    assert record.first_bad_step == (bad[0] if bad else None)
    copy = Record()
    copy.restore(record.state())
    assert copy.step == record.step
    assert copy.seconds == len(chunks) / 2
