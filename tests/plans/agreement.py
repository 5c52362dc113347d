"""Run a task under two plans from the same state and compare everything a step leaves behind."""

import torch

from flatout.data.load import load_data
from flatout.plans.eager import EagerLoop, EagerPlan
from flatout.plans.native import NativePlan
from flatout.racing.check import NOISY_RUNS, perturb, spread
from flatout.step.graph import state_of

# Twenty steps of sums in another order: 7 digits of float32 lose three or four on the way, where an optimizer
# divides by a small root or a kink is passed a digit more; 16 digits of float64 lose no more than that.
TOLERANCE = {
    torch.float32: (2e-3, 2e-4),
    torch.float64: (1e-8, 1e-9),
}


def trained(plan, task, steps=20, seed=None):
    """Losses and state after so many steps, in chunks as a training has them.

    With a seed the parameters are changed in their last digit before.
    """
    if seed is not None:
        perturb(task, seed)
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
    found, wanted = {"the losses": ours, **state}, {"the losses": theirs, **expected}
    noise = {}
    if not all(torch.allclose(found[n], wanted[n], rtol, atol, equal_nan=True) for n in wanted):
        noise = _noise(make, wanted, steps)
    for name, tensor in wanted.items():
        allowed = atol + 10 * noise.get(name, 0.0)
        torch.testing.assert_close(
            found[name], tensor, rtol=rtol, atol=allowed, equal_nan=True, msg=lambda m, n=name: f"{n}: {m}"
        )


def _noise(make, wanted, steps):
    """How far eager is from itself when its parameters differ in the last digit, as the race measures it."""
    runs = []
    for seed in range(NOISY_RUNS):
        losses, state = trained(EagerPlan(), make(), steps, seed)
        runs.append({"the losses": losses, **state})
    return spread(wanted, runs)
