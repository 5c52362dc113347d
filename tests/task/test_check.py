"""What can be told of a task without its data (the messages one by one: tests/training/test_bad_input.py)."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from flatout import Task, TaskError
from flatout.task.check import check_task
from flatout.task.modes import evaluation_mode


def make(**options):
    model = nn.Linear(2, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    return Task(
        **{"model": model, "data": None, "optimizer": optimizer, "loss": nn.MSELoss(), "epochs": 1} | options
    )


def test_a_good_task_passes():
    check_task(make())
    check_task(make(epochs=None, steps=3, batch_size=2, clip_grad_norm=1, workers=2))
    check_task(make(loss=None, objective=lambda model, batch: 0))


@given(
    st.sampled_from(["epochs", "batch_size", "validate_every", "patience"]),
    st.integers(max_value=0) | st.floats() | st.booleans() | st.text(max_size=3),
)
def test_numbers_are_whole_and_at_least_one(name, value):
    with pytest.raises(TaskError, match=f"{name} must be a whole number of at least 1"):
        check_task(make(**{name: value}))


def test_an_optimizer_may_hold_some_of_the_parameters():
    model = nn.Linear(2, 1)
    check_task(make(model=model, optimizer=torch.optim.SGD([model.bias], lr=0.1)))


def test_an_optimizer_may_hold_parameters_of_the_objective():
    class Equation(nn.Module):
        def __init__(self):
            super().__init__()
            self.coefficient = nn.Parameter(torch.ones(()))

        def forward(self, model, batch):
            return (model(batch) * self.coefficient).square().mean()

    model, objective = nn.Linear(2, 1), Equation()
    optimizer = torch.optim.SGD([*model.parameters(), objective.coefficient], lr=0.1)
    check_task(make(model=model, optimizer=optimizer, loss=None, objective=objective))


def test_some_foreign_parameters_are_counted():
    model = nn.Linear(2, 1)
    optimizer = torch.optim.SGD([*model.parameters(), nn.Parameter(torch.ones(5, 6))], lr=0.1)
    with pytest.raises(TaskError, match=r"holds 1 of 3 .* \(the first has shape \[5, 6\]\)"):
        check_task(make(model=model, optimizer=optimizer))


def test_an_optimizer_of_frozen_parameters_only():
    model = nn.Linear(2, 1)
    model.bias.requires_grad_(False)
    with pytest.raises(TaskError, match="all parameters the optimizer holds are frozen"):
        check_task(make(model=model, optimizer=torch.optim.SGD([model.bias], lr=0.1)))


def test_evaluation_mode_puts_each_module_back():
    model = nn.Sequential(nn.Dropout(), nn.BatchNorm1d(2))
    model[1].eval()
    with pytest.raises(ZeroDivisionError), evaluation_mode(model):
        assert not any(module.training for module in model.modules())
        raise ZeroDivisionError
    assert [module.training for module in model.modules()] == [True, True, False]
