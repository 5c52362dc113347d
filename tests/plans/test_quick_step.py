"""The quick update is the optimizer's own, bit for bit."""

import pytest
import torch
from torch import nn, optim

from flatout.plans.quick_step import QuickBackward, all_parameters_at_once, quick_step, quick_zero_grad

OPTIMIZERS = [
    (optim.SGD, {"lr": 0.1}),
    (optim.SGD, {"lr": 0.1, "momentum": 0.9, "dampening": 0.1}),
    (optim.SGD, {"lr": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 0.01}),
    (optim.SGD, {"lr": 0.1, "maximize": True}),
    (optim.Adam, {}),
    (optim.Adam, {"amsgrad": True}),
    (optim.Adam, {"weight_decay": 0.1, "eps": 1e-3}),
    (optim.AdamW, {}),
    (optim.AdamW, {"amsgrad": True}),
    (optim.RMSprop, {}),
    (optim.RMSprop, {"centered": True, "momentum": 0.9, "weight_decay": 0.1}),
    (optim.Adagrad, {"lr_decay": 0.1, "weight_decay": 0.1}),
    (optim.Adamax, {"weight_decay": 0.1}),
    (optim.Adadelta, {"weight_decay": 0.1}),
    (optim.NAdam, {}),
    (optim.RAdam, {}),
    (optim.ASGD, {}),
]


def trained(kind, options, quick, dtype=torch.float32):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(17, 33), nn.Tanh(), nn.Linear(33, 5), nn.BatchNorm1d(5)).to(dtype)
    X, y = torch.randn(64, 17, dtype=dtype), torch.randint(0, 5, (64,))
    groups = [{"params": list(model[0].parameters())}, {"params": list(model[2:].parameters()), "lr": 0.01}]
    optimizer = kind(groups, **options)
    step = quick_step(optimizer) if quick else optimizer.step
    zero_grad = quick_zero_grad(optimizer) if quick else optimizer.zero_grad
    backward = QuickBackward() if quick else torch.Tensor.backward
    for _ in range(100):
        loss = nn.functional.cross_entropy(model(X), y)
        zero_grad()
        backward(loss)
        if quick:
            with all_parameters_at_once(optimizer):
                step()
        else:
            step()
    return [*model.state_dict().values(), loss.detach()], optimizer.state_dict()


@pytest.mark.parametrize(("kind", "options"), OPTIMIZERS, ids=lambda value: getattr(value, "__name__", None))
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_the_same_bits_and_the_same_state(kind, options, dtype):
    plain, plain_state = trained(kind, options, quick=False, dtype=dtype)
    quick, quick_state = trained(kind, options, quick=True, dtype=dtype)
    assert all(torch.equal(a, b) for a, b in zip(plain, quick, strict=True))
    assert plain_state["param_groups"] == quick_state["param_groups"]
    for index, state in plain_state["state"].items():
        for name, value in state.items():
            other = quick_state["state"][index][name]
            assert torch.equal(value, other) if isinstance(value, torch.Tensor) else value == other


def groups_inside(optimizer):
    with all_parameters_at_once(optimizer):
        return [group["foreach"] for group in optimizer.param_groups]


def test_foreach_is_used_only_where_it_pays_and_was_left_open():
    small, large = nn.Linear(4, 4), nn.Linear(1000, 1000)
    assert groups_inside(optim.Adam(small.parameters())) == [True]
    assert groups_inside(optim.Adam(small.parameters(), foreach=False)) == [False]
    assert groups_inside(optim.Adam(small.parameters(), fused=True)) == [None]
    assert groups_inside(optim.Adam(large.parameters())) == [None]
    assert groups_inside(optim.NAdam(small.parameters())) == [None]


def test_foreach_is_taken_back_after_an_error():
    optimizer = optim.Adam(nn.Linear(4, 4).parameters())
    with pytest.raises(KeyError), all_parameters_at_once(optimizer):
        raise KeyError
    assert optimizer.param_groups[0]["foreach"] is None


def test_hooks_and_the_profiler_still_see_the_update():
    model = nn.Linear(2, 1)
    optimizer = optim.SGD(model.parameters(), lr=0.1)
    seen = []
    handle = optimizer.register_step_post_hook(lambda *_: seen.append(1))
    model(torch.ones(1, 2)).sum().backward()
    quick_step(optimizer)()
    assert seen == [1]
    handle.remove()
    with torch.profiler.profile() as profile:
        quick_step(optimizer)()
    assert any("Optimizer.step#SGD" in event.key for event in profile.key_averages())


def test_a_zero_grad_of_the_user_is_kept():
    class Mine(optim.SGD):
        def zero_grad(self, set_to_none=True):
            for group in self.param_groups:
                for parameter in group["params"]:
                    parameter.grad = torch.ones_like(parameter)

    model = nn.Linear(2, 1)
    quick_zero_grad(Mine(model.parameters(), lr=0.1))()
    assert torch.equal(model.weight.grad, torch.ones(1, 2))


def test_the_quick_backward_adds_gradients_and_runs_hooks_as_backward_does():
    weight = torch.tensor([1.0, 2.0], requires_grad=True)
    seen = []
    weight.register_post_accumulate_grad_hook(lambda p: seen.append(p.grad.clone()))
    backward = QuickBackward()
    backward((weight * 3).sum())
    backward((weight.double() * 2).sum())  # another type of loss
    assert weight.grad.tolist() == [5.0, 5.0]
    assert [g.tolist() for g in seen] == [[3.0, 3.0], [5.0, 5.0]]
    with pytest.raises(RuntimeError, match="second time"):
        loss = (weight**2).sum()
        backward(loss)
        backward(loss)
