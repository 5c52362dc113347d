"""Outermost calls of models: in which mode, whether for training, and whether through `forward` alone.

Validation is seldom, so every window looks. A place in the code that has proved to be of no interest (it
trains, or it evaluates as it should) costs one look in a dictionary from then on.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from dataclasses import dataclass, field
from types import CodeType, FrameType
from typing import Any

from flatout.profiling.user_lines import Line, of_library, of_profiler, of_torch, user_line


@dataclass
class Pass:
    """Calls of a model in one place, in one mode.

    Attributes:
        line: that calls it.
        model: the name of its class.
        training: it was in training mode.
        grad: a graph was made.
        unsteady: the name of a layer in it that works otherwise in training, or None.
        trains: a gradient came back through it, or its output went into a model that trains.
        calls: how many.
        times: the seconds of those in steps that have ended.
    """

    line: Line
    model: str
    training: bool
    grad: bool
    unsteady: str | None
    trains: bool = False
    calls: int = 0
    times: list[float] = field(default_factory=list)


@dataclass
class _Place:
    """What is known of one place: the pass, or the line that calls `forward`, or nothing of interest."""

    code: CodeType  # keeps its id from being given to another
    seen: Pass | None = None
    direct: Line | None = None


@dataclass
class Passes:
    """What was seen of all places.

    Attributes:
        steps: that ended while somebody looked.
        seconds: these took.
        seen: the passes of interest.
        direct: how often a line called `forward` of a model, so that hooks were skipped.
    """

    steps: int = 0
    seconds: float = 0.0
    seen: list[Pass] = field(default_factory=list)
    direct: dict[Line, int] = field(default_factory=dict)
    _places: dict[tuple[int, int, bool, bool], _Place] = field(default_factory=dict)
    _direct_codes: dict[int, int] = field(default_factory=dict)
    _now: list[tuple[Pass, float]] = field(default_factory=list)
    _last: tuple[weakref.ref[Any], Pass] | None = None  # an output without graph, of a model in training mode

    def end_step(self, seconds: float) -> None:
        """A step has ended."""
        self.steps += 1
        self.seconds += seconds
        for one, took in self._now:
            one.times.append(took)
        self._now.clear()

    def look(self, args: tuple[Any, ...], result: Any, caller: FrameType, seconds: float) -> None:
        """A model (the first of the arguments) was called by this frame; it took so long."""
        import torch

        while of_profiler(caller.f_code.co_filename) and caller.f_back is not None:
            caller = caller.f_back
        model, grad = args[0], torch.is_grad_enabled()
        if self._last is not None:
            self._feeds(args, grad)
        key = (id(caller.f_code), caller.f_lasti, model.training, grad)
        place = self._places.get(key)
        if place is None:
            place = self._places[key] = self._judge(model, result, caller, grad)
        if place.seen is not None:
            self._passed(place, result, seconds)
        elif place.direct is not None:
            self.direct[place.direct] += 1

    def _passed(self, place: _Place, result: Any, seconds: float) -> None:
        one = place.seen
        assert one is not None
        if one.trains:
            place.seen = None
            return
        one.calls += 1
        self._now.append((one, seconds))
        if one.grad:

            def came_back(_: Any) -> None:
                one.trains = True

            for tensor in _with_graph(result):
                tensor.grad_fn.register_prehook(came_back)
        elif (output := next(_tensors(result), None)) is not None:
            self._last = weakref.ref(output), one

    def _feeds(self, args: tuple[Any, ...], grad: bool) -> None:
        """A generator works without a graph where a discriminator trains on what it made."""
        assert self._last is not None
        output, one = self._last[0](), self._last[1]
        if grad and output is not None and any(arg is output for arg in args[1:]):
            one.trains = True
        if output is None or one.trains:
            self._last = None

    def _judge(self, model: Any, result: Any, caller: FrameType, grad: bool) -> _Place:
        place = _Place(caller.f_code)
        if _is_forward(caller):
            place.direct = self._direct_line(caller)
            return place
        if of_torch(caller.f_code.co_filename):
            return place  # what torch does by itself, as when it measures batch norm anew
        unsteady = _unsteady(model) if model.training else None
        builds = grad and _trainable(model) and any(True for _ in _with_graph(result))
        if builds or (unsteady is not None and not grad):
            line = user_line(caller)
            place.seen = Pass(line, type(model).__name__, model.training, grad, unsteady)
            self.seen.append(place.seen)
        return place

    def _direct_line(self, caller: FrameType) -> Line | None:
        """The line that called `forward`; None where it is a library's, or for the second layer in it."""
        first = self._direct_codes.setdefault(id(caller.f_code), caller.f_lasti)
        model = _self(caller)
        outer = caller.f_back
        while outer is not None and _is_forward(outer) and _self(outer) is model:
            outer = outer.f_back  # super().forward(x)
        if first != caller.f_lasti or outer is None or of_library(outer.f_code.co_filename):
            return None
        line = Line(outer.f_code.co_filename, outer.f_lineno)
        self.direct.setdefault(line, 0)
        return line


def _is_forward(frame: FrameType) -> bool:
    """Whether it is the `forward` of a module; one called as a module is no outermost caller."""
    from torch.nn import Module

    return frame.f_code.co_name == "forward" and isinstance(_self(frame), Module)


def _self(frame: FrameType) -> Any:
    names = frame.f_code.co_varnames
    return frame.f_locals.get(names[0]) if names else None


def _trainable(model: Any) -> bool:
    return any(parameter.requires_grad for parameter in model.parameters())


def _unsteady(model: Any) -> str | None:
    """The class of a layer whose training mode changes what it computes, or what it learns."""
    from torch import nn
    from torch.nn.modules.batchnorm import _NormBase
    from torch.nn.modules.dropout import _DropoutNd

    for layer in model.modules():
        drops = layer.p if isinstance(layer, _DropoutNd) else 0.0
        if isinstance(layer, (nn.RNNBase, nn.MultiheadAttention)):
            drops = layer.dropout
        tracks = isinstance(layer, _NormBase) and layer.track_running_stats
        if layer.training and (drops > 0 or tracks):
            return type(layer).__name__
    return None


def _with_graph(result: Any) -> Iterator[Any]:
    return (tensor for tensor in _tensors(result) if tensor.grad_fn is not None)


def _tensors(result: Any) -> Iterator[Any]:
    """The tensors that a model returns, also in a tuple or a dictionary."""
    import torch

    if isinstance(result, torch.Tensor):
        yield result
    elif isinstance(result, (tuple, list)):
        for part in result:
            yield from _tensors(part)
    elif isinstance(result, dict):
        for part in result.values():
            yield from _tensors(part)
