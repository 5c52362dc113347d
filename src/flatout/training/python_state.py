"""The numbers and words a model keeps in attributes of its own, like a count of its calls.

A plan that runs a traced step does not call the model's `forward`, so these stand still. Training keeps
account of what they would be.
"""

from __future__ import annotations

from typing import Any

from torch import nn

from flatout.task.task import Task

# (which of the task's modules, the module in it, the attribute)
Place = tuple[int, str, str]
_SIMPLE = (bool, int, float, str, type(None))
_OWN = frozenset(vars(nn.Module()))


def python_state(task: Task) -> dict[Place, Any]:
    """The simple attributes of all modules: numbers, words, flags; not those of `nn.Module` itself.

    Example:
        >>> import torch
        >>> model = torch.nn.Linear(2, 1)
        >>> task = Task(model=model, data=None, optimizer=torch.optim.SGD(model.parameters(), lr=0.1))
        >>> python_state(task)[0, "", "in_features"]
        2
    """
    return {
        (part, name, key): value
        for part, whole in enumerate(task.modules())
        for name, module in whole.named_modules()
        for key, value in vars(module).items()
        if key not in _OWN and isinstance(value, _SIMPLE)
    }


def set_python_state(task: Task, state: dict[Place, Any]) -> None:
    """Put back what `python_state` returned."""
    modules = [dict(whole.named_modules()) for whole in task.modules()]
    for (part, name, key), value in state.items():
        module = modules[part].get(name)
        if module is not None and vars(module).get(key) is not value:
            object.__setattr__(module, key, value)


class Counters:
    """What the attributes would be had `forward` been called at every step.

    A replayed step shows by how much one call moves each number; the calls that were not made are made up
    for by that much each. Where a call changes a number by another amount each time this is a guess.
    """

    def __init__(self) -> None:
        self._missing: dict[Place, float] = {}
        self._rate: dict[Place, float] = {}
        self._at = 0

    def expected(self, task: Task, step: int) -> dict[Place, Any]:
        """The attributes of the live task as `step` calls would have left them."""
        state = python_state(task)
        for place, rate in self._rate.items():
            if place in state:
                state[place] += self._missing[place] + rate * (step - self._at)
        return state

    def learn(self, before: dict[Place, Any], after: dict[Place, Any], live: Task, step: int) -> None:
        """Note what one replayed call changed; `step` steps are done with it."""
        now = python_state(live)
        moved = [place for place, value in after.items() if _number(value) and value != before.get(place)]
        moved = [place for place in moved if _number(before.get(place)) and _number(now.get(place))]
        self._rate = {place: after[place] - before[place] for place in moved}
        self._missing = {place: after[place] - now[place] for place in moved}
        self._at = step


def _number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
