"""The plan native computes what eager computes, whatever the dense network, loss and optimizer."""

import random
import sys
from pathlib import Path

import pytest
import torch
from agreement import assert_agree, trained
from hypothesis import given, settings
from hypothesis import strategies as st
from networks import NETWORKS, OPTIMIZERS, draw_task
from torch import nn
from torch.optim import SGD, Adam, lr_scheduler

from flatout.data.load import load_data
from flatout.errors import PlanRefusedError
from flatout.plans.eager import EagerLoop, EagerPlan
from flatout.plans.native import NativePlan
from flatout.task.task import Task

sys.path.insert(0, str(Path(__file__).parents[2] / "examples"))


def pairs(n=27, dtype=torch.float32):
    generator = torch.Generator().manual_seed(1)
    X = torch.randn(n, 5, generator=generator).to(dtype)
    return X, torch.randint(0, 3, (n,), generator=generator)


def task(*between, optimizer=None, **changes):
    torch.manual_seed(0)
    kind = changes.pop("model", None)
    model = kind() if kind else nn.Sequential(nn.Linear(5, 7), *between, nn.Tanh(), nn.Linear(7, 3))
    made = SGD(model.parameters(), lr=0.1) if optimizer is None else optimizer(model.parameters())
    if callable(scheduler := changes.get("scheduler")):
        changes["scheduler"] = scheduler(made)
    if "objective" not in changes:
        changes.setdefault("loss", nn.CrossEntropyLoss())
    return Task(model=model, optimizer=made, **({"data": pairs(), "batch_size": 9, "epochs": 99} | changes))


@settings(NETWORKS, max_examples=15, derandomize=True)
@given(st.data())
def test_a_random_network_agrees(data):
    assert_agree(draw_task(data.draw), reordered=True)


@pytest.mark.slow
@pytest.mark.timeout(3000)
@pytest.mark.parametrize("_run", range(10))
@settings(NETWORKS, max_examples=40)
@given(st.data())
def test_many_random_networks_agree(_run, data):
    assert_agree(draw_task(data.draw), reordered=True)


@pytest.mark.slow
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_optimizer_agrees(name):
    assert_agree(lambda: task(optimizer=OPTIMIZERS[name]))


@pytest.mark.parametrize("activation", [nn.ELU, nn.GELU])
def test_two_samples_in_float64_agree(activation):
    """GCC 12 miscompiled the product of two rows with few columns, where it stood behind certain loops."""

    def two():
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(3, 5), activation(), nn.Linear(5, 5)).double()
        data = torch.randn(2, 3).double(), torch.randn(2, 5).double()
        return Task(
            model=model, data=data, optimizer=SGD(model.parameters(), 0.05), loss=nn.MSELoss(), epochs=99
        )

    assert_agree(two)


def test_a_second_derivative_in_the_objective_agrees():
    import pinn

    assert_agree(pinn.task, steps=30)


class Tied(nn.Module):
    """Encodes and decodes with the same weight."""

    def __init__(self):
        super().__init__()
        self.encode, self.decode = nn.Linear(5, 5), nn.Linear(5, 5)
        self.decode.weight = self.encode.weight

    def forward(self, x):
        return self.decode(torch.tanh(self.encode(x)))


def test_tied_weights_agree():
    X, _ = pairs()
    assert_agree(lambda: task(model=Tied, data=(X, X), loss=nn.MSELoss(), optimizer=lambda p: Adam(p, 0.01)))


def test_a_batch_that_is_a_dictionary_agrees():
    X, y = pairs()
    data = {"x": X, "y": y, "w": torch.linspace(0, 1, len(X))}

    def objective(model, batch):
        return (
            nn.functional.cross_entropy(model(batch["x"]), batch["y"], reduction="none")
            .mul(batch["w"])
            .mean()
        )

    assert_agree(lambda: task(data=data, objective=objective))


class TwoInputs(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(5, 3), nn.Linear(2, 3)

    def forward(self, x, z):
        return self.first(x) * self.second(z)


def test_several_inputs_agree():
    X, y = pairs()
    assert_agree(lambda: task(model=TwoInputs, data=(X, X[:, 1:3], y)))


def test_buffers_are_updated():
    make = lambda: task(nn.BatchNorm1d(7), drop_last=True)  # noqa: E731
    assert_agree(make)
    done = make()
    _, state = trained(NativePlan(), done, steps=20)
    assert done.model[1].num_batches_tracked == 20
    assert state["1.num_batches_tracked"] == 20
    assert done.model[1].running_var.ne(1).all()


def test_parameters_and_buffers_of_the_loss_belong_to_the_state():
    class Scaled(nn.Module):
        def __init__(self):
            super().__init__()
            self.scale = nn.Parameter(torch.ones(3))
            self.register_buffer("seen", torch.zeros(()))

        def forward(self, output, target):
            self.seen += 1
            return nn.functional.cross_entropy(output * self.scale, target)

    def make():
        torch.manual_seed(0)
        model, loss = nn.Linear(5, 3), Scaled()
        optimizer = Adam([*model.parameters(), *loss.parameters()], lr=0.01)
        return Task(model=model, loss=loss, optimizer=optimizer, data=pairs(), batch_size=9, epochs=99)

    assert_agree(make)


def test_weights_of_classes_are_read_where_they_lie():
    weight = torch.tensor([0.2, 0.5, 2.0])
    assert_agree(lambda: task(loss=lambda o, y: nn.functional.cross_entropy(o, y, weight=weight)))


class Words(nn.Module):
    def __init__(self):
        super().__init__()
        self.words, self.fc = nn.Embedding(9, 4), nn.Linear(4, 3)

    def forward(self, x):
        return self.fc(self.words(x).mean(1))


@pytest.mark.parametrize("wrong", [9, -1, 10**12])
def test_an_index_that_is_none_is_told_as_in_eager(wrong):
    """C would read or write beside the tensor."""
    from flatout import fit

    def made(inputs=None, labels=None):
        x, y = torch.arange(54).view(27, 2) % 9, pairs()[1]
        if labels is None:
            x[20, 1] = wrong
        else:
            y[20] = wrong
        return task(model=Words, data=(x, y), loss=twice, batch_size=8)

    def twice(output, target):
        return 2 * nn.functional.cross_entropy(output, target)

    for part in ({"inputs": True}, {"labels": True}):
        said = []
        for plan in ("eager", "native"):
            with pytest.raises(IndexError) as caught:
                fit(made(**part), plan=plan)
            said.append(str(caught.value))
        assert said[0] == said[1]


class NamedLikeC(nn.Module):
    """Its layers and parameters have names that mean something else in C."""

    def __init__(self):
        super().__init__()
        self.tanh, self.main = nn.Tanh(), nn.Linear(5, 3)
        for name in ("order", "steps", "int", "c1", "v2", "i0", "exp", "total", "größe"):
            self.register_parameter(name, nn.Parameter(torch.rand(3)))

    def forward(self, x):
        x = self.tanh(self.main(x)).exp() + torch.tanh(self.order).log_softmax(0)
        return (
            x * self.steps + self.int * self.c1 / self.v2.exp() - self.i0 - self.exp * self.total - self.größe
        )


def test_names_of_the_model_that_mean_something_in_c_agree():
    X, y = pairs(dtype=torch.float64)
    assert_agree(lambda: task(model=lambda: NamedLikeC().double(), data=(X, y)))


SCHEDULERS = {
    "each epoch": {"scheduler": lambda o: lr_scheduler.StepLR(o, 2, 0.3)},
    "each step": {"scheduler": lambda o: lr_scheduler.StepLR(o, 3, 0.7), "scheduler_per": "step"},
    "cosine": {"scheduler": lambda o: lr_scheduler.CosineAnnealingLR(o, 20), "scheduler_per": "step"},
    "full batch": {"scheduler": lambda o: lr_scheduler.StepLR(o, 3, 0.7), "batch_size": None},
}


@pytest.mark.parametrize("options", SCHEDULERS.values(), ids=SCHEDULERS)
def test_a_scheduler_gives_the_learning_rates_of_eager(options):
    assert_agree(lambda: task(**options))
    ours, theirs = task(**options), task(**options)
    trained(NativePlan(), ours)
    trained(EagerPlan(), theirs)
    assert ours.optimizer.param_groups[0]["lr"] == theirs.optimizer.param_groups[0]["lr"]


class Own(lr_scheduler.LRScheduler):
    """Changes what the optimizer has: the decay grows, is 0 for a step, and the betas and eps move."""

    def get_lr(self):
        return [group["lr"] * 0.99 for group in self.optimizer.param_groups]

    def step(self, epoch=None):
        super().step()
        at = self.last_epoch
        for group in self.optimizer.param_groups:
            group["weight_decay"] = 0.0 if at in (0, 6, 7) else 0.01 * at
            if "betas" in group:
                group["betas"] = (0.5 + at / 50, 0.99 - at / 100)
                group["eps"] = 1e-3 * (1 + at)


MOMENTUM = {
    "one cycle of SGD": (
        lambda p: SGD(p, lr=0.1, momentum=0.9),
        lambda o: lr_scheduler.OneCycleLR(o, 0.2, total_steps=20),
    ),
    "one cycle of Adam": (
        lambda p: Adam(p, lr=0.01, eps=1e-3),
        lambda o: lr_scheduler.OneCycleLR(o, 0.02, total_steps=20),
    ),
    "cycles of Nesterov": (
        lambda p: SGD(p, lr=0.1, momentum=0.9, nesterov=True),
        lambda o: lr_scheduler.CyclicLR(o, 0.01, 0.2, step_size_up=4),
    ),
    "one's own, of Adam": (lambda p: Adam(p, lr=0.01, eps=1e-3), Own),
    "one's own, of SGD": (lambda p: SGD(p, lr=0.1, momentum=0.9), Own),
}


@pytest.mark.parametrize(("optimizer", "scheduler"), MOMENTUM.values(), ids=MOMENTUM)
def test_what_a_scheduler_changes_is_followed(optimizer, scheduler):
    assert_agree(lambda: task(optimizer=optimizer, scheduler=scheduler, scheduler_per="step"))


def test_no_library_is_built_anew_for_an_option_that_changes(monkeypatch):
    """Every step runs in C, that of a changed momentum too."""
    made = task(
        optimizer=lambda p: SGD(p, lr=0.1, momentum=0.9),
        scheduler=lambda o: lr_scheduler.OneCycleLR(o, 0.2, total_steps=20),
        scheduler_per="step",
    )
    data = load_data(made, torch.device("cpu"))
    loop = NativePlan().prepare(made, data)
    loop.advance(data.take(1))  # the optimizer makes its state
    monkeypatch.setattr(EagerLoop, "advance", lambda *_: pytest.fail("a step ran in eager"))
    assert len(loop.advance(data.take(12))) == 12


def test_groups_frozen_parameters_and_clipping_agree():
    def make():
        made = task(clip_grad_norm=0.1)
        made.model[0].bias.requires_grad_(False)
        groups = [
            {"params": [made.model[0].weight], "lr": 0.3, "weight_decay": 0.1},
            {"params": list(made.model[2].parameters()), "betas": (0.5, 0.9)},
        ]
        made.optimizer = torch.optim.AdamW(groups, lr=0.01)
        return made

    assert_agree(make)


def test_an_option_changed_between_two_calls_is_followed():
    def run(plan):
        made = task(optimizer=lambda p: SGD(p, lr=0.1, momentum=0.9))
        data = load_data(made, torch.device("cpu"))
        loop = plan.prepare(made, data)
        losses = [loop.advance(data.take(2)), loop.advance(data.take(1))]
        made.optimizer.param_groups[0]["momentum"] = 0.1
        made.optimizer.param_groups[0]["lr"] = 0.5
        return torch.cat([*losses, *(loop.advance(data.take(2)) for _ in range(4))])

    torch.testing.assert_close(run(NativePlan()), run(EagerPlan()))


class Branch(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(5, 3)

    def forward(self, x):
        if x.mean() > 0:
            return self.fc(x)
        return -self.fc(x)


class Item(Branch):
    def forward(self, x):
        return self.fc(x) * x.mean().item()


class Rate(Branch):
    def forward(self, x):
        return self.fc(x) * random.random()


class Counting(Branch):
    calls = 0

    def forward(self, x):
        self.calls += 1
        return self.fc(x) * (1.0 if self.calls < 10 else 2.0)


class Images(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.fc = nn.Conv1d(1, 2, 3), nn.Linear(6, 3)

    def forward(self, x):
        return self.fc(self.conv(x.unsqueeze(1)).flatten(1))


REFUSED = {
    "control flow on data": (lambda: task(model=Branch), r"at test_native\.py:\d+: it decides in Python"),
    "random numbers of Python": (lambda: task(model=Rate), "draws random numbers from Python's random"),
    "a counter in Python": (lambda: task(model=Counting), r"changes the attribute 'calls' of Counting"),
    "a convolution": (lambda: task(model=Images), r"no loop nest for aten\.convolution\S* in conv"),
    "a step counted in Python": (lambda: task(optimizer=Counted), "counts in Python"),
}


class Counted(SGD):
    """Keeps its step counter as a number of Python."""

    def step(self, closure=None):
        for group in self.param_groups:
            for p in group["params"]:
                self.state[p]["step"] = self.state[p].get("step", 0) + 1
                self.state[p]["last"] = p.grad.clone()
                p.data.add_(p.grad, alpha=-group["lr"] / self.state[p]["step"])


@pytest.mark.parametrize(("make", "said"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_done_is_refused_by_name(make, said):
    made = make()
    with pytest.raises(PlanRefusedError, match=said):
        NativePlan().prepare(made, load_data(made, torch.device("cpu")))
    losses, _ = trained(EagerPlan(), made, steps=3)  # and eager goes on from the untouched task
    assert len(losses) == 3


def test_a_number_taken_out_of_a_tensor_agrees():
    assert_agree(lambda: task(model=Item))


def test_hooks_on_gradients_are_followed():
    def make():
        made = task()
        made.model[0].weight.register_hook(lambda g: g * 0.5)
        return made

    assert_agree(make)


def test_hooks_around_the_update_are_refused():
    made = task()
    made.optimizer.register_step_post_hook(lambda *_: None)
    with pytest.raises(PlanRefusedError, match="hooks around its step"):
        NativePlan().prepare(made, load_data(made, torch.device("cpu")))


def test_nan_comes_out_as_in_eager():
    X, y = pairs()
    X[3, 2] = float("nan")
    assert_agree(lambda: task(data=(X, y), shuffle=False))


def test_names_that_mean_something_in_c_agree():
    class Odd(nn.Module):
        def __init__(self):
            super().__init__()
            self.tanh = nn.Linear(4, 5)
            self.v1 = nn.Parameter(torch.randn(5))
            self.step = nn.Parameter(torch.randn(5))
            self.größe = nn.Parameter(torch.randn(1))
            self.register_parameter("int", nn.Parameter(torch.randn(5)))

        def forward(self, x):
            return torch.exp(torch.tanh(self.tanh(x) * self.v1 + self.step)) * self.größe + self.int

    def make():
        torch.manual_seed(0)
        model = Odd().double()
        return Task(
            model=model,
            data=(torch.randn(20, 4, dtype=torch.float64), torch.randn(20, 5, dtype=torch.float64)),
            loss=nn.MSELoss(),
            optimizer=SGD(model.parameters(), lr=0.01),
            epochs=100,
        )

    assert_agree(make, steps=3)


def test_subnormal_numbers_are_zero_within_steps_and_nowhere_else():
    model = nn.Linear(1, 1, bias=False)
    with torch.no_grad():
        model.weight.fill_(1e-30)
    data = torch.full((4, 1), 1e-10), torch.zeros(4, 1)
    loop = NativePlan().prepare(
        made := Task(
            model=model, data=data, loss=nn.L1Loss(), optimizer=SGD(model.parameters(), lr=0.0), epochs=9
        ),
        load_data(made, torch.device("cpu")),
    )
    assert loop.advance(torch.arange(4).view(1, -1)).item() == 0.0
    assert (torch.tensor(1e-30) * 1e-10).item() > 0
