"""Bad input to `fit`: a clear message, and nothing half-written."""

import dataclasses

import numpy as np
import pytest
import torch
from cases import Noisy, Stream, StreamWithLength, base, mlp, pairs, scheduled
from hand_written import assert_same_run
from torch import nn
from torch.optim.lr_scheduler import ReduceLROnPlateau, StepLR
from torch.utils.data import DataLoader, TensorDataset

from flatout import DataError, DeviceNotFoundError, PlanRefusedError, Task, TaskError, fit

X, Y = pairs()


def nan_in(X):
    X = X.clone()
    X[3, 1] = float("nan")
    X[5, 0] = float("inf")
    return X


def other_parameters():
    return base() | {"optimizer": torch.optim.Adam(mlp().parameters())}


def frozen():
    case = base()
    case["model"].requires_grad_(False)
    return case


def other_scheduler():
    case = base()
    return case | {"scheduler": StepLR(base()["optimizer"], 2)}


class Empty(Noisy):
    def __len__(self):
        return 0


class OnlyOnce(Stream):
    """An iterator where an iterable is wanted: the second epoch finds nothing."""

    def __init__(self):
        self.rows = super().__iter__()

    def __iter__(self):
        return self.rows


class Understated(StreamWithLength):
    def __len__(self):
        return 7


BAD = {
    r"all parts of data must have the same .*, but have 22 \(shape \[22, 4\]\), 21": lambda: base(
        data=(X, Y[:21])
    ),
    r"all parts of validation must have": lambda: base(validation=(X, Y[:21])),
    r"the labels of data go from 0 to 3, but the model has 3 outputs, .* last layer 4 outputs": lambda: base(
        data=(X, Y + (Y == 2))
    ),
    r"the labels of data go from -1 to 1": lambda: base(data=(X, Y - 1)),
    r"the labels of validation go from 1 to 3": lambda: base(validation=(X, Y + 1)),
    r"every label of data is the ignored index -100": lambda: base(data=(X, torch.full((22,), -100))),
    r"target of data is float32 of shape \[22?\]; use y\.long\(\)": lambda: base(data=(X, Y.float())),
    r"target of data is int32 .* use y\.long\(\)": lambda: base(data=(X, Y.int())),
    r"target of data is int64 of shape \[\d+, 1\]; use y\.squeeze\(1\)": lambda: base(data=(X, Y[:, None])),
    r"needs class indices .*float32": lambda: base(data=DataLoader(list(zip(X, Y.float(), strict=True)))) | {
        "batch_size": None
    },
    r"data\[0\] has 2 values that are NaN or infinite, the first at index \[3, 1\]": lambda: base(
        data=(nan_in(X), Y)
    ),
    r"data\['x'\] has 2 values that are NaN": lambda: base(
        data={"x": nan_in(X)}, loss=None, objective=lambda model, batch: model(batch["x"]).sum()
    ),
    r"validation\[0\] has 2 values that are NaN": lambda: base(validation=(nan_in(X), Y)),
    r"a loss needs data as \(inputs, target\), but a batch is a Tensor": lambda: base(data=X),
    r"a loss needs data as \(inputs, target\)": lambda: base(data=(X,)),
    r"a loss needs data as \(inputs, target\), but a batch is a dict": lambda: base(data={"x": X}),
    r"data must be tensors like \(X, y\), .* but holds a NoneType": lambda: base(data=None),
    r"data must be tensors like \(X, y\), .* but holds a str": lambda: base(data=("a", "b")),
    r"data is empty": lambda: base(data=()),
    r"data has no samples": lambda: base(data=(X[:0], Y[:0])),
    r"must count its samples in its first dimension": lambda: base(data=(X, torch.tensor(1))),
    r"the optimizer holds 4 of 4 parameters that are not the model's .*Adam\(model": other_parameters,
    r"batch_size must be a whole number of at least 1, but is 0": lambda: base(batch_size=0),
    r"batch_size must be a whole number of at least 1, but is 2\.5": lambda: base(batch_size=2.5),
    r"batch_size must be a whole number of at least 1, but is True": lambda: base(batch_size=True),
    r"batch_size is 23 but there are only 22 samples": lambda: base(batch_size=23),
    r"batch_size is 24 but there are only 22 samples": lambda: base(batch_size=24, data=Noisy()),
    r"epochs must be a whole number of at least 1, but is 0": lambda: base(epochs=0),
    r"epochs must be .* but is -3": lambda: base(epochs=-3),
    r"steps must be .* but is 0": lambda: base(epochs=None) | {"steps": 0},
    r"either epochs or steps; neither given": lambda: base(epochs=None),
    r"either epochs or steps; both given": lambda: base() | {"steps": 3},
    r"either loss .* or objective .*; neither given": lambda: base(loss=None),
    r"either loss .* or objective .*; both given": lambda: base(objective=lambda model, batch: 0),
    r"loss must be something that can be called, but is a str": lambda: base(loss="cross entropy"),
    r"loss is the class CrossEntropyLoss; make one": lambda: base(loss=nn.CrossEntropyLoss),
    r"the loss must be a scalar, but has shape \[5\]": lambda: base(
 loss=nn.CrossEntropyLoss(reduction="none")),
    r"the loss does not depend on the parameters": lambda: base(
        loss=lambda output, target: nn.functional.cross_entropy(output.detach(), target)
    ),
    r"the loss does not depend on the parameters of the model: no gradient reaches them": lambda: base(
        loss=lambda output, target: torch.ones((), requires_grad=True) * output.detach().sum()
    ),
    r"the loss must be a scalar tensor, but is a float": lambda: base(
        loss=lambda output, target: nn.functional.cross_entropy(output.detach(), target).item()
    ),
    r"no trainable parameters": frozen,
    r"no trainable": lambda: base(nn.ReLU(), lambda p: base()["optimizer"]),
    r"model must be a torch\.nn\.Module, but is a function": lambda: base() | {"model": pairs},
    r"optimizer must be a torch\.optim\.Optimizer, but is None": lambda: base() | {"optimizer": None},
    r"the scheduler belongs to another optimizer": other_scheduler,
    r"patience needs validation data": lambda: base(patience=3),
    r"ReduceLROnPlateau needs validation data": lambda: scheduled(ReduceLROnPlateau),
    r"patience must be .* but is 0": lambda: base(patience=0, validation=(X, Y)),
    r"validate_every must be .* but is 0": lambda: base(validate_every=0, validation=(X, Y)),
    r"clip_grad_norm must be larger than 0, but is 0": lambda: base(clip_grad_norm=0),
    r"scheduler_per must be \"epoch\" or \"step\", but is 'batch'": lambda: base(scheduler_per="batch"),
    r"monitor_mode must be \"min\" or \"max\"": lambda: base(monitor_mode="least"),
    r"workers must be 0 or more, but is -1": lambda: base(workers=-1),
    r"Noisy streams its samples: give a batch_size": lambda: base(data=Noisy(), batch_size=None),
    r"Empty is empty": lambda: base(data=Empty()),
    r"Stream is iterable and decides its order itself": lambda: base(data=Stream(), shuffle=True),
    r"a DataLoader, which decides batch_size and shuffle itself": lambda: base(
        data=DataLoader(Noisy()), shuffle=True
    ),
    r"gives no batch: is its dataset smaller": lambda: base(
        data=DataLoader(Noisy(), batch_size=30, drop_last=True), batch_size=None
    ),
    r"Stream gave no batch in epoch 1": lambda: base(data=Stream(), drop_last=True, batch_size=30),
}  # fmt: skip


@pytest.mark.parametrize("message", BAD)
def test_bad_input_is_told_and_nothing_is_written(message, tmp_path):
    case = BAD[message]()
    with pytest.raises(TaskError, match=message):
        fit(**case, run_dir=tmp_path)
    assert list(tmp_path.iterdir()) == []


ABOUT_THE_LOSS = [message for message in BAD if message.startswith("the loss") or "no trainable" in message]


@pytest.mark.parametrize("message", ABOUT_THE_LOSS)
@pytest.mark.parametrize("plan", ["native", "compiled"])
def test_a_bad_loss_is_told_whatever_the_plan(message, plan, tmp_path):
    """Also before an optimizer without state, whose first step is not made in eager."""
    for optimizer in (None, torch.optim.Adam):
        case = BAD[message]()
        if optimizer is not None and "no trainable" not in message:
            case["optimizer"] = optimizer(case["model"].parameters())
        elif plan == "compiled" and "no gradient reaches" in message:
            continue  # it can be compiled, which takes seconds; the first spot check tells
        with pytest.raises(TaskError, match=message):
            fit(**case, plan=plan, run_dir=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_the_model_itself_failing_leaves_nothing_either(tmp_path):
    with pytest.raises(RuntimeError, match="mat1 and mat2"):
        fit(**base(data=(X[:, :3], Y)), run_dir=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_device_or_plan_that_is_not_there(tmp_path):
    with pytest.raises(DeviceNotFoundError):
        fit(**base(), device="cuda:77", run_dir=tmp_path)
    with pytest.raises(PlanRefusedError, match=r"there is no plan 'eagre'; did you mean 'eager'"):
        fit(**base(), plan="eagre", run_dir=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_an_iterator_where_an_iterable_is_wanted():
    with pytest.raises(
        DataError, match="OnlyOnce gave no batch in epoch 2; each iteration over it must begin"
    ):
        fit(**base(data=OnlyOnce()))


@pytest.mark.filterwarnings("ignore:Length of IterableDataset")
def test_a_length_that_is_too_small_is_told():
    with pytest.raises(DataError, match="Understated gives more than the 2 batches an epoch"):
        fit(**base(data=Understated()))


def test_options_beside_a_task_are_refused():
    task = Task(**base())
    with pytest.raises(
        TaskError, match=r"takes epochs, seed from the task; .*replace\(task, epochs=\.\.\.\)"
    ):
        fit(task, epochs=3, seed=1)
    assert_same_run(fit(dataclasses.replace(Task(**base()), epochs=3)), fit(**base(epochs=3)))


@pytest.mark.parametrize(
    "data",
    [
        (X.numpy(), Y.numpy()),
        [X, Y],
        TensorDataset(X, Y),
        (X, Y.to(torch.uint8)),
        (X, nn.functional.one_hot(Y, 3).float()),
        (np.asfortranarray(X.numpy()), Y.numpy()),
    ],
    ids=["numpy", "list", "TensorDataset", "uint8", "probabilities", "columns first"],
)
def test_data_in_other_forms_is_the_same(data):
    assert torch.allclose(fit(**base(data=data)).losses, fit(**base()).losses, atol=1e-6)


def test_ignored_labels_may_be_outside_the_outputs():
    y = Y.clone()
    y[3] = -100
    assert fit(**base(data=(X, y))).status == "finished"
    y[3] = 99
    assert fit(**base(data=(X, y), loss=nn.CrossEntropyLoss(ignore_index=99))).status == "finished"


def test_two_trainings_in_one_second_have_their_own_folder(tmp_path):
    runs = [fit(**base(epochs=1), run_dir=tmp_path, name="a b/ü") for _ in range(3)]
    assert len({run.directory for run in runs}) == 3
    assert all(run.directory.name.startswith("a-b-ü-") for run in runs)
    assert sorted(tmp_path.iterdir()) == sorted(run.directory for run in runs)
