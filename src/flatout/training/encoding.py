"""State dicts as JSON and tensors, and back, without pickle.

A value JSON cannot hold is a dict with one key that begins with `$` and says what it is:

    {"$tensor": "optimizer.state.0.exp_avg"}    a tensor, by its name in the safetensors file
    {"$complex": {"$tensor": ...}}              a complex128 tensor, its parts in a last axis of 2
    {"$tuple": [...]}                           a tuple
    {"$dict": [[key, value], ...]}              a dict whose keys are not all strings
    {"$counter": [[key, count], ...]}           a collections.Counter
    {"$float": "nan"}                           a float JSON has no word for
    {"$dtype": "float32"}, {"$device": "cpu"}   a torch.dtype, a torch.device
"""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

import numpy as np
import torch
from torch import Tensor

from flatout.errors import CheckpointError


def encode(value: Any, tensors: dict[str, Tensor], name: str = "") -> Any:
    """What `json.dumps` takes for `value`; its tensors are put into `tensors` under their path.

    Raises:
        CheckpointError: something in `value` is of a type that cannot be saved.

    Example:
        >>> tensors = {}
        >>> encode({"lr": 0.1, "betas": (0.9, 0.99), "exp_avg": torch.zeros(2)}, tensors)
        {'lr': 0.1, 'betas': {'$tuple': [0.9, 0.99]}, 'exp_avg': {'$tensor': 'exp_avg'}}
        >>> decode(_, tensors)["betas"]
        (0.9, 0.99)
    """
    if isinstance(value, Tensor) and value.dtype == torch.complex128:
        return {"$complex": encode(as_stored(value), tensors, name)}
    if isinstance(value, Tensor):
        while name in tensors:
            name += "'"  # keys with dots in them can give two tensors one path
        tensors[name] = as_stored(value)
        return {"$tensor": name}
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else {"$float": repr(value)}
    if isinstance(value, (torch.dtype, torch.device)):
        return {f"${type(value).__name__}": str(value).removeprefix("torch.")}
    if isinstance(value, (list, tuple)):
        items = [encode(item, tensors, _join(name, i)) for i, item in enumerate(value)]
        return items if isinstance(value, list) else {"$tuple": items}
    if isinstance(value, dict):
        return _encode_dict(value, tensors, name)
    raise CheckpointError(
        f"cannot save {name or 'the state'}: it is a {type(value).__name__}; "
        "a checkpoint holds tensors, numbers, text, lists and dicts"
    )


def as_stored(tensor: Tensor) -> Tensor:
    """A copy on the host as safetensors takes it: complex128, which it has not, as float64 `[..., 2]`."""
    plain = tensor.detach().cpu().resolve_conj().resolve_neg()
    if plain.dtype == torch.complex128:
        plain = torch.view_as_real(plain)
    return plain.clone(memory_format=torch.contiguous_format)


def _encode_dict(value: dict[Any, Any], tensors: dict[str, Tensor], name: str) -> Any:
    if type(value) is Counter:
        return {"$counter": [[encode(key, tensors), count] for key, count in value.items()]}
    if all(isinstance(key, str) and not key.startswith("$") for key in value):
        return {key: encode(item, tensors, _join(name, key)) for key, item in value.items()}
    return {
        "$dict": [
            [encode(key, tensors), encode(item, tensors, _join(name, key))] for key, item in value.items()
        ]
    }


def decode(value: Any, tensors: dict[str, Tensor]) -> Any:
    """The inverse of `encode`."""
    if isinstance(value, list):
        return [decode(item, tensors) for item in value]
    if not isinstance(value, dict):
        return value
    if len(value) == 1:
        (key, content), *_ = value.items()
        if key.startswith("$"):
            return _decode_marked(key, content, tensors)
    return {key: decode(item, tensors) for key, item in value.items()}


def _decode_marked(key: str, content: Any, tensors: dict[str, Tensor]) -> Any:
    match key:
        case "$tensor":
            return tensors[content]
        case "$complex":
            return torch.view_as_complex(decode(content, tensors))
        case "$tuple":
            return tuple(decode(item, tensors) for item in content)
        case "$dict":
            return {decode(k, tensors): decode(v, tensors) for k, v in content}
        case "$counter":
            return Counter({decode(k, tensors): count for k, count in content})
        case "$float":
            return float(content)
        case "$dtype":
            return getattr(torch, content)
        case "$device":
            return torch.device(content)
        case _:
            raise CheckpointError(f"the checkpoint has a mark {key!r} this version of flatout does not know")


def _join(name: str, key: object) -> str:
    return f"{name}.{key}" if name else str(key)
