"""The devices of a lab."""

import pytest
import torch

from flatout.errors import DeviceNotFoundError
from flatout.labs import places as module
from flatout.labs.places import places


def test_a_device_that_is_here_and_does_not_compute_is_left_out(monkeypatch):
    """The device meta stands for a GPU whose code is missing: it takes tensors and gives no numbers."""
    monkeypatch.setattr(module, "try_all_gpus", lambda: [torch.device("meta")])
    found = places()
    assert [device.type for device in found.devices] == ["cpu"]
    (sentence,) = found.left_out
    assert sentence.startswith("meta is left out: ")
    assert sentence.endswith("flatout doctor says more")


def test_no_gpu_is_said(monkeypatch):
    monkeypatch.setattr(module, "try_all_gpus", lambda: [torch.device("cpu")])
    assert places().left_out == ("There is no GPU here that torch can use; flatout doctor says why.",)
    assert places(["cpu"]).left_out == ()


def test_a_device_that_is_not_here_is_refused():
    with pytest.raises(DeviceNotFoundError):
        places(["cuda:77"])
    assert places(["cpu", "cpu"]).devices == (torch.device("cpu"),)
