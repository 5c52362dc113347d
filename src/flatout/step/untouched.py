"""Tracing leaves everything as it was, and what it finds changed in Python it refuses.

A graph replays what was done to tensors. What the model does besides, in Python, would happen once while
the step is traced and never again.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from flatout.task.task import Task

_TORCHS_OWN = {"_parameters", "_buffers", "_modules"}


class NotTracedError(Exception):
    """The step cannot be one graph; the message says what stands in the way, and where."""


@contextmanager
def untouched(task: Task) -> Iterator[None]:
    """Attributes of modules and states of generators are afterwards what they were before.

    Raises:
        NotTracedError: something inside changed an attribute of a module, or drew from Python's or
            numpy's generator.
    """
    generator, python, numpy = torch.get_rng_state(), random.getstate(), np.random.get_state()
    attributes = [(name, module, _copied(module)) for name, module in _modules(task)]
    changed = ""
    try:
        yield
        changed = _python_draws(python, numpy) or _changed_attribute(attributes)
    finally:
        torch.set_rng_state(generator)
        random.setstate(python)
        np.random.set_state(numpy)
        for _, module, before in attributes:
            _restore(module, before)
    if changed:
        raise NotTracedError(changed)


def _modules(task: Task) -> list[tuple[str, nn.Module]]:
    return [
        (name or type(module).__name__, module)
        for part in task.modules()
        for name, module in part.named_modules()
    ]


def _python_draws(python: Any, numpy: Any) -> str:
    if random.getstate() != python:
        return "its step draws random numbers from Python's random, which a graph cannot do again"
    now = np.random.get_state(legacy=True)
    same = all(np.array_equal(a, b) for a, b in zip(now, numpy, strict=True))  # type: ignore[arg-type]
    return "" if same else "its step draws random numbers from numpy, which a graph cannot do again"


def _changed_attribute(attributes: list[tuple[str, nn.Module, dict[str, Any]]]) -> str:
    for name, module, before in attributes:
        now = {key: value for key, value in module.__dict__.items() if key not in _TORCHS_OWN}
        for key in [*now, *(key for key in before if key not in now)]:
            if key not in before or key not in now or not _same(before[key], now[key]):
                return (
                    f"its step changes the attribute {key!r} of {name} in Python, which a graph cannot do; "
                    "a tensor in register_buffer can be changed"
                )
    return ""


def _copied(module: nn.Module) -> dict[str, Any]:
    """The attributes of a module; lists and dictionaries copied, one level deep."""
    return {
        key: value.copy() if type(value) in (list, dict, set) else value
        for key, value in module.__dict__.items()
        if key not in _TORCHS_OWN
    }


def _restore(module: nn.Module, before: dict[str, Any]) -> None:
    own = module.__dict__
    for key in [key for key in own if key not in before and key not in _TORCHS_OWN]:
        del own[key]
    for key, value in before.items():
        if type(value) in (list, dict, set) and type(own.get(key)) is type(value):
            if not _same(own[key], value):  # the same object, as others may hold it
                own[key].clear()
                (own[key].extend if isinstance(value, list) else own[key].update)(value)
        elif own.get(key) is not value or key not in own:
            own[key] = value


def _same(before: Any, now: Any) -> bool:
    """Whether an attribute is what it was; what cannot be compared has to be the same object."""
    if before is now:
        return True
    if type(before) is not type(now) or isinstance(before, Tensor):
        return False
    if isinstance(before, dict):
        return before.keys() == now.keys() and all(_same(before[k], now[k]) for k in before)
    if isinstance(before, list | tuple):
        return len(before) == len(now) and all(_same(a, b) for a, b in zip(before, now, strict=True))
    if isinstance(before, int | float | str | bytes | set | complex):
        return bool(before == now)
    return False
