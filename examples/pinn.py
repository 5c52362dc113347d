"""A physics-informed network: solve a differential equation by training.

A damped oscillator, a weight on a spring that comes to rest:

    u''(t) + 0.4 u'(t) + 4 u(t) = 0        u(0) = 1,  u'(0) = 0

No solution is given to the network. It is told how far it misses the equation, and how far it misses
the start. Both need derivatives of the network by its input, so the loss is no function of output and
target. That is what `objective(model, batch)` is for.

    flatout train examples/pinn.py
    python examples/pinn.py
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

import flatout

DAMPING, STIFFNESS, END = 0.4, 4.0, 4.0


def exact(t: Tensor) -> Tensor:
    """The solution on paper, to compare with."""
    decay = DAMPING / 2
    frequency = (STIFFNESS - decay**2) ** 0.5
    swing = torch.cos(frequency * t) + decay / frequency * torch.sin(frequency * t)
    solution: Tensor = torch.exp(-decay * t) * swing
    return solution


def derivative(u: Tensor, t: Tensor) -> Tensor:
    """du/dt [n, 1] of u [n, 1] at t [n, 1]."""
    # Each u depends on its own t only, so the gradient of the sum holds every du/dt.
    # create_graph: the result can be derived again, by t for u'' and by the weights for training.
    (du,) = torch.autograd.grad(u.sum(), t, create_graph=True)
    return du


def objective(model: nn.Module, t: Tensor) -> Tensor:
    """How badly the model solves the problem at the times t [n, 1]; 0 is perfect."""
    t = t.detach().requires_grad_()
    u = model(t)
    du = derivative(u, t)
    equation = derivative(du, t) + DAMPING * du + STIFFNESS * u

    start = torch.zeros(1, 1, device=t.device, requires_grad=True)
    u_start = model(start)
    du_start = derivative(u_start, start)

    # Without a large weight on the start, u = 0 everywhere would look good: it solves the equation.
    loss: Tensor = equation.square().mean() + 20 * ((u_start - 1).square() + du_start.square()).mean()
    return loss


def largest_error(model: nn.Module, t: Tensor) -> Tensor:
    """The largest distance from the exact solution at the times t [n, 1]."""
    error: Tensor = (model(t) - exact(t)).abs().max()
    return error


def task() -> flatout.Task:
    """What `flatout train examples/pinn.py` trains."""
    torch.manual_seed(0)
    # tanh, not ReLU: the second derivative of a ReLU network is 0 everywhere.
    model = nn.Sequential(nn.Linear(1, 32), nn.Tanh(), nn.Linear(32, 32), nn.Tanh(), nn.Linear(32, 1))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    steps = 3000
    return flatout.Task(
        model=model,
        data=torch.linspace(0, END, 64).unsqueeze(1),  # the times at which the equation must hold
        objective=objective,
        optimizer=optimizer,
        # Large steps first, small ones at the end; moved after every step.
        scheduler=torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=steps),
        scheduler_per="step",
        steps=steps,
        # Times between those of training. A metric of an objective gets model and batch, too.
        validation=torch.linspace(0, END, 201).unsqueeze(1),
        metrics={"largest error": largest_error},
        name="pinn",
    )


if __name__ == "__main__":
    oscillator = task()
    run = flatout.fit(oscillator)
    print(f"loss {run.losses[-1]:.2e}, largest error {run.metrics['largest error']:.4f}")
    with torch.no_grad():
        for t in (0.0, 1.0, 2.0, 4.0):
            time = torch.tensor([[t]])
            print(f"u({t:g}) = {oscillator.model(time).item():+.4f}   exact {exact(time).item():+.4f}")
