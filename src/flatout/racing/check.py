"""Does a plan compute what eager computes: the same steps from the same state, compared tensor by tensor.

Two ways to order the same sums round differently, so bits cannot be asked for. A tensor agrees where

    |plan - eager| <= relative * (largest number of that tensor) + absolute

and the tolerances are those of `TOLERANCES`, by dtype. float32 has 7 digits (rounding 6e-8); a sum of some
thousand numbers, a few layers and a few steps amplify that by 100 to 1,000, which gives 1e-4 of the size of
the tensor; float64 has 16 digits and gets 1e-9, bfloat16 and float16 what two or three digits allow. The
scale is that of the tensor and not of the single number: a weight near zero is a difference of larger ones.
Whole numbers and flags must be equal, and NaN and infinity must be in the same places.

Some numbers eager itself does not determine. The gradient of a bias before a batch norm is 0 but for
rounding, and Adam, which divides it by its own size, makes whole steps of that. So where a plan does not
agree, eager runs again from parameters that differ in their last digit: what moves then by much is noise, and
there a plan may differ by as much, times `NOISE`. A number that is not noise moves by about its last digit.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from flatout.data.source import Data
from flatout.plans.base import Loop
from flatout.plans.eager import EagerLoop
from flatout.task.task import Task

# (relative, absolute) by dtype.
TOLERANCES: dict[torch.dtype, tuple[float, float]] = {
    torch.float64: (1e-9, 1e-12),
    torch.float32: (1e-4, 1e-6),
    torch.float16: (2e-2, 1e-3),
    torch.bfloat16: (5e-2, 1e-2),
}
CHECKED_STEPS = 5
# A plan may differ by this many times what eager moves by in the worst of so many runs.
NOISE = 10.0
NOISY_RUNS = 3


@dataclass(frozen=True)
class Agreement:
    """How far two results are from each other.

    Attributes:
        agrees: whether every tensor is within its tolerance.
        max_abs_diff: the largest difference of two numbers.
        worst: the tensor that is furthest from agreeing, measured against its tolerance.
        worst_diff: the largest difference in it.
        tolerance: what is allowed there.
    """

    agrees: bool
    max_abs_diff: float
    worst: str
    worst_diff: float
    tolerance: float

    def in_words(self) -> str:
        """What differs by how much.

        Example:
            >>> Agreement(False, 0.5, "fc1.weight", 0.5, 1e-4).in_words()
            'fc1.weight differs by 0.5 from eager (allowed: 0.0001)'
        """
        return f"{self.worst} differs by {self.worst_diff:.2g} from eager (allowed: {self.tolerance:.2g})"


def tensors_of(task: Task) -> dict[str, Tensor]:
    """Clones of all that a step may change, by name: parameters, buffers and optimizer state."""
    found: dict[str, Tensor] = {}
    names: dict[int, str] = {}
    parts = {"": task.model, "loss.": task.loss, "objective.": task.objective}
    for prefix, part in parts.items():
        if isinstance(part, nn.Module):
            for name, tensor in [*part.named_parameters(), *part.named_buffers()]:
                found.setdefault(prefix + name, tensor)
                names.setdefault(id(tensor), prefix + name)
    for group in task.optimizer.param_groups:
        for index, parameter in enumerate(group["params"]):
            state = task.optimizer.state.get(parameter, {})
            owner = names.get(id(parameter), f"parameter {index}")
            for path, value in pytree.tree_flatten_with_path(dict(state))[0]:
                if isinstance(value, Tensor):
                    found[owner + "." + ".".join(_key(step) for step in path)] = value
    return {name: tensor.detach().to("cpu", copy=True) for name, tensor in found.items()}


def _key(step: object) -> str:
    return str(getattr(step, "key", getattr(step, "idx", step)))


def perturb(task: Task, seed: int) -> None:
    """Change every parameter and buffer of real numbers in its last digit, up or down by chance."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for module in task.modules():
            for tensor in (*module.parameters(), *module.buffers()):
                if tensor.is_floating_point():
                    up = torch.randint(0, 2, tensor.shape, generator=generator) * 2 - 1
                    tensor.mul_(1 + up.to(tensor) * torch.finfo(tensor.dtype).eps)


def spread(eager: Mapping[str, Tensor], others: Iterable[Mapping[str, Tensor]]) -> dict[str, float]:
    """How far other runs of eager are from the first, tensor by tensor; but for NaN and shapes."""
    found: dict[str, float] = {}
    for other in others:
        for name in eager.keys() & other.keys():
            difference, _ = _difference(other[name], eager[name])
            if math.isfinite(difference):
                found[name] = max(found.get(name, 0.0), difference)
    return found


def compare(
    plan: Mapping[str, Tensor], eager: Mapping[str, Tensor], noise: Mapping[str, float] | None = None
) -> Agreement:
    """Compare two results, name by name; those that only one side has do not agree.

    Args:
        plan, eager: what each gave.
        noise: the `spread` of eager; without it eager's numbers are taken as they are.

    Example:
        >>> compare({"w": torch.tensor([1.0, 2.5])}, {"w": torch.tensor([1.0, 2.0])}).worst
        'w'
    """
    largest, badness = 0.0, -1.0
    worst = ("nothing", 0.0, 0.0)
    for name in {**eager, **plan}:
        if name not in plan or name not in eager:
            difference, allowed = math.inf, 0.0
        else:
            difference, allowed = _difference(plan[name], eager[name])
            if eager[name].is_floating_point():
                allowed += NOISE * (noise or {}).get(name, 0.0)
        largest = max(largest, difference)
        ratio = math.inf if difference and not allowed else difference / (allowed or 1.0)
        if ratio > badness:
            badness, worst = ratio, (name, difference, allowed)
    return Agreement(badness <= 1.0, largest, *worst)


def _difference(plan: Tensor, eager: Tensor) -> tuple[float, float]:
    """The largest difference of two tensors, and what is allowed."""
    if plan.shape != eager.shape or plan.dtype != eager.dtype:
        return math.inf, 0.0
    if not plan.numel():
        return 0.0, 0.0
    kind = torch.complex128 if plan.is_complex() else torch.float64
    a, b = plan.to(kind), eager.to(kind)
    finite = torch.isfinite(b)
    same = torch.isfinite(a) == finite
    odd_ones = torch.equal(torch.nan_to_num(a[~finite]), torch.nan_to_num(b[~finite]))
    if not bool(same.all()) or not odd_ones or not torch.equal(a.isnan(), b.isnan()):
        return math.inf, 0.0
    if not bool(finite.any()):
        return 0.0, 0.0
    difference = float((a[finite] - b[finite]).abs().max())
    if not (eager.is_floating_point() or eager.is_complex()):
        return difference, 0.0
    relative, absolute = TOLERANCES.get(eager.dtype, TOLERANCES[torch.float32])
    return difference, relative * float(b[finite].abs().max()) + absolute


def first_steps(task: Task, data: Data, loop: Loop, steps: int = CHECKED_STEPS) -> dict[str, Tensor]:
    """Run some steps and return all they gave: the losses and every tensor of the state, on the host.

    The steps lie around the end of an epoch, where the last batch may be smaller than the others. Eager gets
    the random numbers that the traced plans draw, so that its masks are theirs.
    """
    _to_end_of_epoch(data)
    losses: list[Tensor] = []
    done = 0
    while done < steps:
        order = data.take(steps - done)
        if isinstance(loop, EagerLoop):
            piece = loop.advance_with_same_numbers(order, done)
        else:
            piece = loop.advance(order)
        if not len(piece):
            break
        losses.append(piece)
        done += len(piece)
    loop.store()
    return {"the loss": torch.cat(losses).detach().cpu(), **tensors_of(task)}


def _to_end_of_epoch(data: Data) -> None:
    per_epoch = data.steps_per_epoch
    if per_epoch is not None and per_epoch > CHECKED_STEPS // 2:
        data.restore({**data.state(), "position": per_epoch - CHECKED_STEPS // 2 - 1})
