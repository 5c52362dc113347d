"""A regression: find a curve in noisy measurements, and stop when it no longer gets better.

flatout train examples/regression.py
python examples/regression.py
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

import flatout

NOISE = 0.2


def truth(x: Tensor) -> Tensor:
    """What the measurements are of."""
    return torch.sin(3 * x) + 0.5 * x


def measured(samples: int, seed: int) -> tuple[Tensor, Tensor]:
    """Places x [n, 1] in -2..2 and noisy values y [n, 1]."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.rand(samples, 1, generator=generator) * 4 - 2
    # y must have the shape of the output, [n, 1]. With [n], MSELoss would compare every output with
    # every target.
    return x, truth(x) + NOISE * torch.randn(samples, 1, generator=generator)


def task() -> flatout.Task:
    """What `flatout train examples/regression.py` trains."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(1, 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, 1))
    return flatout.Task(
        model=model,
        data=measured(400, seed=1),
        loss=nn.MSELoss(),
        optimizer=torch.optim.Adam(model.parameters(), lr=3e-3),
        epochs=300,
        batch_size=64,
        clip_grad_norm=1.0,  # no single batch may throw the weights far
        validation=measured(200, seed=2),  # other measurements of the same curve
        validate_every=5,  # epochs
        # R² is 1 for perfect predictions and 0 for always answering the mean. It is the metric of a
        # regression unless you name others. After ten validations without a better R² training stops,
        # and the model gets the best weights back.
        patience=10,
        name="regression",
    )


if __name__ == "__main__":
    curve = task()
    run = flatout.fit(curve)
    print(f"{run.status} after {run.steps} steps; the weights are those of step {run.best_step}")
    # Noise cannot be predicted: a mean squared error of NOISE² = 0.04 is the best there is.
    print(f"R² {run.metrics['R²']:.3f}, mean squared error {run.metrics['loss']:.4f}")
