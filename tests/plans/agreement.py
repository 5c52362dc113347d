"""Run a task under two plans from the same state and compare everything a step leaves behind."""

from contextlib import contextmanager

import torch

from flatout.data.load import load_data
from flatout.plans.eager import EagerLoop, EagerPlan
from flatout.plans.native import NativePlan
from flatout.racing.check import NOISE, perturb, spread
from flatout.step.graph import state_of

# Twenty steps of sums in another order: 7 digits of float32 lose three or four on the way, where an optimizer
# divides by a small root or a kink is passed a digit more; 16 digits of float64 lose no more than that.
TOLERANCE = {
    torch.float32: (2e-3, 2e-4),
    torch.float64: (1e-8, 1e-9),
}
# A kink that a sum passes or not (the sign in L1Loss) shows in one run of eager out of ten or more.
NOISY_RUNS = 50


def trained(plan, task, steps=20, seed=None, reordered=False):
    """Losses and state after so many steps, in chunks as a training has them.

    With a seed the parameters are changed in their last digit before, and, if asked for, the samples of each
    step come in another order, so that all sums over them do: the sign in L1Loss makes gradients that cancel
    exactly or but for the last digit, and Rprop goes a whole step for either.
    """
    if seed is not None:
        perturb(task, seed)
        shuffled = torch.Generator().manual_seed(seed)
    data = load_data(task, torch.device("cpu"))
    task.model.train()
    loop = plan.prepare(task, data)
    losses = []
    left = steps
    while left:
        order = data.take(min(left, 7))
        if seed is not None and reordered:
            order = order[:, torch.randperm(order.shape[1], generator=shuffled)]
        if isinstance(loop, EagerLoop):  # random operators get the numbers that native draws
            losses.append(loop.advance_with_same_numbers(order, steps - left))
        else:
            losses.append(loop.advance(order))
        left -= len(order)
    loop.store()
    return torch.cat(losses), {name: tensor.detach() for name, (_, tensor) in state_of(task).items()}


@contextmanager
def subnormals_as(plan):
    """Eager with subnormal numbers as the plan has them: in native they are zero, as its page says."""
    torch.set_flush_denormal(isinstance(plan, NativePlan))
    try:
        yield
    finally:
        torch.set_flush_denormal(False)


def assert_agree(make, steps=20, tolerance=None, plan=None, reordered=False):
    """`make()` gives the same task each time; the plan (native) must do with it what eager does.

    But for what eager itself does not do again: see `trained` for `reordered`, which is for tasks in which a
    sample has no random numbers of its own.
    """
    ours, state = trained(plan or NativePlan(), make(), steps)
    with subnormals_as(plan or NativePlan()):
        theirs, expected = trained(EagerPlan(), make(), steps)
    assert state.keys() == expected.keys()
    assert ours.dtype == theirs.dtype
    rtol, atol = tolerance or TOLERANCE[theirs.dtype]
    found, wanted = {"the losses": ours, **state}, {"the losses": theirs, **expected}
    noise = {}
    for seed in range(NOISY_RUNS):
        if _worst(found, wanted, rtol, atol, noise) is None:
            return
        with subnormals_as(plan or NativePlan()):
            losses, moved = trained(EagerPlan(), make(), steps, seed, reordered)
        moved = spread(wanted, [{"the losses": losses, **moved}])
        noise = {name: max(noise.get(name, 0.0), moved.get(name, 0.0)) for name in wanted}
    worst = _worst(found, wanted, rtol, atol, noise)
    if worst is not None:
        raise worst


def _worst(found, wanted, rtol, atol, noise):
    """The first tensor that is off by more than eager itself is after a change of the last digits."""
    for name, tensor in wanted.items():
        allowed = atol + NOISE * noise.get(name, 0.0)
        try:
            torch.testing.assert_close(
                found[name],
                tensor,
                rtol=rtol,
                atol=allowed,
                equal_nan=True,
                msg=lambda m, n=name: f"{n}: {m}",
            )
        except AssertionError as error:
            return error
    return None
