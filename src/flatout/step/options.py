"""Options of the optimizer in a traced step: an input where a scheduler changes them, else a constant.

The learning rate is an input always. The schedulers of PyTorch change nothing else, but for those that cycle
the momentum; of a scheduler of someone's own nobody knows, so all numbers it could change are inputs. An
optimizer decides in Python whether an option is 0 (`if momentum != 0`). So which of the inputs are positive,
0 and negative is a constant of the graph like the other options, and one that is 0 when the step is traced
stays a constant.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor

from flatout.step.graph import Scalar
from flatout.task.task import Task

# What schedulers note for themselves in a group.
_NOTES = {"initial_lr", "max_lr", "min_lr", "swa_lr", "base_momentum", "max_momentum", "min_momentum"}


def scalars_of(task: Task) -> tuple[Scalar, ...]:
    """The options that come in with each step."""
    groups = task.optimizer.param_groups
    changed = _changed_options(task.scheduler)
    found = []
    for index, group in enumerate(groups):
        where = f" of group {index}" if len(groups) > 1 else ""
        for key, value in group.items():
            if key == "lr":
                found.append(Scalar(key + where, index, key))
            elif key == "params" or key in _NOTES or (changed is not None and key not in changed):
                continue
            elif isinstance(value, tuple):
                own = "beta" if key == "betas" else f"{key} "
                found += [
                    Scalar(f"{own}{place + 1}{where}", index, key, place)
                    for place, element in enumerate(value)
                    if _is_set(element) and (changed is None or place == 0)  # of the betas only the first
                ]
            elif _is_set(value):
                found.append(Scalar(key + where, index, key))
    return tuple(found)


def changes_only_rates(scheduler: Any) -> bool:
    """Whether a scheduler is known to leave everything but the learning rate alone."""
    return _changed_options(scheduler) == set()


def constant_options(task: Task, scalars: tuple[Scalar, ...]) -> list[dict[str, Any]]:
    """The options a traced step has as constants, and the signs of those it has as inputs, by group."""
    constants = [
        {key: value for key, value in group.items() if key not in _NOTES | {"params", "lr"}}
        for group in task.optimizer.param_groups
    ]
    for scalar in scalars:
        if scalar.key == "lr":
            continue
        group, value = constants[scalar.group], scalar.read(task.optimizer)
        sign = ("sign", (value > 0) - (value < 0))
        if scalar.place is None:
            group[scalar.key] = sign
        else:
            elements = group[scalar.key]
            group[scalar.key] = (*elements[: scalar.place], sign, *elements[scalar.place + 1 :])
    return constants


def _changed_options(scheduler: Any) -> set[str] | None:
    """The options besides the learning rate that a scheduler changes; None where that is not known."""
    changed: set[str] = set()
    pending: list[Any] = [] if scheduler is None else [scheduler]
    while pending:
        one = pending.pop()
        if not type(one).__module__.startswith("torch.optim."):
            return None
        if getattr(one, "cycle_momentum", False):
            changed |= {"momentum", "betas"}
        pending += getattr(one, "_schedulers", [])
    return changed


def _is_set(value: Any) -> bool:
    """Whether an option is a number other than 0."""
    if isinstance(value, Tensor):
        return value.numel() == 1 and bool(value != 0)
    return isinstance(value, int | float) and not isinstance(value, bool) and value != 0
