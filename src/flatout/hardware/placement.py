"""Devices that are here, and putting things on them.

`to_device` goes through a nest twice: once to see which tensors have to move and which containers hold
them, once to build the containers anew around the moved tensors. What need not move stays the same object.
"""

from __future__ import annotations

import copy
import dataclasses
import operator
from collections import UserDict
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from flatout.errors import DeviceNotFoundError

T = TypeVar("T")
Key = Any

_FORMS = '"cpu", "gpu" (the first accelerator), "cuda", "cuda:1", "mps", "xpu", a torch.device, or None'
_NO_INDEX = ("cpu", "meta")
# Views of one storage that lie further apart than this are moved on their own: two samples taken out of
# a huge memory-mapped file must not drag all that lies between them along.
_LARGEST_GAP = 64 * 1024
# Every element size divides this, so a span of bytes that begins here can be read as any dtype.
_ALIGNMENT = 16


def try_gpu(i: int = 0) -> torch.device:
    """Accelerator `i` if it exists, else the CPU: `try_gpu` of *Dive into Deep Learning* 5.6.

    Args:
        i: which one, counted from 0. An accelerator is a CUDA, ROCm, MPS or XPU device.

    Raises:
        DeviceNotFoundError: `i` is not an integer of at least 0.

    Example:
        >>> try_gpu(1000)
        device(type='cpu')
    """
    try:
        index = -1 if isinstance(i, bool) else operator.index(i)
    except TypeError:
        index = -1
    if index < 0:
        raise DeviceNotFoundError(f"a GPU is counted from 0, with an int, but got {i!r}; use try_gpu(0)")
    gpus = _accelerators()
    return gpus[index] if index < len(gpus) else torch.device("cpu")


def try_all_gpus() -> list[torch.device]:
    """All accelerators, or `[cpu]` where there is none.

    Example:
        >>> len(try_all_gpus()) >= 1
        True
    """
    return _accelerators() or [torch.device("cpu")]


def find_device(spec: str | torch.device | None = None) -> torch.device:
    """The device called `spec`, with its index, if it is here.

    Args:
        spec: "cpu", "gpu" (the first accelerator), "gpu:1", "cuda" (the current one), "cuda:1", "mps",
            "xpu", "meta", or a `torch.device`. None: the first accelerator, else the CPU.

    Raises:
        DeviceNotFoundError: there is no such device here, or `spec` names no device.

    Example:
        >>> find_device("cpu")
        device(type='cpu')
    """
    if spec is None:
        return try_gpu()
    device = _parse(spec)
    if device.type in _NO_INDEX:
        if device.index:
            raise _not_here(device)
        return torch.device(device.type)
    try:
        module: Any = torch.get_device_module(device.type)
        here = module.is_available()
        count = module.device_count() if here else 0
    except (RuntimeError, AttributeError):  # a type that torch knows by name only, such as "vulkan"
        count = 0
    index: int | None = device.index
    if index is None and count:
        index = module.current_device() if hasattr(module, "current_device") else 0
    if index is None or index >= count:
        raise _not_here(device)
    return torch.device(device.type, index)


def to_device(obj: T, device: str | torch.device, *, non_blocking: bool | None = None) -> T:
    """Move every tensor in a nest to `device`; what is there already is not copied.

    Goes into dicts, lists, tuples, named tuples and dataclasses, and keeps their types. Anything else
    with a method `.to` (a `torch.nn.Module`, a `PackedSequence`, ...) is moved by that method; strings,
    numbers, NumPy arrays and all other objects stay as they are. `obj` is not changed, except modules,
    which move in place as they do in torch. `to_device(x, d) is x` where nothing had to move.

    What is shared stays shared: a tensor that occurs twice comes out as one tensor, and views of one
    storage that lie near each other come out as views of one storage. A view on its own moves alone, without
    the rest of its storage. Tensors that require grad, sparse tensors and tensor subclasses are moved by
    `.to` one by one.

    Args:
        obj: a tensor, or any nest of them.
        device: where to; `"cuda"` is the current CUDA device.
        non_blocking: passed to `Tensor.to`. None: yes for pinned memory that goes to an accelerator.

    Raises:
        DeviceNotFoundError: `device` is not here.

    Example:
        >>> batch = {"x": torch.ones(2, 3), "name": "first"}
        >>> to_device(batch, "cpu") is batch
        True
        >>> to_device(batch, "meta")["x"].device
        device(type='meta')
    """
    target = find_device(device)
    items, parents = _survey(obj)
    moved = _move_leaves(list(items.values()), target, non_blocking)
    changed = {key for key, new in moved.items() if new is not items[key]}
    waiting = list(changed)
    while waiting:
        for parent in parents.get(waiting.pop(), ()):
            if parent not in changed:
                changed.add(parent)
                waiting.append(parent)
    result: T = _rebuild(obj, moved, changed)
    return result


def same_device(a: torch.device, b: torch.device) -> bool:
    """Whether two devices that carry their index are one; "cpu" and "cpu:0" are.

    Example:
        >>> same_device(torch.device("cpu"), torch.device("cpu:0"))
        True
    """
    return a.type == b.type and (a.type in _NO_INDEX or a.index == b.index)


def children(item: Any) -> list[tuple[Key, Any]]:
    """The parts of a container, each with its key, index or field name; nothing for a leaf."""
    if _moves_itself(item):
        return []
    if isinstance(item, (dict, UserDict)):
        return list(item.items())
    if isinstance(item, (list, tuple)):
        return list(enumerate(item))
    if dataclasses.is_dataclass(item) and not isinstance(item, type):
        names = [field.name for field in dataclasses.fields(item)]
        return [(name, getattr(item, name)) for name in names if hasattr(item, name)]
    return []


def _accelerators() -> list[torch.device]:
    kind = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    if kind is None:
        return []
    return [torch.device(kind.type, i) for i in range(torch.accelerator.device_count())]


def _parse(spec: Any) -> torch.device:
    """`spec` as a device that may not be here."""
    if isinstance(spec, torch.device):
        return spec
    if isinstance(spec, str):
        kind, colon, index = spec.strip().lower().partition(":")
        if kind == "gpu" and (not colon or index.isdecimal()):
            gpus = _accelerators()
            number = int(index or 0)
            if number >= len(gpus):
                raise _not_here(f"gpu:{number}" if colon else "gpu")
            return gpus[number]
        try:
            return torch.device(kind + colon + index)
        except RuntimeError:
            pass
    raise DeviceNotFoundError(f"a device is {_FORMS}, but got {spec!r}; {_what_is_here()}")


def _not_here(device: torch.device | str) -> DeviceNotFoundError:
    message = f"there is no {device} here: {_what_is_here()}"
    if str(device).startswith(("cuda", "gpu")) and torch.version.cuda is None and torch.version.hip is None:
        message += (
            ". torch.version.cuda is None: this torch was built without CUDA; "
            "install a CUDA build of torch (https://pytorch.org/get-started) to use an NVIDIA GPU"
        )
    return DeviceNotFoundError(message)


def _what_is_here() -> str:
    names = ["cpu", *map(str, _accelerators())]
    if len(names) == 1:
        return "this machine has only cpu"
    return f"this machine has {', '.join(names[:-1])} and {names[-1]}"


def _moves_itself(item: Any) -> bool:
    if isinstance(item, (Tensor, nn.Module)):
        return True
    if isinstance(item, (str, int, float, bytes, type, np.ndarray, np.generic, type(None))):
        return False
    return callable(getattr(item, "to", None))


def _survey(root: Any) -> tuple[dict[int, Any], dict[int, list[int]]]:
    """Everything reachable from `root`, once, by its id; and who holds it."""
    items: dict[int, Any] = {}
    parents: dict[int, list[int]] = {}
    waiting = [root]
    while waiting:
        item = waiting.pop()
        if id(item) in items:
            continue
        items[id(item)] = item
        for _, child in children(item):
            parents.setdefault(id(child), []).append(id(item))
            waiting.append(child)
    return items, parents


def _move_leaves(items: list[Any], target: torch.device, non_blocking: bool | None) -> dict[int, Any]:
    """Old id to new object, for everything that is moved as a whole."""
    moved: dict[int, Any] = {}
    by_storage: dict[int, list[Tensor]] = {}
    for item in items:
        if not isinstance(item, Tensor):
            if _moves_itself(item):
                moved[id(item)] = item.to(target)
        elif same_device(item.device, target):
            moved[id(item)] = item
        elif _shareable(item):
            by_storage.setdefault(item.untyped_storage()._cdata, []).append(item)
        else:
            moved[id(item)] = _move(item, target, non_blocking)
    for tensors in by_storage.values():
        for group in _neighbours(tensors):
            for old, new in zip(group, _move_group(group, target, non_blocking), strict=True):
                moved[id(old)] = new
    return moved


def _move(tensor: Tensor, target: torch.device, non_blocking: bool | None) -> Tensor:
    if non_blocking is None:
        non_blocking = target.type not in _NO_INDEX and tensor.device.type == "cpu" and tensor.is_pinned()
    return tensor.to(target, non_blocking=non_blocking)


def _shareable(tensor: Tensor) -> bool:
    """Whether a tensor is its storage, offset, shape, strides and dtype and nothing more."""
    return (
        type(tensor) is Tensor
        and tensor.layout is torch.strided
        and not (tensor.requires_grad or tensor.is_quantized or tensor.is_conj() or tensor.is_neg())
        and not torch._C._functorch.is_functorch_wrapped_tensor(tensor)
        and tensor.numel() > 0
    )


def _span(tensor: Tensor) -> tuple[int, int]:
    """First byte of its storage that a tensor uses, and the byte behind the last."""
    begin = int(tensor.storage_offset())
    steps = zip(tensor.shape, tensor.stride(), strict=True)
    end = begin + sum((size - 1) * stride for size, stride in steps) + 1
    return begin * tensor.element_size(), end * tensor.element_size()


def _neighbours(tensors: list[Tensor]) -> list[list[Tensor]]:
    """Views of one storage, in groups that are worth moving together."""
    groups: list[list[Tensor]] = []
    reach = 0
    for tensor in sorted(tensors, key=_span):
        begin, end = _span(tensor)
        if groups and begin <= reach + _LARGEST_GAP:
            groups[-1].append(tensor)
        else:
            groups.append([tensor])
        reach = max(reach, end)
    return groups


def _move_group(tensors: list[Tensor], target: torch.device, non_blocking: bool | None) -> list[Tensor]:
    """Views of one storage, moved with one copy of the bytes that they span."""
    if len(tensors) == 1:
        return [_move(tensors[0], target, non_blocking)]
    spans = [_span(tensor) for tensor in tensors]
    begin = min(first for first, _ in spans) // _ALIGNMENT * _ALIGNMENT
    length = max(end for _, end in spans) - begin
    source = tensors[0].untyped_storage()
    raw = torch.empty(0, dtype=torch.uint8, device=tensors[0].device)
    raw.set_(source, begin, (length,), (1,))
    storage = _move(raw, target, non_blocking).untyped_storage()
    views = []
    for tensor in tensors:
        view = torch.empty(0, dtype=tensor.dtype, device=target)
        offset = tensor.storage_offset() - begin // tensor.element_size()
        views.append(view.set_(storage, offset, tensor.size(), tensor.stride()))
    return views


def _rebuild(item: Any, moved: dict[int, Any], changed: set[int]) -> Any:
    if id(item) in moved:
        return moved[id(item)]
    if id(item) not in changed:
        return item
    if isinstance(item, tuple):
        parts = [_rebuild(child, moved, changed) for child in item]
        # A list inside that holds this tuple again has built it by now.
        return moved.setdefault(id(item), _tuple_like(item, parts))
    new = moved[id(item)] = copy.copy(item)
    mapping_or_list = isinstance(item, (dict, UserDict, list))
    for key, child in children(item):
        value = _rebuild(child, moved, changed)
        if value is child:
            continue
        if mapping_or_list:
            new[key] = value
        else:
            object.__setattr__(new, key, value)  # also where the dataclass is frozen
    return new


def _tuple_like(old: tuple[Any, ...], parts: list[Any]) -> Any:
    kind: Any = type(old)
    if hasattr(kind, "n_sequence_fields"):  # torch.return_types.max and its kind
        return kind(parts)
    new = tuple.__new__(kind, parts)
    if hasattr(old, "__dict__"):
        new.__dict__.update(old.__dict__)
    return new
