"""The plan `compiled`: the whole step through Inductor, PyTorch's own compiler, one call a step.

The traced step is handed to Inductor as it is. Dynamo, which would read the model's Python again and check at
every step that nothing changed, has no part in it. The batch is gathered and the state updated in place
inside the compiled step. What Inductor cannot compile is refused.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx
from torch._guards import TracingContext, tracing
from torch.fx.experimental.proxy_tensor import make_fx
from torch.utils import _pytree as pytree

from flatout.codegen.random_numbers import RandomNumbers
from flatout.data.resident import ResidentData
from flatout.data.source import Data
from flatout.errors import PlanRefusedError
from flatout.plans.base import Loop, Plan
from flatout.plans.traced_loop import TracedLoop, live_state
from flatout.step.graph import StepGraph
from flatout.step.origin import origin_of
from flatout.step.random_stream import numbers_of_step, places
from flatout.step.tensors_only import TensorsOnly
from flatout.step.trace import trace
from flatout.step.untouched import NotTracedError
from flatout.task.task import Task

_DEVICES = ("cpu", "cuda")


class CompiledPlan(Plan):
    """Inductor. For resident data on a CPU (with a C++ compiler) or a CUDA device."""

    name = "compiled"
    least_setup_s = 15.0  # what Inductor takes for small models on two cores: 5 to 30 s

    def prepare(self, task: Task, data: Data) -> Loop:
        if data.device.type not in _DEVICES:
            raise PlanRefusedError(
                f"the plan compiled runs on the CPU and on CUDA, and the task lies on {data.device}"
            )
        if not isinstance(data, ResidentData):
            raise PlanRefusedError(
                "the plan compiled needs resident data (tensors), and this data streams in"
            )
        if data.device.type == "cpu":
            _refuse_without_compiler()
        return CompiledLoop(task, data)


@dataclass(frozen=True)
class _Step:
    """A compiled step.

    Attributes:
        graph: what it was compiled from.
        call: takes the list of state, data or batch, index where it gathers, what it draws, and scalars;
            gives the loss.
        gathers: whether it picks its samples itself.
        random: on a CPU, what makes the numbers it draws; elsewhere it makes them itself, from a place in
            the stream.
    """

    graph: StepGraph
    call: Callable[[list[Tensor]], Any]
    gathers: bool
    random: RandomNumbers | None


class CompiledLoop(TracedLoop):
    """Steps compiled by Inductor, one for each batch size."""

    plan = "compiled"

    def __init__(self, task: Task, data: ResidentData) -> None:
        self._steps: dict[int, _Step] = {}
        super().__init__(task, data)

    def build(self, task: Task, batch_size: int) -> None:
        (batch,) = self.data.batches(torch.arange(batch_size).view(1, -1))
        gathers = batch_size != self.data.samples
        try:
            graph = trace(task, batch)
            _refuse_randomness(graph)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # torch's own, about its own insides
                on_cpu = self.data.device.type == "cpu"
                random = RandomNumbers(graph.random) if graph.random and on_cpu else None
                call = _compiled(graph, live_state(task), self.leaves, gathers, random)
        except PlanRefusedError:
            raise
        except NotTracedError as error:
            raise PlanRefusedError(f"the plan compiled cannot run {task.name}: {error}") from error
        except Exception as error:
            first = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise PlanRefusedError(f"the plan compiled cannot run {task.name}: Inductor: {first}") from error
        self._steps[batch_size] = _Step(graph, call, gathers, random)

    def graph(self) -> StepGraph:
        return self._steps[self.data.batch_size].graph

    def steps(self, order: Tensor, scalars: Tensor) -> Tensor:
        step = self._steps[order.shape[1]]
        state, call = live_state(self.task), step.call
        rows = [list(row.unbind(0)) for row in scalars.unbind(0)]
        drawn = self._drawn(step, len(order))
        losses: list[Tensor] = []
        with torch.no_grad():
            if step.gathers:
                for index, numbers in zip(order.to(self.data.device).unbind(0), rows, strict=True):
                    losses.append(call([*state, *self.leaves, index, *next(drawn), *numbers])[0])
            else:
                for batch, numbers in zip(self.data.batches(order), rows, strict=True):
                    leaves = self.leaves if batch is self.data.tensors else pytree.tree_leaves(batch)
                    losses.append(call([*state, *leaves, *next(drawn), *numbers])[0])
        return torch.stack(losses) if losses else torch.empty(0, device=self.data.device)

    def _drawn(self, step: _Step, steps: int) -> Iterator[list[Tensor]]:
        """What each of the next steps draws, made when it is wanted."""
        seed, first = self.task.seed, self.step
        if step.random is None and step.graph.random:
            yield from ([place] for place in places(seed, first, steps).to(self.data.device).unbind(0))
        for number in range(first, first + steps):
            yield [] if step.random is None else step.random.fill(seed, number)


def _refuse_without_compiler() -> None:
    """Inductor writes C++ for a CPU, and needs a compiler for it."""
    from torch._inductor.cpp_builder import get_cpp_compiler

    try:
        get_cpp_compiler()
    except Exception as error:
        raise PlanRefusedError(
            "the plan compiled needs a C++ compiler (g++ or clang++, or $CXX), and there is none: "
            "install g++, or use the plan eager"
        ) from error


def _refuse_randomness(graph: StepGraph) -> None:
    """Numbers of another stream than that of `random_stream` nobody could draw again to check the step."""
    for node in graph.graph.graph.nodes:
        if isinstance(node.target, torch._ops.OpOverload) and (
            torch.Tag.nondeterministic_seeded in node.target.tags
        ):
            raise PlanRefusedError(
                f"{node.target} in {origin_of(node)} draws random numbers in a way the plan compiled does "
                "not know"
            )


def _compiled(
    graph: StepGraph, state: list[Tensor], data: list[Tensor], gathers: bool, random: RandomNumbers | None
) -> Callable[[list[Tensor]], Any]:
    """The step as a function of Inductor's that updates the state in place and returns `[loss]`."""
    from torch._inductor.compile_fx import compile_fx_inner
    from torch._inductor.virtualized import V

    device = data[0].device
    index = [torch.zeros(graph.batch_size, dtype=torch.int64, device=device)] if gathers else []
    scalars = [torch.zeros((), dtype=torch.float64) for _ in graph.scalars]
    drawn = random.tensors if random else []
    if graph.random and random is None:
        drawn = [torch.zeros(4, dtype=torch.int64, device=device)]
    inputs = [*state, *data, *index, *drawn, *scalars]
    module = _in_place(graph, inputs, len(state), len(data), gathers)
    fakes = [node.meta["val"] for node in module.graph.nodes if node.op == "placeholder"]
    mode = fakes[0].fake_mode
    with torch.no_grad(), _as_it_comes(), tracing(TracingContext(mode)), V.set_fake_mode(mode):
        compiled: Any = compile_fx_inner(module, fakes)
    return compiled  # type: ignore[no-any-return]


@contextmanager
def _as_it_comes() -> Iterator[None]:
    """Inductor as it comes, whatever this process has set for its own `torch.compile`."""
    from torch._inductor import config

    with config.patch(max_autotune=False, cpp_wrapper=False):
        yield


class _Respelled(TensorsOnly):
    """The step in the spelling that Inductor reads."""

    def call_function(self, target: Any, args: Any, kwargs: Any) -> Any:
        if target is torch.ops.prims.var.default:
            x, dims, correction = (*args, 1.0)[:3]
            return torch.ops.aten.var.correction(x, dims, correction=kwargs.get("correction", correction))
        return super().call_function(target, args, kwargs)


def _is_copy(value: fx.Node, old: fx.Node) -> bool:
    """Whether a new value is the old one; frozen parameters are not written."""
    copies = (torch.ops.aten.clone.default, torch.ops.aten.alias.default)
    while value is not old and value.target in copies:
        value = value.all_input_nodes[0]
    return value is old


def _in_place(
    graph: StepGraph, inputs: list[Tensor], states: int, leaves: int, gathers: bool
) -> fx.GraphModule:
    """The step without scalars of Python, gathering its batch, and writing the new state over the old."""
    from torch._inductor.decomposition import select_decomp_table

    def step(*values: Tensor) -> list[Tensor]:
        state, data = values[:states], values[states : states + leaves]
        rest = values[states + leaves :]
        if gathers:
            data, rest = tuple(leaf.index_select(0, rest[0]) for leaf in data), rest[1:]
        scalars = rest[len(rest) - len(graph.scalars) :]
        drawn: Sequence[Tensor] = rest[: len(rest) - len(scalars)]
        if graph.random and data[0].device.type != "cpu":
            drawn = numbers_of_step([(x.kind, x.shape, x.dtype) for x in graph.random], drawn[0])
        result: list[Tensor] = _Respelled(graph.graph).run(*state, *data, *scalars, *drawn)
        return result

    with torch.no_grad():
        module = make_fx(step, tracing_mode="fake", decomposition_table=select_decomp_table())(*inputs)
    nodes = module.graph
    placeholders = [node for node in nodes.nodes if node.op == "placeholder"]
    output = next(node for node in nodes.nodes if node.op == "output")
    *new, loss = output.args[0]
    with nodes.inserting_before(output):
        for old, value in zip(placeholders[:states], new, strict=True):
            if not _is_copy(value, old):
                copied = nodes.call_function(torch.ops.aten.copy_.default, (old, value))
                copied.meta["val"] = old.meta["val"]
    output.args = ((loss,),)
    nodes.eliminate_dead_code()
    module.recompile()
    return module
