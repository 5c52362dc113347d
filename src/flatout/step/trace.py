"""Trace one whole training step: forward, loss, backward, clipping and the user's own optimizer."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
import torch.fx.traceback as fx_traceback
from torch import Tensor, fx, nn
from torch.func import functionalize
from torch.fx.experimental.proxy_tensor import make_fx
from torch.fx.experimental.symbolic_shapes import GuardOnDataDependentSymNode
from torch.nn.utils import clip_grad_norm_, stateless
from torch.optim import Optimizer
from torch.utils import _pytree as pytree

from flatout.step.branch_free import branch_free_layers, branch_free_update
from flatout.step.decompose import InFunctions, decompositions
from flatout.step.graph import (
    RandomInput,
    Scalar,
    StateTensor,
    StepGraph,
    named_modules,
    named_parameters,
    state_of,
)
from flatout.step.loss import loss_function, trained_parameters
from flatout.step.options import scalars_of
from flatout.step.origin import UPDATE, Origin, noting_origins, origin_of, users_line_of
from flatout.step.random_operators import TracedDraws
from flatout.step.random_stream import Kind
from flatout.step.untouched import NotTracedError, untouched
from flatout.task.task import Task


def trace(task: Task, batch: Any) -> StepGraph:
    """The step of `task` on `batch`.

    The optimizer must have made its state: trace after a first eager step.

    Raises:
        NotTracedError: the step looks at values of tensors, draws random numbers, or does something else
            that a graph cannot hold.
    """
    try:
        _refuse_hooks(task)
        with untouched(task):
            return _traced(task, batch)
    except NotTracedError:
        raise
    except Exception as error:
        raise NotTracedError(_reason(error)) from error


def _reason(error: Exception) -> str:
    """Why tracing failed, in one line, with the user's line where there is one."""
    line = users_line_of(error)
    if isinstance(error, GuardOnDataDependentSymNode):
        # Python asked for the value of a tensor that a graph does not know yet.
        return (
            f"its step cannot be traced{f' at {line}' if line else ''}: it decides in Python on the value "
            "of a tensor (if, while, or a number Python needs to know)"
        )
    said = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    return f"its step cannot be traced{f' at {line}' if line else ''}: {type(error).__name__}: {said}"


def _refuse_hooks(task: Task) -> None:
    """What is called around an update and is not part of it would be left out."""
    optimizer: Any = task.optimizer
    own_step = optimizer.__dict__.get("step")
    if own_step is not None and not hasattr(own_step, "_wrapped_by_lr_sched"):
        raise NotTracedError("the step of its optimizer was replaced, and a graph would not call it")
    if optimizer._optimizer_step_pre_hooks or optimizer._optimizer_step_post_hooks:
        raise NotTracedError("its optimizer has hooks around its step, which a graph would not call")
    for name, parameter in named_parameters(task).items():
        if getattr(parameter, "_post_accumulate_grad_hooks", None):
            raise NotTracedError(f"{name} has a hook on its gradient's accumulation, which a graph has not")


def _traced(task: Task, batch: Any) -> StepGraph:
    live = state_of(task)
    scalars = scalars_of(task)
    leaves, spec = pytree.tree_flatten(batch)
    values = [tensor.detach() for _, tensor in live.values()]
    numbers = [torch.zeros((), dtype=torch.float64) for _ in scalars]
    step = _step_function(task, list(live), [kind for kind, _ in live.values()], scalars, spec)
    draws = _Draws()
    with (
        fx_traceback.preserve_node_meta(),
        branch_free_layers(task.modules()),
        noting_origins(task.model) as set_phase,
    ):
        traced = _make(draws.noted(step(set_phase)))(values, leaves, numbers)
    _refuse_changed_constants(traced)
    random = draws.inputs(traced)
    with fx_traceback.preserve_node_meta():
        rerun = functionalize(_interpreted(traced, draws.nodes(traced)), remove="mutations")
        graph = _make(rerun, decompositions())(*values, *leaves, *numbers, *draws.examples())
    graph.graph.eliminate_dead_code()
    graph.recompile()
    state = tuple(
        StateTensor(name, kind, tuple(tensor.shape), tensor.dtype) for name, (kind, tensor) in live.items()
    )
    return StepGraph(
        graph, state, scalars, tuple((tuple(x.shape), x.dtype) for x in leaves), spec, len(leaves[0]), random
    )


class _Draws:
    """The random numbers a step draws while it is traced.

    Each is at first an empty tensor, marked in the graph; then an input takes its place.
    """

    _KEY = "flatout_draw"

    def __init__(self) -> None:
        self._drawn: list[tuple[Kind, tuple[int, ...], torch.dtype, torch.device]] = []

    def noted(self, step: Callable[..., list[Tensor]]) -> Callable[..., list[Tensor]]:
        """The step with its random operators taken apart."""

        def run(*args: Any) -> list[Tensor]:
            with TracedDraws(self._stand_in):
                return step(*args)

        return run

    def _stand_in(
        self, kind: Kind, shape: tuple[int, ...], dtype: torch.dtype, device: torch.device
    ) -> Tensor:
        self._drawn.append((kind, shape, dtype, device))
        with fx_traceback.annotate({self._KEY: len(self._drawn) - 1}):
            return torch.empty(shape, dtype=dtype, device=device)

    def examples(self) -> list[Tensor]:
        """Tensors like those the step has to be given."""
        return [torch.empty(shape, dtype=dtype, device=device) for _, shape, dtype, device in self._drawn]

    def nodes(self, traced: fx.GraphModule) -> dict[int, fx.Node]:
        """The node of each draw that something depends on."""
        marks = {node: (node.meta.get("custom") or {}).get(self._KEY) for node in traced.graph.nodes}
        return {mark: node for node, mark in marks.items() if mark is not None}

    def inputs(self, traced: fx.GraphModule) -> tuple[RandomInput, ...]:
        """What the step has to be given."""
        nodes = self.nodes(traced)
        origins = [origin_of(nodes[i]) if i in nodes else Origin() for i in range(len(self._drawn))]
        return tuple(
            RandomInput(kind, shape, dtype, origin)
            for (kind, shape, dtype, _), origin in zip(self._drawn, origins, strict=True)
        )


def _interpreted(graph: fx.GraphModule, draws: dict[int, fx.Node]) -> Callable[..., Any]:
    """The graph as a function that carries the notes of its nodes over; it takes the draws after the rest."""
    own = sum(node.op == "placeholder" for node in graph.graph.nodes)

    def run(*args: Any) -> Any:
        given = {node: args[own + index] for index, node in draws.items()}
        return InFunctions(graph, given).run(*args[:own])

    return run


def _make(function: Callable[..., Any], table: dict[Any, Any] | None = None) -> Callable[..., fx.GraphModule]:
    """`function` as a graph; tensors it holds by itself, such as weights of classes, become attributes."""
    return make_fx(
        function, tracing_mode="fake", decomposition_table=table or {}, _allow_non_fake_inputs=True
    )


def _refuse_changed_constants(graph: fx.GraphModule) -> None:
    """A tensor that is no parameter or buffer must not be changed by the step: nobody would see it."""
    for node in graph.graph.nodes:
        schema = getattr(node.target, "_schema", None)
        if schema is None or not schema.is_mutable:
            continue
        for position, argument in enumerate(schema.arguments):
            if argument.is_write and position < len(node.args) and _is_constant(node.args[position]):
                raise NotTracedError(
                    f"its step changes a tensor that is no parameter or buffer of the model "
                    f"({node.target} in {origin_of(node)}); register_buffer makes it one"
                )


def _is_constant(argument: Any) -> bool:
    """Whether a value is, or looks into, a tensor that belongs to the graph."""
    while isinstance(argument, fx.Node) and argument.op == "call_function":
        schema = getattr(argument.target, "_schema", None)
        views = schema is not None and any(a.alias_info is not None for a in schema.arguments)
        if not views or not argument.args:
            return False
        argument = argument.args[0]
    return isinstance(argument, fx.Node) and argument.op == "get_attr"


def _step_function(
    task: Task, names: list[str], kinds: list[str], scalars: tuple[Scalar, ...], spec: pytree.TreeSpec
) -> Callable[[Callable[[str], None]], Callable[..., list[Tensor]]]:
    """The step as a function of tensors alone."""
    optimizer = task.optimizer
    parameters = named_parameters(task)
    loss_of = loss_function(task)
    clipped = [n for n, p in parameters.items() if any(p is q for q in trained_parameters(task))]

    def with_phase(set_phase: Callable[[str], None]) -> Callable[..., list[Tensor]]:
        def step(values: list[Tensor], leaves: list[Tensor], numbers: list[Tensor]) -> list[Tensor]:
            named = dict(zip(names, values, strict=True))
            inputs = {
                n: named[n].detach().requires_grad_(p.requires_grad) if p.requires_grad else named[n]
                for n, p in parameters.items()
            }
            buffers = {n: named[n].clone() for n, k in zip(names, kinds, strict=True) if k == "buffer"}
            for name, parameter in parameters.items():
                for hook in (parameter._backward_hooks or {}).values():
                    inputs[name].register_hook(hook)  # type: ignore[no-untyped-call]
            with _put_into(task, {**inputs, **buffers}):
                loss = loss_of(pytree.tree_unflatten(leaves, spec))
                wanted = [n for n, p in parameters.items() if p.requires_grad]
                gradients = torch.autograd.grad(loss, [inputs[n] for n in wanted], allow_unused=True)
            set_phase(UPDATE)
            with torch.no_grad():
                new = {n: named[n].detach().clone() for n in parameters}
                for name, gradient in zip(wanted, gradients, strict=True):
                    new[name].grad = gradient
                if task.clip_grad_norm is not None:
                    clip_grad_norm_([new[n] for n in clipped], task.clip_grad_norm)
                state = {
                    n: v.clone() for n, v, k in zip(names, values, kinds, strict=True) if k == "optimizer"
                }
                with _borrowed(optimizer, parameters, new, state, scalars, numbers):
                    with branch_free_update(optimizer):
                        _plain_step(optimizer)()
                    updated = _updated_state(optimizer, new)
            set_phase("")
            result = {**new, **buffers, **updated}
            return [result[n] for n in names] + [loss.detach()]

        return step

    return with_phase


@contextmanager
def _put_into(task: Task, tensors: dict[str, Tensor]) -> Iterator[None]:
    """The modules of the task with other tensors in them, by their names in the layout."""
    with ExitStack() as stack:
        for prefix, module in named_modules(task):
            own = {n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)}
            names = {n for n, _ in (*module.named_parameters(), *module.named_buffers())}
            own = {n: t for n, t in own.items() if n in names}
            stack.enter_context(stateless._reparametrize_module(module, own, tie_weights=True))
        yield


@contextmanager
def _borrowed(
    optimizer: Optimizer,
    parameters: dict[str, nn.Parameter],
    new: dict[str, Tensor],
    state: dict[str, Tensor],
    scalars: tuple[Scalar, ...],
    numbers: list[Tensor],
) -> Iterator[None]:
    """The user's optimizer over the traced parameters, state and numbers; afterwards as it was."""
    names = {id(p): n for n, p in parameters.items()}
    own_groups = [dict(group) for group in optimizer.param_groups]
    own_state = optimizer.state
    traced: dict[Tensor, dict[str, Any]] = defaultdict(dict)
    for parameter, entries in own_state.items():
        name = names[id(parameter)]
        traced[new[name]] = {k: state.get(f"{name}.{k}", v) for k, v in entries.items()}
    try:
        for group in optimizer.param_groups:
            group["params"] = [new[names[id(p)]] for p in group["params"]]
            for way in ("foreach", "fused"):  # the same update, operator by operator
                if way in group:
                    group[way] = False
        for scalar, number in zip(scalars, numbers, strict=True):
            _put(optimizer, scalar, number)
        optimizer.state = traced  # type: ignore[assignment]
        before = _numbers_of(optimizer)
        yield
        if _numbers_of(optimizer) != before:
            raise NotTracedError(
                f"{type(optimizer).__name__} counts in Python, which a graph cannot do: its state has to be "
                "tensors"
            )
    finally:
        for group, own in zip(optimizer.param_groups, own_groups, strict=True):
            group.clear()
            group.update(own)
        optimizer.state = own_state


def _put(optimizer: Optimizer, scalar: Scalar, number: Tensor) -> None:
    """A number of the graph in the place of an option, of which Python may ask whether it is 0."""
    group, now, value = optimizer.param_groups[scalar.group], scalar.read(optimizer), number.item()
    if scalar.key != "lr":
        torch._check(value > 0 if now > 0 else value < 0)  # type: ignore[no-untyped-call]
    if scalar.place is None:
        group[scalar.key] = value
    else:
        elements = group[scalar.key]
        group[scalar.key] = (*elements[: scalar.place], value, *elements[scalar.place + 1 :])


def _numbers_of(optimizer: Optimizer) -> list[dict[str, Any]]:
    """What the optimizer keeps as numbers of Python; a graph has them as constants."""
    plain = (int, float, bool, str)
    return [
        {key: value for key, value in entries.items() if isinstance(value, plain)}
        for entries in (*optimizer.state.values(), *optimizer.param_groups)
    ]


def _updated_state(optimizer: Optimizer, new: dict[str, Tensor]) -> dict[str, Tensor]:
    return {
        f"{name}.{key}": value
        for name, parameter in new.items()
        for key, value in optimizer.state.get(parameter, {}).items()
        if isinstance(value, Tensor)
    }


def _plain_step(optimizer: Optimizer) -> Callable[[], Any]:
    """The update without the decorators around it: profiler marks, and a switch for the compiler."""
    step: Any = type(optimizer).step
    while hasattr(step, "__wrapped__"):
        step = step.__wrapped__
    return lambda: step(optimizer)
