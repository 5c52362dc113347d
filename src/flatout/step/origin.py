"""Where each node of a traced step comes from: the layer that was being called, and the user's source line.

While the step is traced, two modes watch it. Above autograd, every torch function is labelled with the layer
on top of the call stack and the line of the user that called it, and the autograd nodes it makes remember
the label. Below autograd, each operation takes the label of the autograd node it runs for, so that the
backward of a layer is labelled like its forward.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import torch
import torch.fx.traceback as fx_traceback
from torch import Tensor, fx, nn
from torch._subclasses.fake_tensor import FakeTensor
from torch.overrides import TorchFunctionMode
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode

from flatout.step.branch_free import FUNCTIONS
from flatout.step.untouched import NotTracedError

_TORCH = str(Path(torch.__file__).parent)
_FLATOUT = str(Path(__file__).resolve().parents[1])
_KEY = "flatout_origin"
UPDATE = "optimizer"


@dataclass(frozen=True)
class Origin:
    """Where an operation comes from.

    Attributes:
        layer: the qualified name of the module, "" for the model itself or the loss, "optimizer" for
            the update.
        source: "file:line" of the user's code, or "" where there is none.
        backward: whether it computes gradients.
    """

    layer: str = ""
    source: str = ""
    backward: bool = False

    def __str__(self) -> str:
        direction = "backward of " if self.backward else ""
        return f"{direction}{self.layer or 'model and loss'}" + (f" ({self.source})" if self.source else "")


def origin_of(node: fx.Node) -> Origin:
    """The origin noted for a node of a traced step."""
    custom = node.meta.get("custom") or {}
    origin = custom.get(_KEY)
    return origin if isinstance(origin, Origin) else Origin()


@contextmanager
def noting_origins(model: nn.Module) -> Iterator[Callable[[str], None]]:
    """Label what is traced inside; gives a function that names the phase for what has no layer."""
    stack: list[str] = []
    names = {id(module): name for name, module in model.named_modules()}
    handles: list[Any] = []

    def enter(module: nn.Module, args: Any) -> None:
        stack.append(names.get(id(module), type(module).__name__))

    def leave(module: nn.Module, args: Any, output: Any) -> None:
        stack.pop()

    for module in model.modules():
        handles.append(module.register_forward_pre_hook(enter))
        handles.append(module.register_forward_hook(leave, always_call=True))
    phase = [""]

    def set_phase(name: str) -> None:
        phase[0] = name

    try:
        with _Above(stack, phase), _Below():  # type: ignore[no-untyped-call]
            yield set_phase
    finally:
        for handle in handles:
            handle.remove()


class _Above(TorchFunctionMode):
    """Labels torch functions, and the autograd nodes they make."""

    def __init__(self, stack: list[str], phase: list[str]) -> None:
        super().__init__()
        self._stack = stack
        self._phase = phase

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        origin = Origin(self._phase[0] or (self._stack[-1] if self._stack else ""), _users_line())
        _refuse_change(func, args, origin)
        with _labelled(origin):
            result = FUNCTIONS.get(func, func)(*args, **(kwargs or {}))
        for leaf in pytree.tree_leaves(result):
            if isinstance(leaf, Tensor) and leaf.grad_fn is not None:
                _remember(leaf.grad_fn, origin)
        return result


class _Below(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Labels the operations autograd runs like the forward they belong to."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        node = torch._C._current_autograd_node()
        notes: Any = None if node is None else node.metadata
        origin = None if notes is None else notes.get(_KEY)
        if origin is None:
            return func(*args, **(kwargs or {}))
        with _labelled(Origin(origin.layer, origin.source, backward=True)):
            return func(*args, **(kwargs or {}))


def _refuse_change(func: Any, args: Any, origin: Origin) -> None:
    """A tensor that is no input of the step is a real one: changing it would happen now, and only now."""
    name = getattr(func, "__name__", "")
    in_place = (
        (name.endswith("_") and not name.endswith("__")) or name.startswith("__i") or name == "__setitem__"
    )
    if not in_place or name == "requires_grad_" or not args:
        return
    if isinstance(args[0], Tensor) and not isinstance(args[0], FakeTensor):
        raise NotTracedError(
            f"its step changes a tensor that is no parameter or buffer of the model ({name} in {origin}); "
            "register_buffer makes it one"
        )


def _remember(node: Any, origin: Origin) -> None:
    """Note the origin on a new autograd node and on those made on the way to it."""
    pending = [node]
    while pending:
        node = pending.pop()
        if node is None or _KEY in node.metadata or "AccumulateGrad" in node.name():
            continue
        node.metadata[_KEY] = origin
        pending += [parent for parent, _ in node.next_functions]


@contextmanager
def _labelled(origin: Origin) -> Iterator[None]:
    with fx_traceback.annotate({_KEY: origin}):
        yield


def _users_line() -> str:
    """The innermost line on the call stack that is neither torch's nor flatout's.

    Beyond flatout lies who called it, whose line explains nothing.
    """
    frame: FrameType | None = sys._getframe(2)
    while frame is not None:
        name = frame.f_code.co_filename
        if name.startswith(_FLATOUT) and name != __file__:
            return ""
        if not name.startswith((_TORCH, _FLATOUT, "<")):
            return f"{Path(name).name}:{frame.f_lineno}"
        frame = frame.f_back
    return ""


def users_line_of(error: BaseException) -> str:
    """The innermost line of the user's code in a traceback, as "file:line"; "" where there is none."""
    found = ""
    traceback = error.__traceback__
    while traceback is not None:
        name = traceback.tb_frame.f_code.co_filename
        if not name.startswith((_TORCH, _FLATOUT, "<")):
            found = f"{Path(name).name}:{traceback.tb_lineno}"
        traceback = traceback.tb_next
    return found
