"""What is asked of a layer that is called, and of one whose forward is called: each a small experiment.

Every probe builds a fresh layer, sets one mechanism of PyTorch on it, runs it in the way it is given, and
looks whether the mechanism acted. Nothing is taken from documentation.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules import module as hooks_of_all
from torch.nn.utils import parametrize, prune
from torch.utils.flop_counter import FlopCounterMode

Way = Callable[[nn.Module, Tensor], Tensor]

_ROWS, _INPUTS, _OUTPUTS = 3, 4, 10


def by_call(layer: nn.Module, x: Tensor) -> Tensor:
    """As one should."""
    y: Tensor = layer(x)
    return y


def by_forward(layer: nn.Module, x: Tensor) -> Tensor:
    """Around the call."""
    y: Tensor = layer.forward(x)
    return y


@dataclass(frozen=True)
class Probe:
    """One question.

    Attributes:
        what: the mechanism.
        acts: whether it acts on a layer that runs in this way.
    """

    what: str
    acts: Callable[[Way], bool]


class Layer(nn.Module):
    """A layer as a person writes it, with no other layer within."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(_OUTPUTS, _INPUTS))
        self.bias = nn.Parameter(torch.zeros(_OUTPUTS))

    def forward(self, x: Tensor) -> Tensor:
        """Scores [n, 10] of x [n, 4]."""
        return nn.functional.linear(x, self.weight, self.bias)


class _Net(nn.Module):
    """A network that runs its layer fc1 in one of the ways."""

    def __init__(self, way: Way) -> None:
        super().__init__()
        self.fc1 = nn.Linear(_INPUTS, _OUTPUTS)
        self._way = way

    def forward(self, x: Tensor) -> Tensor:
        return self._way(self.fc1, x)


class _Broken(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        raise ValueError("on purpose")


class _Zero(nn.Module):
    def forward(self, weight: Tensor) -> Tensor:
        return 0 * weight


def x() -> Tensor:
    """What the layers are given: float32 [3, 4]."""
    return torch.ones(_ROWS, _INPUTS)


def _hook(name: str) -> Probe:
    """Whether a hook of the layer fires, forward or backward."""

    def acts(way: Way) -> bool:
        layer = Layer()
        return _fires(way, layer, getattr(layer, name))

    return Probe(f"layer.{name}", acts)


def _hook_of_all(name: str) -> Probe:
    """Whether a hook that all layers share fires."""
    return Probe(name, lambda way: _fires(way, Layer(), getattr(hooks_of_all, name)))


def _fires(way: Way, layer: nn.Module, register: Callable[..., Any], **options: bool) -> bool:
    fired: list[bool] = []
    handle = register(lambda *_: fired.append(True), **options)
    try:
        with suppress(ValueError):  # of the broken layer
            way(layer, x().requires_grad_()).sum().backward()  # type: ignore[no-untyped-call]
    finally:
        handle.remove()
    return bool(fired)


def _fires_on_error(way: Way) -> bool:
    layer = _Broken()
    return _fires(way, layer, layer.register_forward_hook, always_call=True)


def _follows_pruned(way: Way) -> bool:
    """A pruned layer works out its weight anew before it runs; does it see what training changed?"""
    layer = Layer()
    prune.identity(layer, "weight")  # type: ignore[no-untyped-call]
    with torch.no_grad():
        layer.get_parameter("weight_orig").zero_()
    return not way(layer, x()).any()


def _finds_shape(way: Way) -> bool:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # some versions say that lazy layers are new
        layer = nn.LazyLinear(_OUTPUTS)
    try:
        return way(layer, x()).shape == (_ROWS, _OUTPUTS)
    except (ValueError, RuntimeError, TypeError):
        return False


def _counts_flops(way: Way) -> bool:
    with FlopCounterMode(display=False) as counter:
        _Net(way)(x())
    return any(name.endswith("fc1") for name in counter.get_flop_counts())


def _traces(way: Way) -> bool:
    return any(node.op == "call_module" for node in torch.fx.symbolic_trace(_Net(way)).graph.nodes)


def _compiles(way: Way) -> bool:
    """With a compiler of our own, which only notes that what it made runs."""
    ran: list[bool] = []

    def compiler(graph: torch.fx.GraphModule, _: list[Tensor]) -> Callable[..., Any]:
        def run(*inputs: Tensor) -> Any:
            ran.append(True)
            return graph.forward(*inputs)

        return run

    layer = Layer()
    layer.compile(backend=compiler)
    way(layer, x())
    return bool(ran)


def _casts(way: Way) -> bool:
    with torch.autocast("cpu", torch.bfloat16):
        return way(Layer(), x()).dtype == torch.bfloat16


def _learns(way: Way) -> bool:
    layer = Layer()
    way(layer, x()).sum().backward()  # type: ignore[no-untyped-call]
    return layer.weight.grad is not None and bool(layer.weight.grad.any())


def _keeps_no_graph(way: Way) -> bool:
    with torch.no_grad():
        return not way(Layer(), x()).requires_grad


def _obeys_eval(way: Way) -> bool:
    return torch.equal(way(nn.Dropout(0.9).eval(), x()), x())


def _parametrizes(way: Way) -> bool:
    layer = Layer()
    parametrize.register_parametrization(layer, "weight", _Zero())
    return not way(layer, x()).any()


PROBES = (
    _hook("register_forward_pre_hook"),
    _hook("register_forward_hook"),
    Probe("… with always_call=True, where forward fails", _fires_on_error),
    _hook("register_full_backward_pre_hook"),
    _hook("register_full_backward_hook"),
    _hook_of_all("register_module_forward_pre_hook"),
    _hook_of_all("register_module_forward_hook"),
    _hook_of_all("register_module_full_backward_pre_hook"),
    _hook_of_all("register_module_full_backward_hook"),
    Probe("layer.compile(): the compiled code runs", _compiles),
    Probe("torch.fx.symbolic_trace keeps the layer whole", _traces),
    Probe("FlopCounterMode counts under the layer's name", _counts_flops),
    Probe("prune: the weight follows its training", _follows_pruned),
    Probe("LazyLinear finds its shape", _finds_shape),
    Probe("autocast", _casts),
    Probe("autograd", _learns),
    Probe("no_grad", _keeps_no_graph),
    Probe("train() and eval()", _obeys_eval),
    Probe("parametrize", _parametrizes),
)
"""All that is asked, what the call adds first."""
