"""flatout's plan `native`."""

from __future__ import annotations

import torch
from workloads import Row

from flatout.data.load import load_data
from flatout.plans.registry import find_plan
from peers.steps import Steps

_CHUNK = 2000  # steps a call, about what training takes between two looks


def native(row: Row) -> Steps:
    """The plan `native`, prepared once and run chunk by chunk as training does."""
    task = row.task(steps=1_000_000_000)
    data = load_data(task, torch.device("cpu"))
    loop = find_plan("native").prepare(task, data)

    def run(count: int) -> None:
        while count > 0:
            order = data.take(min(count, _CHUNK))
            loop.advance(order)
            count -= len(order)

    return Steps(run)
