"""How long a step takes at other batch sizes, and how much of it does not depend on the size."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations
from statistics import median
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from flatout.hardware.free_memory import free_memory
from flatout.profiling.evidence import AbstainError
from flatout.profiling.trials.replica import Replica, tensors_of
from flatout.profiling.trials.setup import Setup
from flatout.profiling.trials.trial import Sizes

_BUDGET: Final = 0.35  # seconds
_LEAST, _MOST = 3, 15  # rounds
_LONG_ENOUGH: Final = 4e-3  # seconds of steps in a row


def sizes(setup: Setup) -> Sizes | None:
    """Times at a quarter, half, once, twice and four times the script's batch.

    None where a quarter of the batch takes less than half of the time: most of a step depends on the size.

    Raises:
        AbstainError: the batch cannot be told, or there is not the time.
    """
    base = setup.base
    size = batch_size(setup.subject.model, (setup.subject.args, setup.subject.kwargs))
    if size > 3 and not _mostly_fixed(base, size):
        return None
    _check_outputs(base, size)
    wanted = sorted({max(min(size, 2), size // 4), max(min(size, 2), size // 2), size, 2 * size, 4 * size})
    free = free_memory(base.device)
    kept = _kept_by_forward(base)
    copies = {each: _at(base, size, each) for each in wanted if free is None or 4 * kept * each < free * size}
    times: dict[int, list[float]] = {each: [] for each in copies}
    began = setup.clock()
    most = min(_BUDGET, setup.left)
    steps = {each: _steps(copy) for each, copy in copies.items()}
    for done in range(_MOST):
        spent = setup.clock() - began
        if done >= _LEAST and spent * (done + 1) / done > most:
            break
        if done == 1 and spent * _LEAST > setup.left:
            raise AbstainError(f"it needs {spent * _LEAST:.1f} s, and {setup.left:.1f} s are left for it")
        for each, copy in copies.items():
            copy.run(1)
            times[each].append(copy.run(steps[each]))
    return fitted(size, {each: median(taken) for each, taken in times.items()})


def fitted(size: int, step_s: Mapping[int, float]) -> Sizes:
    """The line through the times that outliers move least: the median slope of all pairs (Theil and Sen).

    >>> fitted(8, {2: 1.25, 4: 1.5, 8: 2.0, 16: 3.0, 32: 9.0}).fixed_s  # one was disturbed
    1.0
    """
    pairs = combinations(sorted(step_s.items()), 2)
    slope = max(0.0, median((more - less) / (large - small) for (small, less), (large, more) in pairs))
    fixed = max(0.0, median(took - slope * each for each, took in step_s.items()))
    return Sizes(size, dict(step_s), fixed, slope)


def batch_size(model: nn.Module, inputs: Any) -> int:
    """The first dimension of all inputs.

    Raises:
        AbstainError: they do not share one, or it may not be that of the samples.
    """
    first = {t.shape[0] for t in pytree.tree_leaves(inputs) if isinstance(t, Tensor) and t.dim()}
    if len(first) != 1:
        raise AbstainError("the inputs of the model do not share a first dimension: its batch is not known")
    recurrent = (nn.RNNBase, nn.MultiheadAttention, nn.Transformer)
    if any(
        isinstance(m, recurrent) and not m.batch_first for m in model.modules() if hasattr(m, "batch_first")
    ):
        raise AbstainError("the first dimension of a model with batch_first=False may not be its batch")
    return int(first.pop())


def _mostly_fixed(base: Replica, size: int) -> bool:
    quarter = _at(base, size, size // 4)
    steps = _steps(base)
    pairs = []
    for _ in range(3):
        quarter.run(1)
        less = quarter.run(steps)
        base.run(1)
        pairs.append(less / base.run(steps))
    return median(pairs) > 0.5


def _steps(replica: Replica) -> int:
    replica.run(1)
    return max(1, min(100, round(_LONG_ENOUGH / max(replica.run(1), 1e-9))))


def _at(base: Replica, size: int, wanted: int) -> Replica:
    """The copy with its samples repeated, or some left out."""

    def resized(tensor: Tensor) -> Tensor:
        if not tensor.dim():
            return tensor
        return tensor[torch.arange(wanted, device=tensor.device) % size]

    return base.fed(resized)


def _check_outputs(base: Replica, size: int) -> None:
    doubled = [t for t in tensors_of(_at(base, size, 2 * size).forward()) if t.dim()]
    for once, twice in zip([t for t in tensors_of(base.forward()) if t.dim()], doubled, strict=True):
        if twice.numel() != 2 * once.numel():
            raise AbstainError("the outputs of the model do not grow with its inputs: its batch is not known")


def _kept_by_forward(base: Replica) -> int:
    """The bytes that a forward keeps for its backward."""
    storages: dict[int, int] = {}

    def count(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        storages[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(count, lambda tensor: tensor):
        base.forward()
    return sum(storages.values())
