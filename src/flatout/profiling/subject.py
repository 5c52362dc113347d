"""What experiments need of a script: the model that a step calls, its inputs, its optimizer, and their lines.

A window of its own watches a few steps for it. It keeps what the last of them used, by reference: nothing is
computed, copied or drawn until the script has ended.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from threading import get_ident
from time import perf_counter
from typing import Any

from flatout.profiling.module_call import wrap_module_call
from flatout.profiling.patches import Function, Patches
from flatout.profiling.user_lines import Line, user_line


@dataclass(frozen=True)
class OptimizerSeen:
    """The optimizer that leads.

    Attributes:
        type: its class.
        groups: of each parameter group the options and the parameters.
        line: of the user, where it steps.
    """

    type: type[Any]
    groups: Sequence[tuple[Mapping[str, Any], Sequence[Any]]]
    line: Line


@dataclass(frozen=True)
class Subject:
    """The outermost module that a step calls and whose parameters the leading optimizer holds.

    Attributes:
        model: it; of several the one that takes the most time.
        args: its inputs by position, without their graph.
        kwargs: its inputs by name, likewise.
        line: of the user, where it is called.
        calls: times a step.
        share: of the time in all modules, 0 to 1.
        training: the mode of each of its modules, in the order of `modules()`.
        trains: whether the step went backward through it.
        grad: whether gradients were on when it was called.
        autocast: the type that autocast computes in, or None where it was off.
        device: where its parameters lie.
        threads: that torch used.
        optimizer: the one that leads; None in a script without.
        data_line: of the user, where a DataLoader is iterated; None where none is.
        alone: whether no other process trains with it.
    """

    model: Any
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    line: Line
    calls: int
    share: float
    training: list[bool]
    trains: bool
    grad: bool
    autocast: Any
    device: Any
    threads: int
    optimizer: OptimizerSeen | None
    data_line: Line | None
    alone: bool


@dataclass(frozen=True)
class _Call:
    model: Any
    inputs: tuple[tuple[Any, ...], dict[str, Any]]
    seconds: float
    grad: bool
    line: Line
    autocast: Any


class SubjectWindow:
    """Watches who calls which model with what; the latest step that had one is in `subject`."""

    def __init__(self) -> None:
        self.times: list[float] = []
        self.subject: Subject | None = None
        self._patches = Patches()
        self._thread = 0
        self._inside = False
        self._hook: Any = None
        self._calls: list[_Call] = []
        self._elsewhere = 0.0  # seconds in modules without parameters
        self._backward = False  # the step went backward
        self._optimizer: tuple[Any, Line] | None = None
        self._data_line: Line | None = None

    def install(self, thread: int) -> None:
        """Begin to watch what runs in this thread."""
        import torch
        from torch.optim import optimizer
        from torch.utils.data import dataloader

        self._thread = thread
        wrap_module_call(self._patches, self._call)
        self._patches.wrap(torch.autograd, "backward", self._goes_back)
        self._patches.wrap(torch.autograd, "grad", self._goes_back)
        self._patches.wrap(dataloader._BaseDataLoaderIter, "__next__", self._next)
        self._hook = optimizer.register_optimizer_step_pre_hook(self._stepping)

    def remove(self) -> None:
        """Leave torch as it was."""
        self._patches.restore()
        if self._hook is not None:
            self._hook.remove()
            self._hook = None
        self.begin()

    def begin(self) -> None:
        """A step begins."""
        self._calls.clear()
        self._elsewhere = 0.0
        self._backward = False
        self._optimizer = None

    def end(self, seconds: float, *, settled: bool) -> None:
        """The step has ended; the optimizer that stepped last leads."""
        if settled:
            self.times.append(seconds)
        self.subject = self._chosen() or self.subject
        self.begin()

    def release(self) -> None:
        """Let go of the script's model and inputs."""
        self.subject = None

    def _stepping(self, optimizer: Any, args: Any, kwargs: Any) -> None:
        if get_ident() == self._thread:
            self._optimizer = (optimizer, user_line(sys._getframe(1)))

    def _goes_back(self, original: Function) -> Function:
        def goes_back(*args: Any, **kwargs: Any) -> Any:
            self._backward = self._backward or get_ident() == self._thread
            return original(*args, **kwargs)

        return goes_back

    def _next(self, original: Function) -> Function:
        def following(iterator: Any) -> Any:
            if get_ident() == self._thread:
                self._data_line = user_line(sys._getframe(1))
            return original(iterator)

        return following

    def _call(self, original: Function) -> Function:
        from torch.compiler import is_compiling

        def called(*args: Any, **kwargs: Any) -> Any:
            if self._inside or get_ident() != self._thread or is_compiling():
                return original(*args, **kwargs)
            self._inside = True
            began = perf_counter()
            try:
                return original(*args, **kwargs)
            finally:
                self._keep(args, kwargs, perf_counter() - began, user_line(sys._getframe(1)))
                self._inside = False

        return called

    def _keep(self, args: tuple[Any, ...], kwargs: dict[str, Any], seconds: float, line: Line) -> None:
        import torch

        model = args[0]
        first = next(model.parameters(), None)
        if first is None:
            self._elsewhere += seconds
            return
        kind = first.device.type
        autocast = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else None
        inputs = (args[1:], kwargs)
        self._calls.append(_Call(model, inputs, seconds, torch.is_grad_enabled(), line, autocast))

    def _chosen(self) -> Subject | None:
        import torch

        calls = self._calls
        if self._backward:
            calls = [one for one in calls if one.grad]
        if self._optimizer is not None:
            held = {id(p) for group in self._optimizer[0].param_groups for p in group["params"]}
            calls = [one for one in calls if held & {id(p) for p in one.model.parameters()}]
        if not calls:
            return None
        took: dict[int, float] = {}
        for one in calls:
            took[id(one.model)] = took.get(id(one.model), 0.0) + one.seconds
        most = max(took, key=lambda model: took[model])
        of_it = [one for one in calls if id(one.model) == most]
        last = of_it[-1]
        args, kwargs = _without_graph(last.inputs)
        return Subject(
            model=last.model,
            args=args,
            kwargs=kwargs,
            line=last.line,
            calls=len(of_it),
            share=took[most] / (sum(one.seconds for one in self._calls) + self._elsewhere),
            training=[module.training for module in last.model.modules()],
            trains=self._backward,
            grad=last.grad,
            autocast=last.autocast,
            device=next(last.model.parameters()).device,
            threads=torch.get_num_threads(),
            optimizer=None if self._optimizer is None else _seen(*self._optimizer),
            data_line=self._data_line,
            alone=not (torch.distributed.is_available() and torch.distributed.is_initialized()),
        )


def _seen(optimizer: Any, line: Line) -> OptimizerSeen:
    groups = [
        ({name: value for name, value in group.items() if name != "params"}, list(group["params"]))
        for group in optimizer.param_groups
    ]
    return OptimizerSeen(type(optimizer), groups, line)


def _without_graph(inputs: Any) -> Any:
    """The same tensors without what they were computed from; they ask for a gradient where they did."""
    import torch
    from torch.utils import _pytree as pytree

    def bare(leaf: Any) -> Any:
        if isinstance(leaf, torch.Tensor) and leaf.requires_grad:
            return leaf.detach().requires_grad_()
        return leaf

    return pytree.tree_map(bare, inputs)
