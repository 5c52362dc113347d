"""Lines that read a tensor into Python, copy one to another device, choose with a mask, or make one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from flatout.profiling.patches import Patches
from flatout.profiling.user_lines import Line
from flatout.profiling.watch.calls import Arguments, Calls, Keep, Names
from flatout.profiling.watch.seen import Copy, Seen

# Methods of a tensor that read its values into Python, and what the user writes to get there.
_READS: Final = {
    "item": "item",
    "tolist": "tolist",
    "numpy": "numpy",
    "__array__": "numpy",
    "__float__": "float",
    "__int__": "int",
    "__index__": "int",
    "__bool__": "bool",
    "__format__": "format",
    "__repr__": "print",
}
# What a loop can as well read later, or less often, and compute the same.
LATER: Final = ("item", "tolist", "float", "format", "print")
# The size of the result is in the values: on a GPU the host waits for it.
_MASKS: Final = ("nonzero", "masked_select", "argwhere", "unique", "unique_consecutive")
# Random ones are not here: they must be made anew.
_MADE: Final = ("zeros", "ones", "full", "arange", "eye", "linspace", "logspace")


def watch_tensors(patches: Patches, calls: Calls, seen: Seen, in_model: Callable[[], bool]) -> None:
    """Begin to watch.

    Args:
        patches: undoes it.
        calls: times them.
        seen: takes the copies.
        in_model: says whether a model is at work.
    """
    import torch

    tensor = torch.Tensor
    for method, kind in _READS.items():
        patches.wrap(tensor, method, calls.timed(kind, again=kind in LATER))
    for method in ("to", "cpu", "cuda"):
        patches.wrap(tensor, method, calls.timed("move", keep=_keep_copy(calls, seen, _from_first)))
    patches.wrap(tensor, "copy_", calls.timed("move", keep=_keep_copy(calls, seen, _into_first)))
    patches.wrap(torch, "tensor", calls.timed("tensor"))
    for name in _MASKS:
        for owner in (torch, tensor):
            if hasattr(owner, name):
                patches.wrap(owner, name, calls.timed("mask"))
    patches.wrap(torch, "where", calls.timed("mask", when=_condition_alone))
    patches.wrap(tensor, "__getitem__", calls.timed("mask", when=_by_mask))
    patches.wrap(tensor, "__setitem__", calls.timed("mask", when=_by_mask_on_device))

    def in_forward(args: Arguments, kwargs: Names) -> bool:
        return in_model() and not kwargs.get("requires_grad")

    for name in _MADE:
        patches.wrap(torch, name, calls.timed("made-in-forward", when=in_forward, own=True))


def _from_first(result: Any, args: Arguments) -> tuple[Any, Any]:
    return args[0], result


def _into_first(result: Any, args: Arguments) -> tuple[Any, Any]:
    return args[1] if len(args) > 1 else args[0], args[0]


def _keep_copy(calls: Calls, seen: Seen, ends: Callable[[Any, Arguments], tuple[Any, Any]]) -> Keep:
    def keep(line: Line, took: float, result: Any, args: Arguments, kwargs: Names) -> None:
        source, target = ends(result, args)
        if source.device == target.device:
            return
        copy = Copy(
            source.device.type,
            target.device.type,
            source.numel() * source.element_size(),
            source.device.type == "cpu" and target.device.type == "cuda" and source.is_pinned(),
            bool(kwargs.get("non_blocking", next((a for a in args[1:] if isinstance(a, bool)), False))),
            took,
        )
        calls.add(seen.copies, line, copy)

    return keep


def _condition_alone(args: Arguments, kwargs: Names) -> bool:
    return len(args) + len(kwargs) == 1


def _by_mask(args: Arguments, kwargs: Names) -> bool:
    """Whether `tensor[index]` has a boolean tensor in its index."""
    import torch

    index = args[1]
    if isinstance(index, tuple):
        return any(isinstance(part, torch.Tensor) and part.dtype is torch.bool for part in index)
    return isinstance(index, torch.Tensor) and index.dtype is torch.bool


def _by_mask_on_device(args: Arguments, kwargs: Names) -> bool:
    """Whether `tensor[mask] = values` has to count the mask: on a GPU, for more than one value."""
    import torch

    target, value = args[0], args[2]
    several = isinstance(value, torch.Tensor) and value.numel() > 1
    return several and target.device.type == "cuda" and _by_mask(args, kwargs)
