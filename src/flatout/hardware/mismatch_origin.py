"""Where a tensor comes from: its name in a model, a batch or a frame, or the line that made it.

The message about mixed devices names the tensor that strayed and how to put it right. An `Origin` holds both.
"""

from __future__ import annotations

import ast
import contextlib
import linecache
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from types import CodeType, FrameType, TracebackType
from typing import Any

import torch
from torch import Tensor, nn

from flatout.hardware.placement import children, same_device

DEVICE = "<device>"
"""Stands in a fix for the device that the tensor should be on."""

_OWN_FOLDERS = (str(Path(torch.__file__).parent), str(Path(__file__).parents[1]))
_FACTORIES = frozenset(
    {"arange", "as_tensor", "empty", "eye", "full", "linspace", "logspace", "normal", "ones", "rand"}
    | {"randint", "randn", "randperm", "scalar_tensor", "tensor", "tril_indices", "triu_indices", "zeros"}
)


@dataclass(frozen=True)
class Origin:
    """What a tensor is, for a sentence, and the line that puts it right.

    Args:
        kind: "parameter", "buffer", "input", "attribute", "hidden" (a parameter that its model does not
            know), "made", "moved", or "variable".
        what: the tensor in words, such as "buffer mask" or "batch[0]".
        fix: the cure; `DEVICE` in it stands for the right device.
        path: the name alone, such as "encoder.mask".
    """

    kind: str
    what: str
    fix: str
    path: str = ""


@dataclass(frozen=True)
class Place:
    """A line of the user's code: `code` is the expression on it that was being computed."""

    where: str
    code: str


def tensors_in(nest: Any, path: str) -> Iterator[tuple[str, Tensor]]:
    """Each tensor in a nest once, with its path, such as `batch['x'][0]`."""
    seen: set[int] = set()
    for name, item in _leaves(nest, path, seen):
        if isinstance(item, Tensor):
            yield name, item


def name_model(model: nn.Module, of: str = "") -> list[tuple[Tensor, Origin]]:
    """Parameters, buffers, and the tensors that a model holds without knowing it.

    Args:
        model: the module.
        of: said behind each name, such as " of CrossEntropyLoss".
    """
    move = f'{of.rpartition(" ")[2] + "(...)" if of else "model"}.to("{DEVICE}")'
    named: list[tuple[Tensor, Origin]] = [
        (p, Origin("parameter", f"parameter {n}{of}", move, n)) for n, p in model.named_parameters()
    ]
    named += [(b, Origin("buffer", f"buffer {n}{of}", move, n)) for n, b in model.named_buffers()]
    known = {id(tensor) for tensor, _ in named}
    for prefix, module in model.named_modules():
        for key, value in vars(module).items():
            if key in ("_parameters", "_buffers", "_modules"):
                continue
            for tensor, origin in _unregistered(module, prefix, key, value):
                if id(tensor) not in known:
                    known.add(id(tensor))
                    named.append((tensor, origin))
    return named


def name_inputs(batch: Any, path: str = "batch") -> list[tuple[Tensor, Origin]]:
    """The tensors of a batch."""
    fix = f'{path} = flatout.to_device({path}, "{DEVICE}")'
    return [(tensor, Origin("input", f"input {name}", fix, name)) for name, tensor in tensors_in(batch, path)]


def origin_of_made(frame: FrameType, function: str, device: torch.device) -> Origin:
    """The origin of a tensor that a call of `function` in `frame` makes from nothing, on `device`."""
    place = place_of(frame.f_code, frame.f_lasti, frame.f_lineno)
    fix = f"make it on the right device: {_on_device(place.code, function, _like(frame, device))}"
    return Origin("made", f"the tensor made by `{place.code}` at {place.where}", fix)


def origin_of_moved(frame: FrameType, source: torch.device) -> Origin:
    """The origin of a tensor that a call in `frame` takes from `source` to another device."""
    place = place_of(frame.f_code, frame.f_lasti, frame.f_lineno)
    fix = f'keep it where it is: leave that move out, or end it with .to("{DEVICE}")'
    return Origin("moved", f"the tensor that `{place.code}` at {place.where} took away from {source}", fix)


def origins_in_line(traceback: TracebackType) -> list[tuple[Tensor, Origin]]:
    """The tensors whose names stand in the expression that failed."""
    frame = traceback.tb_frame
    place = place_of(frame.f_code, traceback.tb_lasti, traceback.tb_lineno)
    try:
        tree = ast.parse(place.code, mode="eval")
    except SyntaxError:
        return []
    found = []
    for node in ast.walk(tree):
        if isinstance(node, (ast.Name, ast.Attribute)):
            for name, tensor in tensors_in(_value(node, frame), ast.unparse(node)):
                fix = f'{name} = flatout.to_device({name}, "{DEVICE}")'
                if not _may_be_assigned(name, frame):
                    fix = f"write {name}.to({_like(frame, tensor.device)}) on that line"
                found.append((tensor, Origin("variable", f"`{name}` at {place.where}", fix, name)))
    return found


def is_users(code: CodeType) -> bool:
    """Whether code was written by neither torch nor flatout."""
    own = any(Path(code.co_filename).is_relative_to(folder) for folder in _OWN_FOLDERS)
    return not own and not code.co_filename.startswith("<frozen") and code.co_filename != contextlib.__file__


def user_frame(frame: FrameType | None) -> FrameType | None:
    """The innermost frame of the user's code."""
    while frame is not None and not is_users(frame.f_code):
        frame = frame.f_back
    return frame


def place_of(code: CodeType, last_instruction: int, line: int) -> Place:
    """File, line, and the source of the expression at an instruction."""
    where = f"{Path(code.co_filename).name}:{line}"
    position = next(islice(code.co_positions(), last_instruction // 2, None), (None,) * 4)
    first, last, begin, end = position
    if first is None or last is None or begin is None or end is None:
        return Place(where, linecache.getline(code.co_filename, line).strip())
    lines = [linecache.getline(code.co_filename, n).encode() for n in range(first, last + 1)]
    lines[-1] = lines[-1][:end]  # the end first: it may be the same line
    lines[0] = lines[0][begin:]
    code_on_one_line = " ".join(b"".join(lines).decode(errors="replace").split())
    return Place(where, code_on_one_line.replace("( ", "(").replace(" )", ")"))


def _leaves(nest: Any, path: str, seen: set[int]) -> Iterator[tuple[str, Any]]:
    if id(nest) in seen:
        return
    seen.add(id(nest))
    parts = list(enumerate(nest)) if isinstance(nest, nn.utils.rnn.PackedSequence) else children(nest)
    if not parts:
        yield path, nest
    fields = getattr(type(nest), "_fields", None)
    for key, part in parts:
        if isinstance(nest, tuple) and fields:
            name = f"{path}.{fields[key]}"
        else:
            name = (
                f"{path}[{key!r}]"
                if isinstance(nest, (list, tuple)) or hasattr(nest, "keys")
                else f"{path}.{key}"
            )
        yield from _leaves(part, name, seen)


def _unregistered(module: nn.Module, prefix: str, key: str, value: Any) -> Iterator[tuple[Tensor, Origin]]:
    """The tensors in a plain attribute of a module, which `model.to` leaves behind."""
    base = f"{prefix}.{key}" if prefix else key
    owner = type(module).__name__
    wrap = "Dict" if hasattr(value, "keys") else "List"
    for name, leaf in _leaves(value, base, set()):
        if isinstance(leaf, nn.Module):
            fix = (
                f"use torch.nn.Module{wrap} in the __init__ of {owner}, so that it moves with the model: "
                f"self.{key} = torch.nn.Module{wrap}(...)"
            )
            for inner, tensor in (*leaf.named_parameters(), *leaf.named_buffers()):
                what = f"{name}.{inner} (of a module in a plain Python {type(value).__name__})"
                yield tensor, Origin("hidden", what, fix, f"{name}.{inner}")
        elif isinstance(leaf, nn.Parameter):
            new = f"torch.nn.Parameter{wrap}"
            fix = f"use {new} in the __init__ of {owner}: self.{key} = {new}(...)"
            what = f"{name} (a parameter in a plain Python {type(value).__name__})"
            yield leaf, Origin("hidden", what, fix, name)
        elif isinstance(leaf, Tensor):
            if leaf is value:
                call = f'self.register_buffer("{key}", {key})'
            else:
                call = f"self.register_buffer(name, tensor) for each tensor of self.{key}"
            fix = f"{call} in the __init__ of {owner}, so that it moves with the model"
            yield leaf, Origin("attribute", f"{name} (a plain attribute of {owner}, not a buffer)", fix, name)


def _like(frame: FrameType, wrong: torch.device) -> str:
    """`x.device` for an argument x in the frame that lies elsewhere than on the wrong device."""
    arguments = frame.f_code.co_varnames[: frame.f_code.co_argcount]
    others = frame.f_locals if frame.f_code.co_name != "<module>" else ()
    for name in (*arguments, *others):
        value = frame.f_locals.get(name)
        if isinstance(value, Tensor) and not same_device(value.device, wrong):
            return f"{name}.device"
    return f'"{DEVICE}"'


def _on_device(code: str, function: str, device: str) -> str:
    """The source of a call, changed so that its result lies on `device`."""
    try:
        call = ast.parse(code, mode="eval").body
    except SyntaxError:
        call = None
    if isinstance(call, ast.Call) and function.removesuffix("_like") in _FACTORIES:
        value = ast.parse(device.replace(DEVICE, "DEVICE"), mode="eval").body
        call.keywords = [word for word in call.keywords if word.arg != "device"]
        call.keywords.append(ast.keyword("device", value))
        return ast.unparse(call).replace("'DEVICE'", f'"{DEVICE}"')
    return f"({code}).to({device})"


def _may_be_assigned(name: str, frame: FrameType) -> bool:
    """Not a global in a function: assigning to it there would make another, local variable."""
    return name in frame.f_code.co_varnames or frame.f_code.co_name == "<module>"


def _value(node: ast.AST, frame: FrameType) -> Any:
    """What a name, or an attribute of modules, stands for in a frame; None where it cannot be told."""
    if isinstance(node, ast.Name):
        return frame.f_locals.get(node.id, frame.f_globals.get(node.id))
    if isinstance(node, ast.Attribute):
        holder = _value(node.value, frame)
        return getattr(holder, node.attr, None) if isinstance(holder, nn.Module) else None
    return None
