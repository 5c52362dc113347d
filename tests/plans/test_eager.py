"""The plan eager keeps the contract of a loop, and never waits for the device within a chunk."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from flatout import DeviceMismatchError, PlanRefusedError, Task, TaskError
from flatout.data.load import load_data
from flatout.plans.base import Loop, Plan, scheduler_of_steps
from flatout.plans.eager import EagerPlan
from flatout.plans.registry import PLANS, find_plan

X, Y = torch.linspace(-1, 1, 88).view(22, 4), torch.arange(22) % 3

OPTIMIZERS = {
    "sgd": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9),
    "adam": lambda p: torch.optim.Adam(p, lr=0.01),
    "adamw": lambda p: torch.optim.AdamW(p, lr=0.01, foreach=True),
    "rmsprop": lambda p: torch.optim.RMSprop(p, lr=0.01),
}


def make(optimizer="sgd", **options):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 6), nn.Dropout(0.2), nn.ReLU(), nn.Linear(6, 3))
    chosen = {"data": (X, Y), "loss": nn.CrossEntropyLoss(), "epochs": 9, "batch_size": 5}
    return Task(model=model, optimizer=OPTIMIZERS[optimizer](model.parameters()), **chosen | options)


def prepared(task, device="cpu"):
    data = load_data(task, torch.device(device))
    return EagerPlan().prepare(task, data), data


class NoHostReads(TorchDispatchMode):
    """Counts the operations that make the host wait for a value of a tensor on a device."""

    def __init__(self):
        super().__init__()
        self.reads = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        if function is torch.ops.aten._local_scalar_dense.default:
            self.reads += 1
        return function(*args, **kwargs or {})


@pytest.mark.parametrize("clip", [None, 1.0])
@pytest.mark.parametrize("batch_size", [None, 5])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_nothing_is_read_from_the_device(optimizer, batch_size, clip):
    """On "meta" a tensor has no values: whoever reads one fails."""
    task = make(optimizer, batch_size=batch_size, clip_grad_norm=clip).copied_to("meta")
    loop, data = prepared(task, "meta")
    for _ in range(6):
        losses = loop.advance(data.take(4))
        assert losses.device.type == "meta"


def test_sgd_reads_nothing_at_all():
    loop, data = prepared(make(clip_grad_norm=1.0))
    with NoHostReads() as mode:
        loop.advance(data.take(4))
    assert mode.reads == 0


@settings(deadline=None, max_examples=40)
@given(st.lists(st.integers(1, 9), min_size=1, max_size=6), st.sampled_from([None, 1, 5, 22]), st.booleans())
def test_one_loss_a_step_whatever_the_chunks(sizes, batch_size, shuffle):
    loop, data = prepared(make(batch_size=batch_size, shuffle=shuffle))
    losses = []
    for size in sizes:
        order = data.take(size)
        losses.append(loop.advance(order))
        assert losses[-1].shape == (len(order),)
        assert not losses[-1].requires_grad
    taken = sum(map(len, losses))
    other, data = prepared(make(batch_size=batch_size, shuffle=shuffle))
    one_by_one = torch.cat([other.advance(data.take(1)) for _ in range(taken)])
    assert torch.equal(torch.cat(losses), one_by_one)


def test_no_steps_no_losses():
    loop, _ = prepared(make())
    assert loop.advance(torch.empty(0, 5, dtype=torch.int64)).shape == (0,)


def test_a_bad_loss_in_a_closure_is_told_too():
    task = make(loss=nn.CrossEntropyLoss(reduction="none"))
    task.optimizer = torch.optim.LBFGS(task.model.parameters())
    loop, data = prepared(task)
    with pytest.raises(TaskError, match=r"must be a scalar, but has shape \[5\]"):
        loop.advance(data.take(1))


def test_tensors_on_two_devices_are_explained():
    task = make()
    task.model[0].to("meta")
    loop, data = prepared(task)
    with pytest.raises(DeviceMismatchError, match="meta"):
        loop.advance(data.take(1))


def test_other_errors_of_the_model_pass_unchanged():
    loop, data = prepared(make(data=(X[:, :3], Y)))
    with pytest.raises(RuntimeError, match="mat1 and mat2"):
        loop.advance(data.take(1))


def test_who_moves_the_scheduler():
    def task(per, **options):
        task = make(scheduler_per=per, **options)
        task.scheduler = torch.optim.lr_scheduler.StepLR(task.optimizer, 1)
        return task, load_data(task, torch.device("cpu"))

    for per, options, in_loop in [
        ("step", {}, True),
        ("epoch", {}, False),
        ("epoch", {"batch_size": None}, True),
        ("epoch", {"batch_size": 22}, True),
    ]:
        made, data = task(per, **options)
        assert (scheduler_of_steps(made, data) is made.scheduler) == in_loop
    assert scheduler_of_steps(make(), data) is None


def test_plans_by_name():
    assert isinstance(find_plan("auto"), EagerPlan)
    assert isinstance(find_plan("eager"), EagerPlan)
    assert all(issubclass(plan, Plan) and plan.name == name for name, plan in PLANS.items())
    assert isinstance(prepared(make())[0], Loop)
    with pytest.raises(
        PlanRefusedError, match=r"there is no plan 'graph' \(plans: auto, eager, native, compiled\)"
    ):
        find_plan("graph")
