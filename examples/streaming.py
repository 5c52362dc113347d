"""A model that streams: signals are made on the fly, so that none is seen twice.

A `Dataset` whose samples are computed, read from files or changed at random cannot lie on the device as
a whole. flatout loads it batch by batch, through a `DataLoader` that it makes.

    flatout train examples/streaming.py
    python examples/streaming.py
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

import flatout

LENGTH = 64
SHAPES = ("sine", "square", "sawtooth")


class Signals(Dataset[tuple[Tensor, Tensor]]):
    """Waves of three shapes, each with its own frequency, phase and noise.

    Args:
        samples: how many; sample i has shape i % 3.
        fixed: sample i is the same each time, as validation needs it; otherwise it is drawn anew.
    """

    def __init__(self, samples: int, *, fixed: bool = False) -> None:
        self.samples = samples
        self.fixed = fixed

    def __len__(self) -> int:
        return self.samples

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        """A signal [1, 64] and its shape as a number."""
        # None: torch's own generator, which torch.manual_seed sets and a checkpoint keeps.
        generator = torch.Generator().manual_seed(index) if self.fixed else None
        frequency, phase = torch.rand(2, generator=generator).tolist()
        turns = (1 + 3 * frequency) * torch.linspace(0, 1, LENGTH) + phase
        label = index % len(SHAPES)
        wave = (
            torch.sin(2 * math.pi * turns),
            torch.sign(torch.sin(2 * math.pi * turns)),
            2 * (turns % 1) - 1,
        )[label]
        noisy = wave + 0.3 * torch.randn(LENGTH, generator=generator)
        return noisy.unsqueeze(0), torch.tensor(label)


def task() -> flatout.Task:
    """What `flatout train examples/streaming.py` trains."""
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv1d(1, 16, kernel_size=7, padding=3),  # [n, 1, 64] -> [n, 16, 64]
        nn.ReLU(),
        nn.MaxPool1d(4),  # -> [n, 16, 16]
        nn.Conv1d(16, 32, kernel_size=5, padding=2),  # -> [n, 32, 16]
        nn.ReLU(),
        nn.AdaptiveAvgPool1d(1),  # -> [n, 32, 1]
        nn.Flatten(),
        nn.Linear(32, len(SHAPES)),
    )
    return flatout.Task(
        model=model,
        data=Signals(1536),
        loss=nn.CrossEntropyLoss(),
        optimizer=torch.optim.Adam(model.parameters(), lr=3e-3),
        epochs=10,
        batch_size=64,  # data that streams needs one
        validation=Signals(300, fixed=True),
        # More processes can load: workers=2. For samples as cheap as these, one process is faster.
        workers=0,
        name="streaming",
    )


if __name__ == "__main__":
    run = flatout.fit(task())
    for entry in run.history:
        print(f"epoch {entry['epoch']:2}  loss {entry['loss']:.4f}  accuracy {entry['accuracy']:.3f}")
