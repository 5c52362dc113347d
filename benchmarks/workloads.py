"""The workloads: the same model, data, batch and optimizer for everyone who runs them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

import flatout


@dataclass(frozen=True)
class Row:
    """A workload.

    Attributes:
        name: how the table calls it.
        sizes: widths of the dense layers.
        activation: "relu" or "tanh".
        samples: rows of the data.
        batch: samples a step; None: all.
        loss: "ce", "mse" or "pinn" (the squared residual of u'' = -π² sin πx).
        optimizer: "sgd" or "adam".
        steps: how long a training of it usually is.
        goals: how many times faster `native` is meant to be than the eager loop, and than the best peer.
    """

    name: str
    sizes: tuple[int, ...]
    activation: str
    samples: int
    batch: int | None
    loss: str
    optimizer: str
    steps: int
    goals: tuple[float, float]

    @property
    def rate(self) -> float:
        """The learning rate."""
        return 0.01 if self.optimizer == "sgd" else 1e-3

    @property
    def step_samples(self) -> int:
        """Samples a step."""
        return self.batch or self.samples

    @property
    def epoch_steps(self) -> int:
        """Whole batches an epoch."""
        return self.samples // self.step_samples

    def model(self) -> nn.Sequential:
        """The network, the same weights each time."""
        torch.manual_seed(0)
        layers: list[nn.Module] = []
        for ins, outs in zip(self.sizes, self.sizes[1:], strict=False):
            layers += [nn.Linear(ins, outs), nn.Tanh() if self.activation == "tanh" else nn.ReLU()]
        return nn.Sequential(*layers[:-1])

    def data(self) -> tuple[Tensor, ...]:
        """The data, the same numbers each time."""
        generator = torch.Generator().manual_seed(0)
        if self.loss == "pinn":
            return (torch.linspace(-1, 1, self.samples).unsqueeze(1),)
        X = torch.randn(self.samples, self.sizes[0], generator=generator)
        if self.loss == "mse":
            return X, torch.randn(self.samples, self.sizes[-1], generator=generator)
        return X, torch.randint(0, self.sizes[-1], (self.samples,), generator=generator)

    def optimizer_of(self, model: nn.Module, **options: Any) -> torch.optim.Optimizer:
        """The optimizer over a model."""
        if self.optimizer == "sgd":
            return torch.optim.SGD(model.parameters(), lr=self.rate, **options)
        return torch.optim.Adam(model.parameters(), lr=self.rate, **options)

    def objective(self, model: nn.Module, batch: tuple[Tensor, ...]) -> Tensor:
        """The loss of a batch."""
        if self.loss == "pinn":
            return residual(model, batch)
        output = model(batch[0])
        if self.loss == "mse":
            return nn.functional.mse_loss(output, batch[1])
        return nn.functional.cross_entropy(output, batch[1])

    def task(self, steps: int) -> flatout.Task:
        """The workload for flatout."""
        model = self.model()
        return flatout.Task(
            model=model,
            data=self.data(),
            objective=self.objective,
            optimizer=self.optimizer_of(model),
            steps=steps,
            batch_size=self.batch,
            drop_last=True,
            name=self.name,
        )


def residual(model: nn.Module, batch: tuple[Tensor, ...]) -> Tensor:
    """How far the network is from solving u'' = -π² sin πx."""
    x = batch[0].detach().requires_grad_(True)
    u = model(x)
    (first,) = torch.autograd.grad(u.sum(), x, create_graph=True)
    (second,) = torch.autograd.grad(first.sum(), x, create_graph=True)
    return ((second + math.pi**2 * torch.sin(math.pi * x)) ** 2).mean()


ROWS = {
    row.name: row
    for row in (
        Row("iris", (4, 10, 3), "relu", 120, None, "ce", "sgd", 20_000, (100, 7)),
        Row("digits", (64, 64, 10), "relu", 1437, 64, "ce", "adam", 2_200, (20, 2)),
        Row("policy", (17, 64, 64, 10), "tanh", 2048, 64, "ce", "adam", 5_000, (20, 2)),
        Row("simplechains", (4, 32, 16, 4), "tanh", 10_000, None, "mse", "adam", 1_500, (6, 2.5)),
        Row("mnist-shaped", (784, 128, 10), "relu", 12_800, 128, "ce", "adam", 1_000, (4, 1)),
        Row("pinn", (1, 32, 32, 1), "tanh", 1000, None, "pinn", "adam", 1_500, (10, 2)),
    )
}
