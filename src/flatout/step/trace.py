"""Trace one whole training step: forward, loss, backward, clipping and the user's own optimizer."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.fx.traceback as fx_traceback
from torch import Tensor, fx, nn
from torch._decomp import core_aten_decompositions
from torch.func import functionalize
from torch.fx.experimental.proxy_tensor import make_fx
from torch.nn.utils import clip_grad_norm_, stateless
from torch.optim import Optimizer
from torch.utils import _pytree as pytree

from flatout.step.graph import Scalar, StateTensor, StepGraph, state_of
from flatout.step.loss import loss_function, trained_parameters
from flatout.step.origin import UPDATE, noting_origins, users_line_of
from flatout.task.task import Task


class NotTracedError(Exception):
    """The step cannot be one graph; the message says what stands in the way, and where."""


def trace(task: Task, batch: Any) -> StepGraph:
    """The step of `task` on `batch`.

    The optimizer must have made its state: trace after a first eager step.

    Raises:
        NotTracedError: the step looks at values of tensors, draws random numbers, or does something else
            that a graph cannot hold.
    """
    try:
        return _traced(task, batch)
    except NotTracedError:
        raise
    except Exception as error:
        raise NotTracedError(_reason(error)) from error


def _reason(error: Exception) -> str:
    """Why tracing failed, in one line, with the user's line where there is one."""
    line = users_line_of(error)
    said = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    return f"its step cannot be traced{f' at {line}' if line else ''}: {type(error).__name__}: {said}"


def _traced(task: Task, batch: Any) -> StepGraph:
    live = state_of(task)
    scalars = _scalars(task)
    leaves, spec = pytree.tree_flatten(batch)
    values = [tensor.detach() for _, tensor in live.values()]
    numbers = [torch.zeros((), dtype=torch.float64) for _ in scalars]
    step = _step_function(task, list(live), [kind for kind, _ in live.values()], scalars, spec)
    with fx_traceback.preserve_node_meta(), noting_origins(task.model) as set_phase:
        traced = make_fx(step(set_phase), tracing_mode="fake")(values, leaves, numbers)
    with fx_traceback.preserve_node_meta():
        rerun = functionalize(_interpreted(traced), remove="mutations")
        graph = make_fx(rerun, tracing_mode="fake", decomposition_table=dict(core_aten_decompositions()))(
            *values, *leaves, *numbers
        )
    graph.graph.eliminate_dead_code()
    graph.recompile()
    state = tuple(
        StateTensor(name, kind, tuple(tensor.shape), tensor.dtype) for name, (kind, tensor) in live.items()
    )
    return StepGraph(
        graph, state, scalars, tuple((tuple(x.shape), x.dtype) for x in leaves), spec, len(leaves[0])
    )


def _interpreted(graph: fx.GraphModule) -> Callable[..., Any]:
    """The graph as a function that carries the notes of its nodes over."""

    def run(*args: Any) -> Any:
        return fx.Interpreter(graph).run(*args)

    return run


def _scalars(task: Task) -> tuple[Scalar, ...]:
    several = len(task.optimizer.param_groups) > 1
    return tuple(
        Scalar(f"lr of group {index}" if several else "lr", index, "lr")
        for index, group in enumerate(task.optimizer.param_groups)
        if "lr" in group
    )


def _step_function(
    task: Task, names: list[str], kinds: list[str], scalars: tuple[Scalar, ...], spec: pytree.TreeSpec
) -> Callable[[Callable[[str], None]], Callable[..., list[Tensor]]]:
    """The step as a function of tensors alone."""
    model, optimizer = task.model, task.optimizer
    parameters = dict(model.named_parameters())
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
            with stateless._reparametrize_module(model, {**inputs, **buffers}, tie_weights=True):
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
                    _plain_step(optimizer)()
                    updated = _updated_state(optimizer, new)
            set_phase("")
            result = {**new, **buffers, **updated}
            return [result[n] for n in names] + [loss.detach()]

        return step

    return with_phase


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
        for scalar, number in zip(scalars, numbers, strict=True):
            optimizer.param_groups[scalar.group][scalar.key] = number.item()
        optimizer.state = traced  # type: ignore[assignment]
        yield
    finally:
        for group, own in zip(optimizer.param_groups, own_groups, strict=True):
            group.update(own)
        optimizer.state = own_state


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
