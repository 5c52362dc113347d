"""Does a plan compute what eager computes."""

import math

import pytest
import torch
from torch import nn

from flatout.data.load import load_data
from flatout.plans.eager import EagerPlan
from flatout.plans.native import NativePlan
from flatout.racing.check import TOLERANCES, compare, first_steps, perturb, spread, tensors_of
from flatout.racing.race import race
from flatout.task.task import Task


def test_the_worst_tensor_is_named_with_its_difference():
    eager = {"a": torch.ones(3), "b": torch.ones(3)}
    found = compare({"a": torch.ones(3) + 1e-6, "b": torch.ones(3) + 1e-2}, eager)
    assert not found.agrees
    assert found.worst == "b"
    assert found.max_abs_diff == pytest.approx(1e-2, rel=1e-3)
    assert "b differs by 0.01 from eager" in found.in_words()


@pytest.mark.parametrize("dtype", list(TOLERANCES))
def test_rounding_agrees_and_a_hundred_times_the_tolerance_does_not(dtype):
    exact = torch.linspace(-3, 3, 7, dtype=dtype)
    assert compare({"w": exact * (1 + torch.finfo(dtype).eps)}, {"w": exact}).agrees
    relative, absolute = TOLERANCES[dtype]
    assert not compare({"w": exact + 100 * (3 * relative + absolute)}, {"w": exact}).agrees


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_nan_and_infinity_have_to_be_in_the_same_places(value):
    eager = {"w": torch.tensor([1.0, value])}
    assert compare({"w": torch.tensor([1.0, value])}, eager).agrees
    assert not compare({"w": torch.tensor([value, 1.0])}, eager).agrees
    assert not compare({"w": torch.tensor([1.0, 0.0])}, eager).agrees
    assert not compare({"w": torch.tensor([1.0, -value])}, eager).agrees or math.isnan(value)


def test_whole_numbers_have_to_be_equal():
    assert not compare({"n": torch.tensor([10**6])}, {"n": torch.tensor([10**6 + 1])}).agrees


def test_a_missing_tensor_or_another_shape_is_no_agreement():
    assert not compare({}, {"w": torch.ones(1)}).agrees
    assert not compare({"w": torch.ones(2)}, {"w": torch.ones(1)}).agrees


def test_the_first_steps_include_the_smaller_last_batch(make_task):
    task = make_task(batch_size=5, optimizer=torch.optim.Adam)
    sizes = []

    def loss(output, target):
        sizes.append(len(target))
        return torch.nn.functional.cross_entropy(output, target)

    task.loss = loss
    data = load_data(task, torch.device("cpu"))
    found = first_steps(task, data, EagerPlan().prepare(task, data))
    assert 2 in sizes and sizes.count(5) == 4
    assert len(found["the loss"]) == 5
    assert {"0.weight", "0.weight.exp_avg", "2.bias.step"} <= set(found)


def test_what_was_taken_does_not_change_with_the_task(make_task):
    task = make_task()
    before = tensors_of(task)
    with torch.no_grad():
        task.model[0].weight.zero_()
    assert before["0.weight"].abs().sum() > 0


def with_batch_norm(rate=0.01):
    """A bias whose gradient is rounding, of which Adam makes whole steps."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(5, 7), nn.BatchNorm1d(7), nn.Tanh(), nn.Linear(7, 3))
    data = (torch.randn(20, 5), torch.arange(20) % 3)
    optimizer = torch.optim.Adam(model.parameters(), lr=rate)
    return Task(
        model=model, data=data, optimizer=optimizer, loss=nn.CrossEntropyLoss(), batch_size=10, epochs=9
    )


def first_steps_of(plan, task, seed=None):
    if seed is not None:
        perturb(task, seed)
    task.model.train()
    data = load_data(task, torch.device("cpu"))
    torch.manual_seed(0)
    return first_steps(task, data, plan.prepare(task, data))


def test_what_eager_does_not_determine_is_no_reason_to_throw_a_plan_out():
    eager = first_steps_of(EagerPlan(), with_batch_norm())
    native = first_steps_of(NativePlan(), with_batch_norm())
    assert compare(native, eager).worst.startswith(("0.bias", "1.running_mean"))
    noise = spread(eager, [first_steps_of(EagerPlan(), with_batch_norm(), seed) for seed in range(3)])
    assert compare(native, eager, noise).agrees
    assert noise["0.bias"] > 0.001
    assert noise["0.weight"] < 1e-5


def test_beside_noise_a_wrong_plan_is_still_found_out():
    eager = first_steps_of(EagerPlan(), with_batch_norm())
    noise = spread(eager, [first_steps_of(EagerPlan(), with_batch_norm(), seed) for seed in range(3)])
    wrong = first_steps_of(EagerPlan(), with_batch_norm(rate=0.0101))
    found = compare(wrong, eager, noise)
    assert not found.agrees
    assert found.worst not in ("0.bias", "1.running_mean")


def test_a_race_compares_plans_under_the_same_masks(make_task):
    task = make_task(optimizer=torch.optim.Adam, batch_size=5, steps=20_000)
    task.model = torch.nn.Sequential(torch.nn.Dropout(0.5), *task.model)
    native = race(task, plans=["eager", "native"], devices=["cpu"]).candidates[1]
    assert native.status == "ok", native.reason
    assert native.max_abs_diff < 1e-4


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_last_digit_is_changed_in_every_precision(dtype):
    task = with_batch_norm()
    task.model.to(dtype)
    before = tensors_of(task)
    perturb(task, 0)
    for name, parameter in task.model.named_parameters():
        old = before[name]
        assert torch.equal(parameter != old, old != 0)
        assert ((parameter - old).abs() <= 2 * torch.finfo(dtype).eps * old.abs()).all()
