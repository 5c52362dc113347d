"""Run a task under two plans from the same state and compare everything a step leaves behind."""

import torch

from flatout.data.load import load_data
from flatout.plans.eager import EagerLoop, EagerPlan
from flatout.plans.native import NativePlan
from flatout.step.graph import state_of

# Twenty steps of sums in another order: 7 digits of float32 lose three or four on the way, where an optimizer
# divides by a small root or a kink is passed a digit more; 16 digits of float64 lose no more than that.
TOLERANCE = {
    torch.float32: (2e-3, 2e-4),
    torch.float64: (1e-8, 1e-9),
}


def trained(plan, task, steps=20):
    """Losses and state after so many steps, in chunks as a training has them."""
    data = load_data(task, torch.device("cpu"))
    task.model.train()
    loop = plan.prepare(task, data)
    losses = []
    left = steps
    while left:
        order = data.take(min(left, 7))
        if isinstance(loop, EagerLoop):  # random operators get the numbers that native draws
            losses.append(loop.advance_with_same_numbers(order, steps - left))
        else:
            losses.append(loop.advance(order))
        left -= len(order)
    loop.store()
    return torch.cat(losses), {name: tensor.detach() for name, (_, tensor) in state_of(task).items()}


def assert_agree(make, steps=20, tolerance=None, plan=None):
    """`make()` gives the same task each time; the plan (native) must do with it what eager does."""
    ours, state = trained(plan or NativePlan(), make(), steps)
    theirs, expected = trained(EagerPlan(), make(), steps)
    assert state.keys() == expected.keys()
    assert ours.dtype == theirs.dtype
    rtol, atol = tolerance or TOLERANCE[theirs.dtype]
    torch.testing.assert_close(ours, theirs, rtol=rtol, atol=atol, equal_nan=True)
    for name, tensor in expected.items():
        torch.testing.assert_close(
            state[name], tensor, rtol=rtol, atol=atol, equal_nan=True, msg=lambda m, n=name: f"{n}: {m}"
        )
