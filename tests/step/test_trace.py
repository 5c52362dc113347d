"""A step as a graph: its layout, its inputs, where its operators come from; tracing leaves no trace."""

import copy
import random

import pytest
import torch
from torch import nn
from torch.optim import SGD, Adam

from flatout.step.graph import state_of
from flatout.step.origin import UPDATE, origin_of
from flatout.step.trace import trace
from flatout.step.untouched import NotTracedError
from flatout.task.task import Task


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.norm, self.last = nn.Linear(4, 6), nn.BatchNorm1d(6), nn.Linear(6, 3)

    def forward(self, x):
        return self.last(torch.tanh(self.norm(self.first(x))))


class Failing(Net):
    def forward(self, x):
        self.calls = 1
        random.random()
        torch.rand(3)
        if x.sum() > 0:
            return super().forward(x)
        return x


@pytest.fixture
def batch():
    generator = torch.Generator().manual_seed(1)
    return torch.randn(8, 4, generator=generator), torch.randint(0, 3, (8,), generator=generator)


def make(batch, kind=Net, **options):
    torch.manual_seed(0)
    model = kind()
    task = Task(
        model=model,
        data=batch,
        loss=nn.CrossEntropyLoss(),
        optimizer=Adam(model.parameters(), lr=0.01, eps=1e-3),
        epochs=1,
        **options,
    )
    if kind is Net:
        eager_step(task, batch)
    return task


def eager_step(task, batch):
    task.optimizer.zero_grad()
    loss = task.loss(task.model(batch[0]), batch[1])
    loss.backward()
    task.optimizer.step()
    return loss.detach()


def inputs(task, batch, lr):
    state = [tensor.detach().clone() for _, tensor in state_of(task).values()]
    return state, [*state, *batch, torch.tensor(lr, dtype=torch.float64)]


def test_the_layout_names_each_tensor(batch):
    graph = trace(make(batch), batch)
    kinds = {entry.name: entry.kind for entry in graph.state}
    assert kinds["first.weight"] == "parameter"
    assert kinds["norm.running_mean"] == "buffer"
    assert kinds["last.bias.exp_avg_sq"] == "optimizer"
    assert [scalar.name for scalar in graph.scalars] == ["lr"]
    assert graph.batch_size == 8


def test_a_step_is_that_of_eager_and_changes_none_of_its_inputs(batch):
    task = make(batch)
    graph = trace(task, batch)
    _, args = inputs(task, batch, 0.01)
    before = [tensor.clone() for tensor in args]
    *new, loss = graph.graph(*args)
    assert all(torch.equal(a, b) for a, b in zip(args, before, strict=True))
    torch.testing.assert_close(loss, eager_step(task, batch))
    for found, (_, expected) in zip(new, state_of(task).values(), strict=True):
        torch.testing.assert_close(found, expected.detach())


def test_the_learning_rate_is_an_input(batch):
    task = make(batch)
    graph = trace(task, batch)
    state, args = inputs(task, batch, 0.0)
    unchanged = graph.graph(*args)[0]
    moved = graph.graph(*args[:-1], torch.tensor(0.5, dtype=torch.float64))[0]
    assert torch.equal(unchanged, state[0])
    assert not torch.equal(moved, state[0])


def test_operators_know_their_layer_and_the_line_of_the_user(batch):
    graph = trace(make(batch), batch)
    origins = {origin_of(node) for node in graph.graph.graph.nodes if node.op == "call_function"}
    forward = {origin.layer for origin in origins if not origin.backward}
    backward = {origin.layer for origin in origins if origin.backward}
    assert {"first", "norm", "last", UPDATE} <= forward
    assert {"first", "norm", "last"} <= backward
    (line,) = {o.source for o in origins if o.layer == "first" and not o.backward}
    assert line.startswith("test_trace.py:")


def everything(task):
    hooks = [
        (len(m._forward_hooks), len(m._forward_pre_hooks), len(m._backward_hooks))
        for m in task.model.modules()
    ]
    gradients = [None if p.grad is None else p.grad.clone() for p in task.model.parameters()]
    attributes = [sorted(m.__dict__) for m in task.model.modules()]
    groups = [{k: v for k, v in g.items() if k != "params"} for g in task.optimizer.param_groups]
    held = [[id(p) for p in g["params"]] for g in task.optimizer.param_groups]
    return copy.deepcopy((
        task.model.state_dict(), task.optimizer.state_dict(), hooks, gradients, attributes, groups, held,
        [id(p) for p in task.model.parameters()], task.model.training, torch.get_rng_state(),
        random.getstate(),
    ))  # fmt: skip


@pytest.mark.parametrize("kind", [Net, Failing])
def test_tracing_leaves_everything_as_it_was(batch, kind):
    task = make(batch, kind, clip_grad_norm=1.0)
    before = everything(task)
    if kind is Failing:
        with pytest.raises(NotTracedError, match=r"at test_trace\.py:\d+: it decides in Python"):
            trace(task, batch)
    else:
        trace(task, batch)
    same(before, everything(task))


def same(before, after):
    if isinstance(before, torch.Tensor):
        assert torch.equal(before, after)
    elif isinstance(before, dict):
        assert before.keys() == after.keys()
        for key in before:
            same(before[key], after[key])
    elif isinstance(before, list | tuple):
        assert len(before) == len(after)
        for one, other in zip(before, after, strict=True):
            same(one, other)
    else:
        assert before == after


def test_a_tensor_that_is_no_buffer_must_not_change(batch):
    seen = torch.zeros(())

    def loss(output, target):
        seen.add_(1)
        return nn.functional.cross_entropy(output, target)

    model = nn.Linear(4, 3)
    task = Task(model=model, data=batch, loss=loss, optimizer=SGD(model.parameters(), lr=0.1), epochs=1)
    with pytest.raises(NotTracedError, match=r"no parameter or buffer.*register_buffer"):
        trace(task, batch)
    assert seen == 0
