"""Costs counted from a graph are those counted by hand."""

import pytest
import torch
from torch import nn

from flatout import Task
from flatout.hardware.peaks import Peaks
from flatout.step import cost as module
from flatout.step.trace import trace


def traced(model, x, y, loss, optimizer=None):
    optimizer = optimizer or torch.optim.SGD(model.parameters(), lr=0.1)
    task = Task(model=model, data=(x, y), loss=loss, optimizer=optimizer, epochs=1)
    return trace(task, (x, y))


@pytest.fixture
def linear():
    """One layer 3 -> 2 on 5 samples."""
    return traced(nn.Linear(3, 2), torch.ones(5, 3), torch.ones(5, 2), nn.MSELoss())


def flops(graph, operator):
    return [o.flops for o in graph.cost.operators if o.operator == operator and o.launches]


def test_matrix_products_are_exact(linear):
    assert flops(linear, "addmm") == [2 * 5 * 3 * 2 + 5 * 2]  # the bias adds one an element
    assert flops(linear, "mm") == [2 * 2 * 5 * 3]  # the gradient of the weight; nobody wants the input's


def test_bmm_is_exact():
    class Batched(nn.Module):
        def __init__(self):
            super().__init__()
            self.w = nn.Parameter(torch.ones(4, 3, 2))

        def forward(self, x):
            return torch.bmm(x, self.w)

    graph = traced(Batched(), torch.ones(4, 5, 3), torch.ones(4, 5, 2), nn.MSELoss())
    assert flops(graph, "bmm") == [2 * 4 * 5 * 3 * 2, 2 * 4 * 3 * 5 * 2]


def test_pointwise_is_one_an_element_and_a_reduction_one_an_element_it_reads(linear):
    operators = linear.cost.operators
    (mean,) = (o for o in operators if o.operator in ("mean", "sum") and o.phase == "forward")
    assert mean.flops == 10
    (bias,) = (o for o in operators if o.operator == "sum" and o.phase == "backward")
    assert (bias.flops, bias.bytes) == (10, 4 * (10 + 2))
    update = [o for o in operators if o.phase == "update" and o.launches]
    assert sum(o.flops for o in update) in (8, 16)  # w - lr * g: a multiplication may stand by itself


def test_totals_are_sums(linear):
    assert linear.flops == sum(o.flops for o in linear.cost.operators)
    assert linear.launches == sum(o.launches for o in linear.cost.operators)


def test_the_least_bytes_are_state_and_batch_read_and_state_written(linear):
    state, batch, loss = 4 * (6 + 2), 4 * (15 + 10), 4
    assert linear.bytes == state + batch + state + loss


def test_frozen_state_is_not_written():
    model = nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 2))
    model[0].requires_grad_(False)
    graph = traced(
        model,
        torch.ones(5, 3),
        torch.ones(5, 2),
        nn.MSELoss(),
        torch.optim.SGD(model[1].parameters(), lr=0.1),
    )
    assert graph.bytes == 4 * (8 + 6 + 15 + 10 + 6 + 1)


def test_views_and_the_copies_of_the_trace_start_no_work(linear):
    free = {o.operator for o in linear.cost.operators if not o.launches}
    assert {"alias", "permute", "clone"} & free
    started = {o.operator for o in linear.cost.operators if o.launches}
    assert not started & {"alias", "permute", "t", "view", "expand", "_local_scalar_dense", "clone"}


def test_memory_is_state_batch_and_what_lives_at_once(linear):
    held = 4 * (6 + 2 + 15 + 10)
    assert held + 4 * 10 <= linear.peak_memory <= held + 4 * 10 * 4


def test_layers_and_phases():
    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
    graph = traced(model, torch.ones(5, 3), torch.ones(5, 2), nn.MSELoss())
    seen = {(o.layer, o.phase) for o in graph.cost.operators if o.launches}
    assert {("0", "forward"), ("1", "backward"), ("2", "backward"), ("optimizer", "update")} <= seen


def test_the_floor_is_the_slower_of_computing_and_moving(linear, monkeypatch):
    peaks = Peaks("a device", 1e9, 1e6, 1e8, 1, "2026-01-01", "")
    assert module.floor(10**9, 100, peaks) == 1.0
    assert module.floor(1, 10**4, peaks) == pytest.approx(1e-4)
    assert module.floor(1, 2 * 10**6, peaks) == pytest.approx(2.0)
    monkeypatch.setattr("flatout.hardware.peaks.peaks_of", lambda device: peaks)
    assert linear.floor("cpu") == module.floor(linear.flops, linear.bytes, peaks)
