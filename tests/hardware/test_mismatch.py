"""Mixed devices: torch's texts are recognised, and the cause and the cure are named."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from flatout.errors import DeviceMismatchError
from flatout.hardware import explain_device_errors, explain_mismatch, is_device_mismatch

X = torch.ones(2, 3, device="meta")
GLOBAL = torch.ones(3)
needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")

MISMATCHES = [
    "Expected all tensors to be on the same device, but found at least two devices, cuda:0 and cpu! "
    "(when checking argument for argument mat1 in method wrapper_CUDA_addmm)",
    "Expected all tensors to be on the same device, but got index is on cpu, different from other tensors "
    "on cuda:0 (when checking argument in method wrapper_CUDA__index_select)",
    "Tensor on device cuda:0 is not on the expected device meta!",
    "indices should be either on cpu or on the same device as the indexed tensor (cpu)",
    "Input type (torch.cuda.FloatTensor) and weight type (torch.FloatTensor) should be the same",
    "Input type (torch.FloatTensor) and weight type (torch.cuda.FloatTensor) should be the same or input "
    "should be a MKLDNN tensor and weight is a dense tensor",
    "Input type (MPSFloatType) and weight type (torch.FloatTensor) should be the same",
    "Input type (torch.cuda.FloatTensor) and bias type (torch.FloatTensor) should be the same",
    "Placeholder storage has not been allocated on MPS device!",
    "Input and parameter tensors are not at the same device, found input tensor at cpu and parameter "
    "tensor at cuda:0",
    "Expected query, key, and value to have the same device type, but got query.device: cuda:0",
    "Expected tensor for argument #1 'input' to have the same device as tensor for argument #2 'weight'; but "
    "device 0 does not equal 1 (while checking arguments for cudnn_convolution)",
    "Tensor for argument #1 'self' is on CPU, but expected it to be on GPU "
    "(while checking arguments for addmm)",
    "grid_sampler(): expected input and grid to be on same device, but input is on cuda:0 and grid is on cpu",
]
OTHERS = [
    "CUDA out of memory. Tried to allocate 2.00 GiB",
    "mat1 and mat2 shapes cannot be multiplied (2x3 and 4x5)",
    "Input type (torch.cuda.FloatTensor) and weight type (torch.cuda.HalfTensor) should be the same",
    "Input type (MPSHalfType) and weight type (MPSFloatType) should be the same",
    "Expected floating point type for target with class probabilities, got Long",
]


class WithAttribute(nn.Module):
    def __init__(self, held: Any = None) -> None:
        super().__init__()
        self.fc = nn.Linear(3, 3)
        self.mask = torch.ones(3) if held is None else held

    def forward(self, x: Tensor) -> Tensor:
        mask = self.mask["a"][0] if isinstance(self.mask, dict) else self.mask
        return self.fc(x) * mask


class MakesTensor(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(3, 3)

    def forward(self, x: Tensor) -> Tensor:
        noise = torch.zeros(3)  # made here
        noise = noise + 1
        return self.fc(x) + noise


class MovesTensor(MakesTensor):
    def forward(self, x: Tensor) -> Tensor:
        shape_like = x.to("cpu", copy=True) if x.device.type != "meta" else torch.empty_like(x, device="cpu")
        return self.fc(x) + shape_like


class UsesGlobal(MakesTensor):
    def forward(self, x: Tensor) -> Tensor:
        return self.fc(x) + GLOBAL


class PlainList(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(3, 3)
        self.blocks = [nn.Linear(3, 3), nn.Linear(3, 3)]

    def forward(self, x: Tensor) -> Tensor:
        for block in self.blocks:
            x = block(x)
        return self.head(x)


class Stateful(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(3, 3)
        self.norm = nn.BatchNorm1d(3)
        self.calls = 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        self.last = x
        with torch.no_grad():
            self.fc.weight.mul_(2)
        h = F.dropout(self.norm(self.fc(x)))
        h.sum().backward()
        random.random()
        np.random.rand()
        return h + torch.ones(3, device="meta")


def explain(call: Callable[[], Any], model: nn.Module, batch: Any = None, again: bool = True) -> str:
    with pytest.raises(RuntimeError) as caught:
        call()
    assert is_device_mismatch(caught.value)
    error = explain_mismatch(caught.value, model, batch, call if again else None)
    assert type(error) is DeviceMismatchError
    assert error.__cause__ is caught.value
    assert str(caught.value) in str(error)
    return str(error)


@pytest.mark.parametrize("text", MISMATCHES)
def test_recorded_texts_are_recognised(text: str):
    assert is_device_mismatch(RuntimeError(text))
    assert not is_device_mismatch(ValueError(text))
    assert not is_device_mismatch(DeviceMismatchError(text))


@pytest.mark.parametrize("text", OTHERS)
def test_other_errors_are_left_alone(text: str):
    assert not is_device_mismatch(RuntimeError(text))


@pytest.mark.parametrize("text", MISMATCHES)
def test_a_recorded_text_is_explained_without_a_traceback(text: str):
    said = str(explain_mismatch(RuntimeError(text), nn.Linear(3, 2), X))
    assert "all 2 parameters: cpu" in said and "batch (2, 3): meta" in said
    assert 'flatout.to_device(batch, "cpu")' in said


@pytest.mark.parametrize("again", [True, False])
def test_inputs_elsewhere(again: bool):
    model = nn.Sequential(nn.Linear(3, 2, device="meta"))
    batch = {"x": torch.ones(1, 3), "rest": [torch.ones(2)]}
    said = explain(lambda: model(batch["x"]), model, batch, again)
    assert "all 2 parameters: meta" in said
    assert "batch['x'] (1, 3)" in said and "batch['rest'][0] (2,)" in said
    assert "failed in: 0 (Linear), test_mismatch.py:" in said
    assert 'fix: batch = flatout.to_device(batch, "meta")' in said


@pytest.mark.parametrize("again", [True, False])
def test_a_plain_attribute(again: bool):
    model = nn.ModuleDict({"encoder": WithAttribute()}).to("meta")
    said = explain(lambda: model["encoder"](X), model, X, again)
    assert "failed in: encoder (WithAttribute)" in said and "self.fc(x) * mask" in said
    assert "encoder.mask (a plain attribute of WithAttribute, not a buffer), shape (3,), is on cpu" in said
    assert 'self.register_buffer("mask", mask) in the __init__ of WithAttribute' in said


def test_a_tensor_in_a_dict_of_lists():
    model = WithAttribute({"a": [torch.ones(3)]}).to("meta")
    said = explain(lambda: model(X), model, X)
    assert "mask['a'][0] (a plain attribute" in said and "for each tensor of self.mask" in said


def test_made_in_forward():
    model = MakesTensor().to("meta")
    said = explain(lambda: model(X), model, X)
    line = MakesTensor.forward.__code__.co_firstlineno + 1
    assert f"made by `torch.zeros(3)` at test_mismatch.py:{line}, shape (3,), is on cpu" in said
    assert "fix: make it on the right device: torch.zeros(3, device=x.device)" in said


def test_made_in_forward_without_a_second_run():
    model = MakesTensor().to("meta")
    said = explain(lambda: model(X), model, X, again=False)
    assert "`noise` at test_mismatch.py" in said and "noise = flatout.to_device(noise" in said


def test_made_elsewhere_on_purpose():
    model = MovesTensor().to("meta")
    said = explain(lambda: model(X), model, X)
    assert "took away from meta" in said and "leave that move out" in said


def test_a_global_tensor_is_named():
    model = UsesGlobal().to("meta")
    said = explain(lambda: model(X), model, X)
    assert "`GLOBAL` at test_mismatch.py" in said and "write GLOBAL.to(x.device) on that line" in said


@pytest.mark.parametrize("again", [True, False])
def test_modules_in_a_plain_list(again: bool):
    model = PlainList().to("meta")
    said = explain(lambda: model(X), model, X, again)
    assert "failed in: blocks[0] (Linear, which model.named_modules() does not list)" in said
    assert "blocks[0].weight (3, 3)" in said
    assert "use torch.nn.ModuleList in the __init__ of PlainList" in said


@pytest.mark.parametrize("again", [True, False])
def test_part_of_the_parameters_elsewhere(again: bool):
    model = nn.Sequential(*(nn.Linear(3, 3, device="meta") for _ in range(4)))
    model[2].to_empty(device="cpu")
    said = explain(lambda: model(X), model, X, again)
    assert "failed in: 2 (Linear)" in said and "parameter 2.weight (3, 3), parameter 2.bias (3,): cpu" in said
    assert 'fix: model.to("meta")' in said


def test_a_tensor_made_in_the_loss():
    model = nn.Linear(3, 2, device="meta")
    said = explain(lambda: F.cross_entropy(model(X), torch.tensor([0, 1])), model, X)
    assert "made by `torch.tensor([0, 1])`" in said


def test_the_weights_of_a_loss_module():
    model, loss = nn.Linear(3, 2, device="meta"), nn.CrossEntropyLoss(weight=torch.ones(2))
    target = torch.zeros(2, dtype=torch.long, device="meta")
    said = explain(lambda: loss(model(X), target), model, (X, target))
    assert "CrossEntropyLoss (not part of the model)" in said
    assert "buffer weight of CrossEntropyLoss" in said and 'fix: CrossEntropyLoss(...).to("meta")' in said


def test_the_second_run_leaves_no_trace():
    torch.manual_seed(0)
    model, x = Stateful(), torch.randn(4, 3)
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    gradients = [parameter.grad for parameter in model.parameters()]
    error = RuntimeError(MISMATCHES[0])
    before = copy.deepcopy(model.state_dict())
    states = random.getstate(), torch.get_rng_state(), np.random.get_state()[1].tolist()
    said = str(explain_mismatch(error, model, x, lambda: model(x)))
    assert "torch.ones(3, device=x.device)" in said
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name])
    assert model.calls == 0 and not hasattr(model, "last")
    for parameter, gradient in zip(model.parameters(), gradients, strict=True):
        assert parameter.grad is gradient and bool((gradient == 1).all())
    assert states[0] == random.getstate()
    assert torch.equal(states[1], torch.get_rng_state())
    assert states[2] == np.random.get_state()[1].tolist()


def test_a_second_run_that_fails_otherwise_is_no_matter():
    model = WithAttribute().to("meta")
    with pytest.raises(RuntimeError) as caught:
        model(X)
    said = str(explain_mismatch(caught.value, model, X, lambda: 1 / 0))
    assert "register_buffer" in said


def test_a_lazy_model_is_not_run_again():
    model = nn.Sequential(nn.LazyLinear(2), nn.Linear(2, 2))
    runs: list[int] = []
    explain_mismatch(RuntimeError(MISMATCHES[0]), model, X, lambda: runs.append(1))
    assert runs == []


def test_a_model_without_parameters():
    model = nn.Flatten()
    said = explain(lambda: model(X) + torch.ones(2, 3), model, X)
    assert "no parameters and no buffers" in said and "torch.ones(2, 3, device=" in said


def test_the_context_manager():
    model = nn.Linear(3, 2, device="meta")
    x = torch.ones(1, 3)
    with pytest.raises(DeviceMismatchError, match="inputs: input") as caught, explain_device_errors(model):
        model(x)
    assert isinstance(caught.value.__cause__, RuntimeError)
    with pytest.raises(DeviceMismatchError, match=r"batch\[0\]"), explain_device_errors(model, [x]):
        model(x)
    with pytest.raises(ZeroDivisionError), explain_device_errors(model):
        1 / 0  # noqa: B018
    with pytest.raises(RuntimeError, match="multiplied") as other, explain_device_errors(nn.Linear(3, 2)):
        nn.Linear(3, 2)(torch.ones(1, 4))
    assert not isinstance(other.value, DeviceMismatchError)
    with explain_device_errors(model, [x]):
        pass


# --- with a GPU


@pytest.mark.gpu
@needs_cuda
@pytest.mark.parametrize(
    "operation",
    [
        lambda: nn.Linear(3, 2).cuda()(torch.ones(1, 3)),
        lambda: nn.Linear(3, 2)(torch.ones(1, 3).cuda()),
        lambda: nn.Conv2d(1, 1, 2).cuda()(torch.ones(1, 1, 3, 3)),
        lambda: nn.Conv2d(1, 1, 2)(torch.ones(1, 1, 3, 3).cuda()),
        lambda: nn.Embedding(4, 2).cuda()(torch.tensor([1])),
        lambda: nn.LSTM(3, 2).cuda()(torch.ones(2, 3)),
        lambda: nn.BatchNorm1d(3)(torch.ones(2, 3).cuda()),
        lambda: torch.ones(3)[torch.tensor([1]).cuda()],
        lambda: F.cross_entropy(torch.ones(2, 3).cuda(), torch.tensor([0, 1])),
        lambda: torch.ones(3).cuda() + torch.ones(3),
    ],
)
def test_real_cuda_errors_are_recognised(operation: Callable[[], Any]):
    with pytest.raises(RuntimeError) as caught:
        operation()
    assert is_device_mismatch(caught.value), str(caught.value)


@pytest.mark.gpu
@needs_cuda
def test_made_in_forward_on_cuda():
    model, x = MakesTensor().cuda(), torch.ones(2, 3, device="cuda")
    said = explain(lambda: model(x), model, x)
    assert "torch.zeros(3, device=x.device)" in said and "all 2 parameters: cuda:0" in said


@pytest.mark.gpu
@needs_cuda
def test_a_model_left_behind_on_the_cpu():
    model, x = nn.Linear(3, 2), torch.ones(2, 3, device="cuda")
    assert 'fix: model.to("cuda:0")' in explain(lambda: model(x), model, x)
    assert 'fix: batch = flatout.to_device(batch, "cuda:0")' in explain(
        lambda: model.cuda()(x.cpu()), model, x.cpu()
    )
