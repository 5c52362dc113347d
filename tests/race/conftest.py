"""Small tasks to race, and a cache without earlier decisions."""

import shutil

import pytest
import torch
from torch import nn

from flatout import Task
from flatout.codegen.build import cache_folder


@pytest.fixture(autouse=True)
def own_cache():
    """The cache of the tests, without decisions; libraries stay, so that each is built once."""
    folder = cache_folder()
    shutil.rmtree(folder / "decisions", ignore_errors=True)
    return folder


def small_task(steps=20_000, optimizer=torch.optim.SGD, batch_size=None, **changes):
    generator = torch.Generator().manual_seed(7)
    X = torch.randn(22, 4, generator=generator)
    y = (X.sum(1) > 0).long()
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 2))
    chosen = {"data": (X, y), "loss": nn.CrossEntropyLoss(), "steps": steps, "batch_size": batch_size}
    return Task(model=model, optimizer=optimizer(model.parameters(), lr=0.01), **(chosen | changes))


@pytest.fixture
def make_task():
    return small_task
