"""The batch in slices: the same numbers, and nests that do run in slices."""

import math
import sys
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import nn, optim

import flatout
from flatout.codegen import native_step, parallel, slices
from flatout.codegen.nest import slices_of
from flatout.codegen.team import Team
from flatout.data.load import load_data
from flatout.plans.native import NativePlan

sys.path.insert(0, str(Path(__file__).parents[1] / "plans"))

from agreement import assert_agree, trained


def network(samples, loss, *layers, dtype=torch.float32, width=5, **options):
    """A function that makes a task over random data, the same each time."""

    def make():
        torch.manual_seed(0)
        model = nn.Sequential(*(layer() for layer in layers)).to(dtype)
        X = torch.randn(samples, width, dtype=dtype)
        y = (
            torch.randint(0, 3, (samples,))
            if loss is nn.CrossEntropyLoss
            else torch.randn(samples, 3, dtype=dtype)
        )
        return flatout.Task(
            model=model,
            data=(X, y),
            loss=loss(),
            optimizer=optim.Adam(model.parameters(), lr=0.01, eps=1e-3),
            epochs=100,
            **options,
        )

    return make


def dense(samples, loss=nn.MSELoss, **options):
    return network(
        samples, loss, partial(nn.Linear, 5, 33), nn.Tanh, partial(nn.Linear, 33, 18), nn.ReLU,
        partial(nn.Linear, 18, 3), **options
    )  # fmt: skip


@pytest.fixture
def small_cache(monkeypatch):
    """Slices from small batches on."""
    monkeypatch.setattr(slices, "_CACHE", 8 << 10)


def loops_over_slices(make):
    """The (slices, samples of a slice) of the program of a task."""
    task = make()
    loop = NativePlan().prepare(task, load_data(task, torch.device("cpu")))
    (_, step), *_ = loop._steps.values()
    kernels = step.program.kernels
    return [(loop.count, loop.comment) for kernel in kernels for loop in slices_of(kernel)]


@pytest.mark.parametrize("samples", [600, 1000, 1009, 1024])
def test_a_batch_of_any_size_agrees(samples, small_cache):
    assert_agree(dense(samples), steps=6)


def test_a_prime_number_of_samples_has_a_last_slice_of_its_own(small_cache):
    (main, _), (rest, comment) = loops_over_slices(dense(1009))
    assert main > 1
    assert rest == 1
    assert comment.startswith("the last ")


def test_one_loop_holds_forward_and_backward(small_cache):
    assert [count for count, _ in loops_over_slices(dense(1024))] == [16]


def test_a_small_batch_is_not_cut():
    assert loops_over_slices(dense(256)) == []


NORMALISED = [
    (partial(nn.Linear, 5, 20), partial(nn.BatchNorm1d, 20), nn.ReLU, partial(nn.Linear, 20, 3)),
    (partial(nn.Linear, 5, 20), partial(nn.LayerNorm, 20), nn.GELU, partial(nn.Linear, 20, 3)),
    (partial(nn.Linear, 5, 3), partial(nn.Softmax, 1)),
]


@pytest.mark.parametrize("layers", NORMALISED, ids=["batch norm", "layer norm", "softmax"])
def test_sums_over_the_batch_in_the_middle_of_a_step_agree(layers, small_cache):
    assert_agree(network(900, nn.MSELoss, *layers), steps=6)


def test_a_gradient_whose_rows_do_not_fill_the_last_vector_agrees(small_cache):
    assert_agree(
        network(700, nn.MSELoss, partial(nn.Linear, 43, 21), nn.Tanh, partial(nn.Linear, 21, 3), width=43)
    )


def test_labels_agree(small_cache):
    assert_agree(dense(1500, nn.CrossEntropyLoss), steps=6)


def test_batches_and_a_smaller_last_one_agree(small_cache):
    assert_agree(dense(1400, batch_size=600), steps=8)


def test_double_precision_agrees(small_cache):
    assert_agree(dense(1009, dtype=torch.float64), steps=6)


def test_the_largest_of_a_batch_agrees(small_cache):
    def objective(model, batch):
        output = model(batch[0])
        return (output - batch[1]).square().mean() + output.max() - output.amin(0).sum()

    def make():
        task = dense(1009)()
        return flatout.Task(
            model=task.model, data=task.data, objective=objective, optimizer=task.optimizer, epochs=10
        )

    assert_agree(make, steps=4)


def test_a_second_derivative_agrees(small_cache):
    def objective(model, batch):
        x = batch[0].detach().requires_grad_(True)
        (slope,) = torch.autograd.grad(model(x).sum(), x, create_graph=True)
        return ((slope - torch.cos(math.pi * x)) ** 2).mean()

    def make():
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(1, 24), nn.Tanh(), nn.Linear(24, 24), nn.Tanh(), nn.Linear(24, 1))
        x = torch.linspace(-1, 1, 1000).unsqueeze(1)
        return flatout.Task(
            model=model,
            data=(x,),
            objective=objective,
            optimizer=optim.Adam(model.parameters(), lr=0.01, eps=1e-3),
            epochs=100,
        )

    assert_agree(make, steps=6)
    assert loops_over_slices(make)


@pytest.fixture
def two_threads(monkeypatch):
    """Steps in two parts, even small ones."""
    monkeypatch.setenv("FLATOUT_THREADS", "2")
    monkeypatch.setattr(native_step, "_threads", lambda: 2)
    monkeypatch.setattr(parallel, "_LEAST_STEP", 100)
    monkeypatch.setattr(parallel, "_LEAST_KERNEL", 100)


@pytest.mark.parametrize("layers", NORMALISED, ids=["batch norm", "layer norm", "softmax"])
def test_two_threads_agree_with_eager(layers, two_threads):
    assert_agree(network(260, nn.MSELoss, *layers), steps=20)


@pytest.mark.parametrize("samples", [1009, 1024])
def test_parts_with_several_slices_agree_with_eager(samples, two_threads, small_cache):
    assert_agree(dense(samples), steps=12)


def test_one_thread_and_two_compute_the_same_numbers(two_threads, small_cache, monkeypatch):
    def losses(threads):
        monkeypatch.setattr(Team, "next", lambda self, steps: (threads, steps))
        ours, state = trained(NativePlan(), dense(1009, nn.CrossEntropyLoss)(), 40)
        return ours, state

    (one, state), (two, other_state) = losses(1), losses(2)
    assert torch.equal(one, two)
    assert all(torch.equal(tensor, other_state[name]) for name, tensor in state.items())


def test_a_team_takes_what_was_faster_and_looks_again():
    team = Team(2)
    now = {1: 1e-3, 2: 3e-3}  # seconds a step
    taken = []
    for _ in range(40):
        threads, count = team.next(1000)
        taken.append(threads)
        team.note(threads, count, count * now[threads])
    assert taken[:5] == [1, 2, 1, 2, 1]
    now = {1: 1e-3, 2: 0.5e-3}
    for _ in range(40):
        threads, count = team.next(1000)
        team.note(threads, count, count * now[threads])
        last = threads
    assert last == 2
