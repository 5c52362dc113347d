"""A traced training step, with the layout of its state."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import torch
from torch import Tensor, fx, nn
from torch.optim import Optimizer
from torch.utils import _pytree as pytree

from flatout.step.origin import Origin
from flatout.step.random_stream import Kind
from flatout.task.task import Task

if TYPE_CHECKING:
    from flatout.step.cost import Cost


@dataclass(frozen=True)
class StateTensor:
    """One tensor a step reads and writes.

    Attributes:
        name: for example "fc1.weight", "bn.running_mean" or "fc1.weight.exp_avg".
        kind: "parameter", "buffer" or "optimizer".
        shape, dtype: its shape and type.
    """

    name: str
    kind: str
    shape: tuple[int, ...]
    dtype: torch.dtype


@dataclass(frozen=True)
class Scalar:
    """One number a step reads that may change from step to step: an option of a parameter group.

    Attributes:
        name: for example "lr" or, where there are several groups, "lr of group 1".
        group: index into `optimizer.param_groups`.
        key: the option.
        place: which element, where the option is a tuple, as `betas` is.
    """

    name: str
    group: int
    key: str
    place: int | None = None

    def read(self, optimizer: Optimizer) -> float:
        """What it is now."""
        value = optimizer.param_groups[self.group][self.key]
        return float(value if self.place is None else value[self.place])


@dataclass(frozen=True)
class RandomInput:
    """Random numbers a step reads, new ones at each step: see `random_stream`.

    Attributes:
        kind: "uniform" or "normal".
        shape: their shape.
        dtype: float32 or float64.
        origin: what draws them.
    """

    kind: Kind
    shape: tuple[int, ...]
    dtype: torch.dtype
    origin: Origin


@dataclass(frozen=True)
class StepGraph:
    """One whole training step as a functional ATen graph: `(state, batch, scalars) -> (new state, loss)`.

    The placeholders of `graph` are the state tensors, the leaves of the batch, one float64 scalar tensor
    for each of `scalars`, and the numbers of each of `random`, in this order; its outputs are the new state
    tensors and the loss.

    Attributes:
        graph: the operators, ATen after PyTorch's core decompositions.
        state: the layout of the state.
        scalars: numbers that come in with each step.
        batch: shape and type of each leaf of the batch.
        batch_spec: how the leaves make the batch.
        batch_size: samples a step.
        random: the random numbers that come in with each step, in the order the step draws them.
    """

    graph: fx.GraphModule
    state: tuple[StateTensor, ...]
    scalars: tuple[Scalar, ...]
    batch: tuple[tuple[tuple[int, ...], torch.dtype], ...]
    batch_spec: pytree.TreeSpec
    batch_size: int
    random: tuple[RandomInput, ...] = ()

    def placeholders(self) -> tuple[list[fx.Node], list[fx.Node], list[fx.Node]]:
        """The nodes of the state, of the batch and of the scalars."""
        nodes = [node for node in self.graph.graph.nodes if node.op == "placeholder"]
        first, second = len(self.state), len(self.state) + len(self.batch)
        return nodes[:first], nodes[first:second], nodes[second : second + len(self.scalars)]

    def random_inputs(self) -> list[fx.Node]:
        """The nodes of the random numbers."""
        nodes = [node for node in self.graph.graph.nodes if node.op == "placeholder"]
        return nodes[len(nodes) - len(self.random) :]

    def constants(self) -> dict[str, Tensor]:
        """Tensors that belong to no one but the user's code, such as weights of classes, by attribute."""
        names = dict.fromkeys(str(n.target) for n in self.graph.graph.nodes if n.op == "get_attr")
        return {name: getattr(self.graph, name) for name in names}

    def outputs(self) -> tuple[list[fx.Node], fx.Node]:
        """The nodes of the new state, and of the loss."""
        (output,) = (node for node in self.graph.graph.nodes if node.op == "output")
        leaves: list[fx.Node] = list(output.args[0])
        return leaves[:-1], leaves[-1]

    @cached_property
    def cost(self) -> Cost:
        """What the step costs, operator by operator."""
        from flatout.step.cost import cost_of

        return cost_of(self)

    @property
    def flops(self) -> int:
        """Additions, multiplications and other operations on numbers."""
        return self.cost.flops

    @property
    def bytes(self) -> int:
        """The least a step has to read and write: its state and its batch."""
        return self.cost.bytes

    @property
    def launches(self) -> int:
        """Operators that start work; views start none."""
        return self.cost.launches

    @property
    def peak_memory(self) -> int:
        """Bytes of state, batch and temporaries at the worst moment."""
        return self.cost.peak_memory

    def floor(self, device: torch.device | str) -> float:
        """The least seconds a step can take on a device, from the device's measured peaks."""
        from flatout.hardware.peaks import peaks_of
        from flatout.step.cost import floor

        return floor(self.flops, self.bytes, peaks_of(device))


def state_of(task: Task) -> dict[str, tuple[str, Tensor]]:
    """The live tensors a step of `task` reads and writes: name to (kind, tensor), in the order of the layout.

    Tied parameters appear once. Optimizer state appears as the optimizer has it now.
    """
    state: dict[str, tuple[str, Tensor]] = {}
    names: dict[int, str] = {}
    for name, parameter in named_parameters(task).items():
        state[name] = ("parameter", parameter)
        names[id(parameter)] = name
    for prefix, module in named_modules(task):
        for name, buffer in module.named_buffers():
            if not any(buffer is known for _, known in state.values()):
                state[prefix + name] = ("buffer", buffer)
    for group in task.optimizer.param_groups:
        for parameter in group["params"]:
            if id(parameter) not in names:
                raise ValueError(
                    f"the optimizer holds a tensor of shape {list(parameter.shape)} that is no parameter "
                    "of the model"
                )
            for key, value in task.optimizer.state.get(parameter, {}).items():
                if isinstance(value, Tensor):
                    state[f"{names[id(parameter)]}.{key}"] = ("optimizer", value)
    return state


def named_modules(task: Task) -> list[tuple[str, nn.Module]]:
    """The modules of a task, each with what the names of its tensors begin with: the model's with nothing."""
    return [("" if part is task.model else "loss.", part) for part in task.modules()]


def named_parameters(task: Task) -> dict[str, nn.Parameter]:
    """The parameters of a task by name: each once, those of a loss with parameters after the model's."""
    found: dict[int, tuple[str, nn.Parameter]] = {}
    for prefix, module in named_modules(task):
        for name, parameter in module.named_parameters():
            found.setdefault(id(parameter), (prefix + name, parameter))
    return dict(found.values())


def scalar_values(task: Task, scalars: tuple[Scalar, ...]) -> list[float]:
    """What the scalars of a step are now."""
    return [scalar.read(task.optimizer) for scalar in scalars]
