"""Is there memory for the copies a race works on."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from flatout.hardware.free_memory import free_memory
from flatout.plans.traced_loop import has_state
from flatout.report.step_view import scaled
from flatout.task.task import Task


def too_little_room(task: Task, device: torch.device) -> str | None:
    """Why a race has no room on a device, in words; None where it has, or where nobody can say.

    Copies are made one plan at a time and given back.

    Args:
        task: what would be copied.
        device: where the copies would lie.
    """
    needed, free = room_needed(task, device), free_memory(device)
    if free is None or needed <= free:
        return None
    return (
        f"the copies of a race need about {scaled(needed, 'B')} and {scaled(free, 'B')} of memory are free "
        f"on {device}: too little to race there"
    )


def room_needed(task: Task, device: torch.device) -> int:
    """Bytes that a race needs at its worst moment on a device, the temporaries of a step left out.

    A plan trains a copy and may trace a second one, each with gradients and optimizer state. The state after
    the checked steps is kept twice to be compared, in the memory of the host. Data that lies elsewhere comes
    along.
    """
    tensors = [t for part in task.modules() for t in (*part.parameters(), *part.buffers())]
    model = sum(map(_size, {id(t): t for t in tensors}.values()))
    gradients = sum(_size(p) for group in task.optimizer.param_groups for p in group["params"])
    state = sum(_size(t) for t in pytree.tree_leaves(dict(task.optimizer.state)) if isinstance(t, Tensor))
    if not state and not has_state(task):
        state = 2 * gradients  # what Adam keeps; few keep more
    copies = 2 * (model + gradients + state)
    data = [t for t in pytree.tree_leaves(task.data) if isinstance(t, Tensor) and t.device != device]
    compared = 2 * (model + state) if device.type == "cpu" else 0
    return copies + compared + sum(map(_size, data))


def _size(tensor: Tensor) -> int:
    return tensor.numel() * tensor.element_size()
