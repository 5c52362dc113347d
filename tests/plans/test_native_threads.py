"""Steps that several threads share (FLATOUT_THREADS) compute what one thread and what eager compute."""

import os
import shutil
from itertools import pairwise

import pytest
import torch
from agreement import assert_agree, trained
from torch import nn

from flatout.codegen import native_step
from flatout.plans.native import NativePlan
from flatout.task.task import Task

pytestmark = pytest.mark.skipif(
    not any(map(shutil.which, ("cc", "gcc", "clang"))), reason="there is no C compiler"
)
STEPS = 12
# Layers, samples, batch size: a whole batch, and batches of wide rows with a smaller last one.
SHAPES = {"full batch": ((4, 32, 16, 4), 3000, None), "batches": ((300, 64, 10), 300, 128)}


def make(shape):
    widths, samples, batch_size = SHAPES[shape]
    torch.manual_seed(0)
    layers = [part for a, b in pairwise(widths) for part in (nn.Linear(a, b), nn.Tanh())]
    model = nn.Sequential(*layers[:-1])
    data = torch.randn(samples, widths[0]), torch.randint(0, widths[-1], (samples,))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    loss = nn.CrossEntropyLoss()
    return Task(model=model, data=data, optimizer=optimizer, loss=loss, batch_size=batch_size, epochs=99)


@pytest.fixture
def threads(monkeypatch):
    """Sets how many threads share a step, also where there are fewer cores; notes how many were started."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    started = []

    class Noted(native_step.Thread):
        def start(self):
            started.append(self)
            super().start()

    monkeypatch.setattr(native_step, "Thread", Noted)

    def use(count):
        monkeypatch.setenv("FLATOUT_THREADS", str(count))
        started.clear()
        return started

    return use


@pytest.mark.parametrize("shape", SHAPES)
def test_two_threads_compute_what_one_and_eager_compute(shape, threads):
    assert not threads(1)
    alone, state = trained(NativePlan(), make(shape), STEPS)
    started = threads(2)
    shared, other = trained(NativePlan(), make(shape), STEPS)
    again, _ = trained(NativePlan(), make(shape), STEPS)
    assert started
    assert torch.equal(shared, again)
    torch.testing.assert_close(shared, alone, rtol=1e-5, atol=1e-6)
    for name, tensor in state.items():
        torch.testing.assert_close(other[name], tensor, rtol=1e-4, atol=1e-5)
    assert_agree(lambda: make(shape), STEPS)


def test_more_threads_than_rows_of_a_loop(threads):
    started = threads(7)
    assert_agree(lambda: make("full batch"), STEPS)
    assert started


@pytest.mark.parametrize("wish", ["0", "many", "", "-1"])
def test_nonsense_is_one_thread(wish, threads):
    threads(wish)
    assert native_step._threads() == 1
