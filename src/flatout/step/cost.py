"""What a traced step costs, counted from its operators: FLOPs, bytes, launches and memory.

FLOPs: matrix products and convolutions exactly (a multiplication and an addition each count), anything
pointwise and random numbers 1 an element of the result, a reduction 1 an element it reads, softmax 5 an
element. What only moves numbers costs none.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor, fx
from torch.utils.flop_counter import flop_registry

from flatout.hardware.peaks import Peaks
from flatout.step.origin import UPDATE, origin_of

if TYPE_CHECKING:
    from flatout.step.graph import StepGraph

aten = torch.ops.aten

Phase = Literal["forward", "backward", "update"]

_MOVES = {
    aten.clone, aten.copy, aten._to_copy, aten.gather, aten.index_select, aten.index, aten.index_put,
    aten.cat, aten.full, aten.full_like, aten.scalar_tensor, aten.empty, aten.arange, aten.scatter,
    aten.select_scatter,
    aten.slice_scatter, aten.constant_pad_nd, aten.embedding, aten.repeat, aten.flip,
}  # fmt: skip
_VIEWS = {aten._unsafe_view, aten._reshape_alias, aten.lift_fresh_copy, aten.reshape}
_SOFTMAX = {aten._softmax, aten._log_softmax}
_SOFTMAX_BACKWARD = {aten._softmax_backward_data, aten._log_softmax_backward_data}
_A_SOFTMAX = 5  # maximum, difference, exp, sum, and a division or difference
_ITS_BACKWARD = 4


@dataclass(frozen=True)
class OperatorCost:
    """What one operator of a step costs.

    Attributes:
        operator: for example "addmm".
        layer: the layer it belongs to; "" for the loss and the model itself.
        phase: "forward", "backward" or "update".
        flops: what it computes.
        bytes: what it reads and writes when it runs by itself.
        launches: 1 where it starts work, 0 for views and constants.
    """

    operator: str
    layer: str
    phase: Phase
    flops: int
    bytes: int
    launches: int


@dataclass(frozen=True)
class Cost:
    """What a step costs.

    Attributes:
        operators: each operator, in the order they run.
        flops: of all.
        bytes: the least a step has to move: what it reads of state and batch, and the state it changes.
        launches: operators that start work.
        peak_memory: bytes of state and batch, and of the temporaries that live at once at the worst moment.
    """

    operators: tuple[OperatorCost, ...]
    flops: int
    bytes: int
    launches: int
    peak_memory: int


def cost_of(graph: StepGraph) -> Cost:
    """Count a traced step."""
    free = _free(graph)
    operators = (*_draws(graph), *(_operator(node, node in free) for node in _calls(graph)))
    return Cost(
        operators,
        sum(o.flops for o in operators),
        _least_bytes(graph),
        sum(o.launches for o in operators),
        _peak_memory(graph, free),
    )


def floor(flops: int, moved: int, peaks: Peaks) -> float:
    """The least seconds that computing and moving so much can take, done at the same time."""
    return max(flops / peaks.flops, moved / peaks.bandwidth_for(moved))


def _calls(graph: StepGraph) -> Iterator[fx.Node]:
    for node in graph.graph.graph.nodes:
        if node.op == "call_function" and isinstance(node.target, torch._ops.OpOverload):
            yield node


def _draws(graph: StepGraph) -> Iterator[OperatorCost]:
    for entry, node in zip(graph.random, graph.random_inputs(), strict=True):
        if node.users:
            count = math.prod(entry.shape)
            written = _written(node)
            yield OperatorCost(f"{entry.kind} numbers", entry.origin.layer, "forward", count, written, 1)


def _operator(node: fx.Node, free: bool) -> OperatorCost:
    origin = origin_of(node)
    phase: Phase = "update" if origin.layer == UPDATE else "backward" if origin.backward else "forward"
    name = _packet(node).__name__
    if free:
        return OperatorCost(name, origin.layer, phase, 0, 0, 0)
    moved = sum(_size(x) for x in {*_inputs(node)}) + _written(node)
    return OperatorCost(name, origin.layer, phase, _flops(node), moved, 1)


def _packet(node: fx.Node) -> Any:
    target: Any = node.target
    return target.overloadpacket


def _flops(node: fx.Node) -> int:
    packet = _packet(node)
    results = _tensors(node)
    made = sum(t.numel() for t in results)
    if packet in flop_registry:
        values = fx.node.map_arg((node.args, node.kwargs), lambda n: n.meta["val"])
        args, kwargs = values
        exact = int(flop_registry[packet](*args, **kwargs, out_val=node.meta["val"]))
        return exact + (made if packet in (aten.addmm, aten.baddbmm) else 0)
    if packet in _MOVES:
        return 0
    if packet in _SOFTMAX:
        return _A_SOFTMAX * made
    if packet in _SOFTMAX_BACKWARD:
        return _ITS_BACKWARD * made
    if torch.Tag.pointwise in node.target.tags:  # type: ignore[union-attr]
        return made
    return max([made, *(t.numel() for source in _inputs(node) for t in _tensors(source))])


def _free(graph: StepGraph) -> set[fx.Node]:
    """Operators that start no work: views, numbers the host reads, constants, the tracer's own copies."""
    free: set[fx.Node] = set()
    state = set(graph.placeholders()[0])
    constant: set[fx.Node] = set()
    for node in _calls(graph):
        packet, inputs = _packet(node), _inputs(node)
        if _is_view(node) or packet is aten._local_scalar_dense:
            free.add(node)
        elif packet is aten.clone and _base(inputs[0]) in state:
            free.add(node)  # so that the trace leaves the user's tensors alone; a step has no such copy
        elif all(source in constant for source in inputs) and not _symbolic(node):
            constant.add(node)
            if sum(t.numel() for t in _tensors(node)) <= 1:
                free.add(node)
    return free


def _is_view(node: fx.Node) -> bool:
    target: Any = node.target
    return target.is_view or target.overloadpacket in _VIEWS


def _symbolic(node: fx.Node) -> bool:
    return any(not _tensors(source) for source in node.all_input_nodes)


def _base(node: fx.Node) -> fx.Node:
    """The node whose memory this one looks at."""
    while node.op == "call_function" and isinstance(node.target, torch._ops.OpOverload) and _is_view(node):
        node = node.all_input_nodes[0]
    return node


def _is_same(fresh: fx.Node, old: fx.Node) -> bool:
    """Whether a new state is the old one, at most copied."""
    fresh = _base(fresh)
    while fresh.op == "call_function" and fresh.target is aten.clone.default:
        fresh = _base(fresh.all_input_nodes[0])
    return fresh is old


def _inputs(node: fx.Node) -> list[fx.Node]:
    return [source for source in node.all_input_nodes if _tensors(source)]


def _tensors(node: fx.Node) -> list[Tensor]:
    value = node.meta.get("val")
    return [t for t in (value if isinstance(value, (tuple, list)) else [value]) if isinstance(t, Tensor)]


def _size(node: fx.Node) -> int:
    """Bytes of what a node gives; of an expanded tensor only what it has in memory."""
    return sum(
        t.element_size()
        * math.prod(n for n, stride in zip(t.shape, t.stride(), strict=True) if stride or n == 0)
        for t in _tensors(node)
    )


def _written(node: fx.Node) -> int:
    return sum(t.numel() * t.element_size() for t in _tensors(node))


def _least_bytes(graph: StepGraph) -> int:
    state, batch, _ = graph.placeholders()
    new, loss = graph.outputs()
    read = sum(_size(node) for node in (*state, *batch) if node.users)
    changed = sum(_size(fresh) for old, fresh in zip(state, new, strict=True) if not _is_same(fresh, old))
    return read + changed + _size(loss)


def _peak_memory(graph: StepGraph, free: set[fx.Node]) -> int:
    """State and batch stay; a temporary lives from where it is made to the last read of it or of a view.

    New state takes the place of the old.
    """
    state, batch, _ = graph.placeholders()
    held = sum(_size(node) for node in (*state, *batch))
    in_place = {_base(node) for node in graph.outputs()[0]}
    made = set(graph.random_inputs())
    nodes = list(graph.graph.graph.nodes)
    owner = _owners(nodes, free)
    last = {owner(source): place for place, node in enumerate(nodes) for source in node.all_input_nodes}
    ends: dict[int, int] = {}
    peak = now = held
    for place, node in enumerate(nodes):
        fresh = node.op == "call_function" or node in made
        if fresh and owner(node) is node and node not in in_place | free:
            size = _written(node)
            now += size
            end = last.get(node, place)
            ends[end] = ends.get(end, 0) + size
        peak = max(peak, now)
        now -= ends.pop(place, 0)
    return peak


def _owners(nodes: list[fx.Node], free: set[fx.Node]) -> Callable[[fx.Node], fx.Node]:
    """For each node the one that owns its memory."""
    owners: dict[fx.Node, fx.Node] = {}
    for node in nodes:
        sources = _inputs(node)
        shares = (node in free and sources) or (node.op == "call_function" and "getitem" in str(node.target))
        owners[node] = owners[sources[0]] if shares and sources else node
    return owners.__getitem__
