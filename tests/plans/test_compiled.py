"""The plan compiled computes what eager computes, or refuses with a reason."""

import shutil

import agreement
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from networks import NETWORKS, draw_task
from torch import nn

from flatout import PlanRefusedError, Task
from flatout.data.load import load_data
from flatout.plans.compiled import CompiledPlan
from flatout.plans.eager import EagerPlan
from flatout.step.graph import state_of

pytestmark = pytest.mark.skipif(
    not any(shutil.which(name) for name in ("g++", "clang++")), reason="there is no C++ compiler"
)


@settings(NETWORKS, max_examples=2, derandomize=True)
@given(st.data())
def test_a_random_network_agrees(data):
    agreement.assert_agree(draw_task(data.draw), steps=8, plan=CompiledPlan(), reordered=True)


@pytest.mark.slow
@pytest.mark.timeout(3000)
@settings(NETWORKS, max_examples=30)
@given(st.data())
def test_many_random_networks_agree(data):
    agreement.assert_agree(draw_task(data.draw), steps=8, plan=CompiledPlan(), reordered=True)


OPTIMIZERS = {
    "sgd": lambda p: torch.optim.SGD(p, lr=0.1),
    "momentum": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, nesterov=True, weight_decay=0.01),
    "adam": lambda p: torch.optim.Adam(p, lr=0.01),
    "adamw": lambda p: torch.optim.AdamW(p, lr=0.01),
    "rmsprop": lambda p: torch.optim.RMSprop(p, lr=0.01),
    "adagrad": lambda p: torch.optim.Adagrad(p, lr=0.01),
    "nadam": lambda p: torch.optim.NAdam(p, lr=0.01),
}


def make(optimizer="sgd", *, norm=False, regression=False, scheduler=None, **options):
    torch.manual_seed(0)
    # A bias before batch norm has no gradient but rounding, which Adam would enlarge.
    layers = [
        nn.Linear(4, 6, bias=not norm),
        nn.BatchNorm1d(6) if norm else nn.Identity(),
        nn.Tanh(),
        nn.Linear(6, 3),
    ]
    model = nn.Sequential(*layers)
    x = torch.randn(22, 4)
    y = torch.randn(22, 3) if regression else torch.arange(22) % 3
    made = OPTIMIZERS[optimizer](model.parameters())
    return Task(
        model=model,
        data=(x, y),
        optimizer=made,
        loss=nn.MSELoss() if regression else nn.CrossEntropyLoss(),
        scheduler=None if scheduler is None else scheduler(made),
        epochs=9,
        **options,
    )


def trained(plan, task, steps=18, device="cpu"):
    """Losses and state after so many steps, in chunks as a training has them."""
    task.to(device)
    data = load_data(task, torch.device(device))
    loop = plan.prepare(task, data)
    losses = []
    while (done := sum(map(len, losses))) < steps:
        losses.append(loop.advance(data.take(min(steps - done, 7), cross_epochs=False)))
    loop.store()
    return torch.cat(losses), {name: tensor.detach() for name, (_, tensor) in state_of(task).items()}


def assert_agree(make_task, device="cpu"):
    ours, state = trained(CompiledPlan(), make_task(), device=device)
    theirs, expected = trained(EagerPlan(), make_task(), device=device)
    assert ours.device.type == device
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)
    for name, tensor in expected.items():
        torch.testing.assert_close(
            state[name], tensor, rtol=1e-3, atol=1e-4, msg=lambda m, n=name: f"{n}: {m}"
        )


def test_adam_with_remainder_scheduler_clipping_and_batch_norm():
    """One case with everything in it, because each compile takes seconds."""
    assert_agree(
        lambda: make(
            "adam",
            norm=True,
            batch_size=5,
            clip_grad_norm=0.5,
            scheduler=lambda o: torch.optim.lr_scheduler.OneCycleLR(o, 0.02, total_steps=20),
            scheduler_per="step",
        )
    )


@pytest.mark.parametrize(("optimizer", "regression"), [("sgd", False), ("momentum", True)])
def test_full_batch(optimizer, regression):
    assert_agree(lambda: make(optimizer, regression=regression))


def test_what_was_prepared_on_a_copy_serves_the_task():
    task = make("momentum", regression=True)
    copy = task.copied_to("cpu")
    data = load_data(task, torch.device("cpu"))
    loop = CompiledPlan().prepare(copy, load_data(copy, torch.device("cpu")))
    loop.advance(data.take(3))
    ours = loop.for_task(task, data).advance(data.take(9))
    theirs, _ = trained(EagerPlan(), make("momentum", regression=True), steps=9)
    torch.testing.assert_close(ours, theirs)
    assert loop.for_task(make(), load_data(make(), torch.device("cpu"))) is None


@pytest.mark.slow
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("options", [{"batch_size": 5}, {"regression": True, "clip_grad_norm": 0.1}])
def test_each_optimizer(optimizer, options):
    assert_agree(lambda: make(optimizer, **options))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA GPU here")
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_on_cuda(optimizer):
    assert_agree(lambda: make(optimizer, norm=True, batch_size=5), device="cuda")


def test_without_a_compiler_it_refuses(monkeypatch):
    from torch._inductor import cpp_builder

    def none():
        raise RuntimeError("no compiler")

    monkeypatch.setattr(cpp_builder, "get_cpp_compiler", none)
    task = make()
    with pytest.raises(PlanRefusedError, match="needs a C\\+\\+ compiler"):
        CompiledPlan().prepare(task, load_data(task, torch.device("cpu")))


def test_what_cannot_be_traced_is_refused():
    class Looks(nn.Linear):
        def forward(self, x):
            return super().forward(x) * (2 if x.sum() > 0 else 1)

    model = Looks(4, 3)
    task = Task(
        model=model,
        data=(torch.ones(8, 4), torch.ones(8, 3)),
        optimizer=torch.optim.SGD(model.parameters(), lr=0.1),
        loss=nn.MSELoss(),
        epochs=1,
    )
    with pytest.raises(PlanRefusedError, match=r"cannot be traced at test_compiled\.py"):
        CompiledPlan().prepare(task, load_data(task, torch.device("cpu")))


def test_what_inductor_cannot_do_is_refused_with_its_first_line(monkeypatch):
    from torch._inductor import compile_fx

    def fails(*_):
        raise NotImplementedError("no such thing\nand more")

    monkeypatch.setattr(compile_fx, "compile_fx_inner", fails)
    task = make()
    with pytest.raises(PlanRefusedError, match=r"Inductor: no such thing$"):
        CompiledPlan().prepare(task, load_data(task, torch.device("cpu")))


def test_other_devices_and_streams_are_refused():
    task = make(batch_size=5).copied_to("meta")
    with pytest.raises(PlanRefusedError, match="lies on meta"):
        CompiledPlan().prepare(task, load_data(task, torch.device("meta")))
