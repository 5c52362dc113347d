"""A disk that fills up: the earlier checkpoint still loads, and the run can be resumed."""

import multiprocessing
import resource
import signal

import pytest
from cases import base, pairs
from hand_written import assert_same_run
from torch import nn
from torch.optim import Adam

from flatout import CheckpointError, fit
from flatout.training.checkpoint import checkpoints, load_checkpoint
from flatout.training.run_directory import read_document

HIDDEN = 40


def case():
    import torch

    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, HIDDEN), nn.Tanh(), nn.Linear(HIDDEN, 3))
    return base(model, lambda p: Adam(p, lr=0.01), data=pairs(), epochs=400)


def fill_up(parent, most_bytes, said):
    """Train where no file may grow beyond `most_bytes`: a write fails in its middle, as on a full disk."""
    import math

    import flatout.training.session

    flatout.training.session._CHECKPOINT_SHARE = math.inf
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most_bytes, most_bytes))
    try:
        fit(**case(), run_dir=parent, checkpoint_every=0)
    except CheckpointError as error:
        said.put(str(error))
    else:
        said.put("no error")


def full_disk(parent, most_bytes):
    context = multiprocessing.get_context("fork" if hasattr(signal, "SIGXFSZ") else "spawn")
    said = context.SimpleQueue()
    child = context.Process(target=fill_up, args=(parent, most_bytes, said))
    child.start()
    child.join(60)
    return said.get()


@pytest.fixture
def size_of_first(tmp_path):
    """Bytes of the tensors of a checkpoint before the first step: no losses, no state of Adam."""
    run = fit(**case() | {"epochs": 1}, run_dir=tmp_path / "look")
    first = next(checkpoints(run.directory / "checkpoint"))
    return (first / "tensors.safetensors").stat().st_size


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_the_earlier_checkpoint_still_loads(tmp_path, size_of_first):
    message = full_disk(tmp_path, size_of_first + 6000)  # room for Adam's state and some losses
    assert "cannot write a checkpoint to" in message
    assert "File too large" in message
    assert "is whole. Free some space" in message
    (directory,) = (path for path in tmp_path.iterdir() if path.name != "look")
    assert not list((directory / "checkpoint").glob(".writing-*"))
    step, _, _ = load_checkpoint(directory / "checkpoint")
    assert step > 0
    assert f"{step:,}" in message
    document = read_document(directory)
    assert document["status"] == "failed"
    assert document["error"] == f"CheckpointError: {message}"
    assert_same_run(fit(**case(), resume=directory), fit(**case()))


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_no_room_for_the_first_checkpoint_leaves_nothing(tmp_path, size_of_first):
    message = full_disk(tmp_path / "full", size_of_first // 2)
    assert "File too large; there is no earlier one" in message
    assert list((tmp_path / "full").iterdir()) == []
