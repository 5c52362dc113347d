"""A task, moved and copied."""

import warnings

import pytest
import torch
from torch import nn
from torch.optim.lr_scheduler import OneCycleLR, SequentialLR, StepLR

from flatout import Task, fit


def make(optimizer=None, scheduler=None, **options):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.Tanh(), nn.Linear(6, 3))
    optimizer = (optimizer or (lambda p: torch.optim.Adam(p, lr=0.01)))(model.parameters())
    X = torch.linspace(-1, 1, 88).view(22, 4).sin()
    return Task(
        model=model,
        data=(X, torch.arange(22) % 3),
        optimizer=optimizer,
        scheduler=None if scheduler is None else scheduler(optimizer),
        loss=nn.CrossEntropyLoss(weight=torch.tensor([1.0, 2.0, 3.0])),
        epochs=4,
        batch_size=11,
        **options,
    )


SCHEDULERS = {
    "none": None,
    "step": lambda o: StepLR(o, 1, 0.5),
    "one cycle": lambda o: OneCycleLR(o, 0.1, total_steps=40),
    "sequential": lambda o: SequentialLR(o, [StepLR(o, 1), StepLR(o, 2)], [3]),
}


def weights(task):
    return {name: tensor.clone() for name, tensor in task.model.state_dict().items()}


def equal(a, b):
    return all(torch.equal(a[name], b[name]) for name in a)


@pytest.mark.parametrize("scheduler", SCHEDULERS)
@pytest.mark.parametrize("trained", [False, True])
def test_a_copy_trains_as_the_original_would_and_leaves_it_alone(scheduler, trained):
    task = make(scheduler=SCHEDULERS[scheduler])
    if trained:
        fit(task)
    twin, before, rate = task.copied_to("cpu"), weights(task), task.optimizer.param_groups[0]["lr"]
    state = {k: v["exp_avg"].clone() for k, v in task.optimizer.state.items()}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        run = fit(twin)
    assert equal(weights(task), before)
    assert not equal(weights(twin), before)
    assert task.optimizer.param_groups[0]["lr"] == rate
    assert all(torch.equal(task.optimizer.state[k]["exp_avg"], v) for k, v in state.items())
    assert torch.equal(fit(task).losses, run.losses)
    assert equal(weights(twin), weights(task))


def test_a_copy_is_tied_together_and_shares_only_the_data():
    task = make(scheduler=SCHEDULERS["sequential"], validation=(torch.ones(2, 4), torch.ones(2).long()))
    twin = task.copied_to("cpu")
    mine = {id(p) for p in twin.model.parameters()}
    assert {id(p) for group in twin.optimizer.param_groups for p in group["params"]} == mine
    assert twin.scheduler.optimizer is twin.optimizer
    assert all(part.optimizer is twin.optimizer for part in twin.scheduler._schedulers)
    assert not mine & {id(p) for p in task.model.parameters()}
    assert twin.loss is not task.loss
    assert twin.data is task.data
    assert twin.validation is task.validation


def test_a_scheduler_called_in_the_wrong_order_is_still_noticed():
    twin = make(scheduler=SCHEDULERS["step"]).copied_to("cpu")
    with pytest.warns(UserWarning, match="before `optimizer.step"):
        twin.scheduler.step()


OPTIMIZERS = {
    "adam": lambda p: torch.optim.Adam(p, lr=0.01),
    "momentum": lambda p: torch.optim.SGD(p, lr=0.01, momentum=0.9),
    "lbfgs": lambda p: torch.optim.LBFGS(p, max_iter=3),
}


def tensors_in(value):
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from tensors_in(item)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_everything_goes_to_the_device(name):
    task = make(OPTIMIZERS[name])
    fit(task)
    twin = task.copied_to("meta")
    assert {t.device.type for t in twin.model.state_dict().values()} == {"meta"}
    assert twin.loss.weight.device.type == "meta"
    parameters = [p for group in twin.optimizer.param_groups for p in group["params"]]
    assert [id(p) for p in parameters] == [id(p) for p in twin.model.parameters()]
    assert twin.optimizer.state.keys() <= set(parameters)
    assert twin.optimizer.state
    for state in twin.optimizer.state.values():
        for key, value in state.items():
            if key != "step":
                assert {t.device.type for t in tensors_in(value)} <= {"meta"}, key
    assert {t.device.type for t in task.model.state_dict().values()} == {"cpu"}


def test_a_step_counter_stays_on_the_host_unless_it_is_read_on_the_device():
    for capturable, device in ((False, "cpu"), (True, "meta")):
        task = make()
        fit(task)
        task.optimizer.param_groups[0]["capturable"] = capturable
        twin = task.copied_to("meta")
        assert {state["step"].device.type for state in twin.optimizer.state.values()} == {device}


def test_to_moves_in_place():
    task = make()
    assert task.to("cpu") is task
    assert task.to("meta") is task
    assert task.model[0].weight is task.optimizer.param_groups[0]["params"][0]
    assert task.model[0].weight.device.type == "meta"


def test_weights_that_are_shared_stay_shared_with_the_optimizer():
    model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    model[1].weight = model[0].weight
    task = Task(
        model=model, data=None, optimizer=torch.optim.SGD(model.parameters(), lr=1), loss=nn.MSELoss()
    )
    twin = task.copied_to("cpu")
    assert twin.model[0].weight is twin.model[1].weight
    assert len(twin.optimizer.param_groups[0]["params"]) == 3


def test_shuffled_is_for_batches_unless_told():
    assert make().shuffled
    assert not make(shuffle=False).shuffled
    full = make()
    full.batch_size = None
    assert not full.shuffled
    full.shuffle = True
    assert full.shuffled
