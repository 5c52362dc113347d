"""From your own model to flatout and back: what goes in comes out trained, in plain PyTorch.

python examples/hand_over.py
flatout train examples/hand_over.py
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from torch import Tensor, nn

import flatout


def spirals(samples: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Points [n, 2] on two arms of a spiral, and the arm of each [n]."""
    generator = torch.Generator().manual_seed(seed)
    y = torch.arange(samples) % 2
    radius = torch.rand(samples, generator=generator).sqrt()
    angle = 6 * radius + torch.pi * y
    X = torch.stack([radius * torch.cos(angle), radius * torch.sin(angle)], dim=1)
    return X + 0.02 * torch.randn(samples, 2, generator=generator), y


def network() -> nn.Sequential:
    """Points [n, 2] in, scores of the two arms [n, 2] out."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(2, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 2))


def task() -> flatout.Task:
    """The same training for the command line."""
    model = network()
    return flatout.Task(
        model=model,
        data=spirals(400),
        validation=spirals(200, seed=1),
        loss=nn.CrossEntropyLoss(),
        optimizer=torch.optim.Adam(model.parameters(), lr=0.01),
        epochs=400,
        name="hand-over",
    )


def main(folder: Path) -> None:
    """Train, look, predict; the picture and the weights go to `folder`."""
    # 1. Plain PyTorch: your own model, data and optimizer.
    model = network()
    X, y = spirals(400)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)

    # 2. flatout runs the loop. Without batch_size each step sees all samples.
    run = flatout.fit(
        model,
        (X, y),
        loss=nn.CrossEntropyLoss(),
        optimizer=optimizer,
        epochs=400,
        validation=spirals(200, seed=1),
        name="hand-over",
    )
    print(f"loss {run.losses[0]:.3f} -> {run.losses[-1]:.3f} in {run.steps} steps, {run.metrics}")
    print(f"picture: {run.plot(folder / 'spirals.png')}")

    # 3. Plain PyTorch again. The same objects hold the result, and nothing of flatout is needed.
    model.eval()
    with torch.no_grad():
        points = torch.tensor([[0.0, 0.5], [0.0, -0.5]])
        print("the points lie on the arms", model(points).argmax(1).tolist())
    torch.save(model.state_dict(), folder / "spirals.pt")

    # 4. The optimizer, with its momentum, goes on as well: a few more steps by hand.
    model.train()
    for _ in range(10):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(X), y)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    print(f"loss {loss.item():.3f} after ten more steps by hand")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "."))
