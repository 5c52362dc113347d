"""Where a step of the script ends.

A step ends where an optimizer has stepped; without one of torch's, where backward has ended; without backward
either, where a model has been called. A better boundary that comes later takes over: what was measured before
(a warm-up, the first of many backward calls) was not of these steps.

Of several optimizers or models one leads: the first that comes, until another one comes nine times in a row
without it.
"""

from __future__ import annotations

import gc
import sys
from threading import get_ident
from time import perf_counter
from types import FrameType
from typing import Any, Final, Protocol

from flatout.profiling.module_call import wrap_module_call
from flatout.profiling.patches import Function, Patches
from flatout.profiling.user_lines import user_modules

FORWARD, GRAD, BACKWARD, OPTIMIZER, CALL = range(5)  # each a better boundary than those before it
ENDS_WITH: Final = ("forward", "backward", "backward", "optimizer", "call")
_SILENT: Final = 8


class Listener(Protocol):
    """Hears where steps end."""

    def optimizer_begins(self) -> None:
        """An optimizer begins its step."""

    def optimizer_ends(self, now: float) -> None:
        """It has ended it."""

    def starts_over(self) -> None:
        """All that was heard until now were no steps; the first one has just ended."""

    def leader_changes(self) -> None:
        """What has passed since the last step belongs to no step."""

    def step_ends(self, now: float) -> None:
        """A step has ended."""


class Boundaries:
    """Listens to optimizers, backward and modules between `install` and `remove`.

    Attributes:
        kind: what ends a step (`FORWARD` to `CALL`), or None as long as there was none.
        thread: where steps are made, or None.
        leader: the class name of the optimizer or the model that ends the steps.
        optimizers: the class names of the optimizers that stepped.
        device: the type of the device where the leader's parameters lie, or None.
        backwards: calls of backward since the last step; `in_closure` of them within an optimizer.
        skipped: steps whose update a GradScaler has left out.
    """

    def __init__(self, listener: Listener) -> None:
        self.kind: int | None = None
        self.thread: int | None = None
        self.leader = ""
        self.optimizers: dict[int, str] = {}
        self.device: str | None = None
        self.backwards = 0
        self.in_closure = 0
        self.skipped = 0
        self._listener = listener
        self._least = FORWARD  # the kind of boundary from which on it listens
        self._key: tuple[int, int] | None = None  # the thread and the identity of what leads
        self._others: dict[tuple[int, int], int] = {}  # how often others came since the leader did
        self._inside = False  # a part that may end a step runs, in the thread that leads
        self._stepping: dict[tuple[int, int], int] = {}  # how deep each optimizer is in its step
        self._updates = 0
        self._patches = Patches()
        self._handles: list[Any] = []

    def install(self) -> None:
        """Hear of every step; torch must be loaded."""
        from torch.optim import optimizer

        self._handles = [
            optimizer.register_optimizer_step_pre_hook(self._before),
            optimizer.register_optimizer_step_post_hook(self._after),
        ]
        self.lay()

    def lift(self) -> None:
        """Let go of the functions of torch, so that others may wrap them or cease to."""
        self._patches.restore()

    def lay(self) -> None:
        """Wrap them again: a step ends after all that wraps them, too."""
        import torch

        if self._least <= FORWARD:
            wrap_module_call(self._patches, self._forward)
        if self._least <= BACKWARD:
            self._patches.wrap(torch.autograd, "grad", self._grad)
        if self._least <= OPTIMIZER:
            self._patches.wrap(torch.autograd, "backward", self._backward)
            self._patches.wrap(torch.amp.GradScaler, "step", self._scaler)
        self._patches.wrap_by_name(user_modules())

    def rest(self) -> None:
        """Listen only to what would be a better boundary."""
        self.lift()
        self._least = CALL if self.kind is None else self.kind + 1
        self.lay()

    def remove(self) -> None:
        """Leave torch as it was."""
        self.lift()
        for handle in self._handles:
            handle.remove()
        self._handles.clear()

    def better_may_come(self) -> bool:
        """Whether there is an optimizer that has not stepped yet."""
        from torch.optim import Optimizer

        return self._least <= OPTIMIZER and any(issubclass(type(one), Optimizer) for one in gc.get_objects())

    def only_calls(self) -> None:
        """Steps end by `call_ends` alone."""
        self.lift()
        self._least = CALL
        wrap_module_call(self._patches, self._where)

    def call_ends(self, now: float) -> None:
        """A call of a function that is a step by itself has ended."""
        self._happened(CALL, 0, now, None)

    def _before(self, optimizer: Any, args: Any, kwargs: Any) -> None:
        if self._least > OPTIMIZER and self.kind != CALL:
            return
        key = (get_ident(), id(optimizer))
        # A step within its own step is that of the base class, unless the outer one has failed.
        deep = self._stepping.get(key, 0)
        self._stepping[key] = deep + 1 if deep and _in_its_step(optimizer) else 1
        if key[0] == self.thread:
            self._listener.optimizer_begins()

    def _after(self, optimizer: Any, args: Any, kwargs: Any) -> None:
        now = perf_counter()
        if self._least > OPTIMIZER and self.kind != CALL:
            return
        self._updates += 1
        key = (get_ident(), id(optimizer))
        deep = self._stepping.pop(key, 1)
        if deep > 1:
            self._stepping[key] = deep - 1
            return
        if key[0] == self.thread:
            self._listener.optimizer_ends(now)
        self._happened(OPTIMIZER, id(optimizer), now, optimizer)

    def _happened(self, kind: int, identity: int, now: float, what: Any) -> None:
        """Something that may end a step has ended."""
        if kind == OPTIMIZER:
            self.optimizers.setdefault(identity, type(what).__name__)
            self.device = self.device or _device(what)
        if kind < self._least:
            return
        key = (get_ident(), identity)
        if self.kind is None or kind > self.kind:
            self.kind = self._least = kind
            self._lead(key, what)
            self._listener.starts_over()
        elif key != self._key:
            self._others[key] = times = self._others.get(key, 0) + 1
            if times <= _SILENT:
                return
            self._lead(key, what)
            self._listener.leader_changes()
        if self._others:
            self._others.clear()
        self._listener.step_ends(now)

    def _lead(self, key: tuple[int, int], what: Any) -> None:
        self._key, self.thread = key, key[0]
        self.leader = type(getattr(what, "_orig_mod", what)).__name__
        self.device = _device(what) or self.device

    def _forward(self, original: Function) -> Function:
        from torch.compiler import is_compiling

        def called(*args: Any, **kwargs: Any) -> Any:
            if is_compiling() or self._inside or self._least > FORWARD:
                return original(*args, **kwargs)
            result = self._run(original, args, kwargs)
            if self._least == FORWARD:
                self._happened(FORWARD, id(args[0]), perf_counter(), args[0])
            return result

        return called

    def _where(self, original: Function) -> Function:
        def called(*args: Any, **kwargs: Any) -> Any:
            self.device = self.device or _device(args[0])
            return original(*args, **kwargs)

        return called

    def _backward(self, original: Function) -> Function:
        def backward(*args: Any, **kwargs: Any) -> Any:
            here = self.thread is None or get_ident() == self.thread
            if here:
                self.backwards += 1
                self.in_closure += bool(self._stepping)
            if here and self._inside:
                return original(*args, **kwargs)
            result = self._run(original, args, kwargs)
            self._happened(BACKWARD, 0, perf_counter(), args[0] if args else kwargs.get("tensors"))
            return result

        return backward

    def _grad(self, original: Function) -> Function:
        def grad(*args: Any, **kwargs: Any) -> Any:
            if self._inside:
                return original(*args, **kwargs)
            result = self._run(original, args, kwargs)
            self._happened(GRAD, 0, perf_counter(), args[0] if args else kwargs.get("outputs"))
            return result

        return grad

    def _run(self, original: Function, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Run it; what it calls in this thread ends no step."""
        if self.thread is not None and get_ident() != self.thread:
            return original(*args, **kwargs)
        self._inside = True
        try:
            return original(*args, **kwargs)
        finally:
            self._inside = False

    def _scaler(self, original: Function) -> Function:
        from torch.optim import Optimizer

        def step(scaler: Any, optimizer: Any, *args: Any, **kwargs: Any) -> Any:
            updates = self._updates
            result = original(scaler, optimizer, *args, **kwargs)
            if self._updates == updates:
                self.skipped += isinstance(optimizer, Optimizer)
                self._happened(OPTIMIZER, id(optimizer), perf_counter(), optimizer)
            return result

        return step


def _in_its_step(optimizer: Any) -> bool:
    """Whether a step of this optimizer runs outside of the one that has just begun."""
    hooked = type(optimizer).profile_hook_step(lambda: None).__code__
    frame: FrameType | None = sys._getframe(2)
    found = 0
    while frame is not None:
        found += frame.f_code is hooked and frame.f_locals.get("self") is optimizer
        frame = frame.f_back
    return found > 1


def _device(what: Any) -> str | None:
    """The type of the device where an optimizer's or a model's parameters lie, or a loss."""
    if what is None:
        return None
    if hasattr(what, "param_groups"):
        what = [parameter for group in what.param_groups for parameter in group["params"]]
    elif hasattr(what, "parameters"):
        what = list(what.parameters())
    first = what[0] if isinstance(what, (list, tuple)) and what else what
    return getattr(getattr(first, "device", None), "type", None)
