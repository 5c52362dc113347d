"""From the graph of a step to loop nests.

Each node becomes a `Value`. A formula stays a formula and is put where it is used, unless it is dear and
used more than once, or a matrix product needs it in memory. What a step leaves behind, its new state, is
stored last, so that everything before it reads the old state.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Sequence
from typing import Any

import torch
from torch import fx

from flatout.codegen.nest import (
    Affine,
    Buffer,
    Expr,
    Load,
    Number,
    Pointwise,
    Program,
    Random,
    ScalarLet,
    ScalarRef,
    Store,
    Var,
    View,
    convert,
    reads,
)
from flatout.codegen.values import Lazy, Stored, Value
from flatout.step.graph import StepGraph
from flatout.step.origin import UPDATE, origin_of
from flatout.step.random_stream import group_count, group_size

aten = torch.ops.aten

Operand = Any  # a Value, a scalar Expr, a number, or a list of these
Lowering = Callable[["Lowerer", fx.Node, list[Operand], dict[str, Operand]], Operand]
LOWERINGS: dict[Any, Lowering] = {}

# A formula with more operations than this is computed once where it is used twice.
_CHEAP = 2
_DTYPES = {
    torch.float32: "float32",
    torch.float64: "float64",
    torch.int64: "int64",
    torch.int32: "int32",
    torch.int16: "int16",
    torch.int8: "int8",
    torch.uint8: "uint8",
    torch.bool: "bool",
}
_VIEWS = {
    aten.alias.default, aten.permute.default, aten.view.default, aten.unsqueeze.default, aten.squeeze.dims,
    aten.squeeze.dim, aten.expand.default, aten.detach.default, aten.clone.default, aten.select.int,
    aten.slice.Tensor, aten.t.default, aten.transpose.int, aten._unsafe_view.default, aten.reshape.default,
}  # fmt: skip

# Names that mean something else in the generated function: words of C, what it takes and calls, its locals.
_TAKEN = re.compile(
    r"auto|bool|break|case|char|const|continue|default|do|double|else|enum|extern|float|for|goto|if|inline|int|"
    r"long|register|restrict|return|short|signed|sizeof|static|struct|switch|typedef|typeof|asm|union|unsigned|"
    r"void|volatile|while|u?int\d+_t|order|order_step|seed|first_step|state|data|scalars|losses|losses_|arena|team|steps?|threads?|"
    r"[sd]gemm_?|total|slice|part|own|mode|product_\d+|fo_.*|FO_.*|new_.*|[a-z]\d+|mem(cpy|set|move)|"
    r"a?(sin|cos|tan)h?|atan2|exp[2m]?1?|log(10|2|1p)?|erfc?|pow|sqrt|floor|ceil|trunc|fmod|f?abs|rint|hypot|"
    r"fmax|fmin|isnan|isinf|signbit|copysign|NAN|INFINITY|linux|unix|main"
)


# Names that mean something else in the generated function: words of C, what it takes and calls, its locals.
_TAKEN = re.compile(
    r"auto|bool|break|case|char|const|continue|default|do|double|else|enum|extern|float|for|goto|if|inline|int|"
    r"long|register|restrict|return|short|signed|sizeof|static|struct|switch|typedef|typeof|asm|union|unsigned|"
    r"void|volatile|while|u?int\d+_t|order|order_step|state|data|scalars|losses|losses_|arena|team|steps?|threads?|"
    r"[sd]gemm_?|total|fo_.*|FO_.*|new_.*|[a-z]\d+|mem(cpy|set|move)|"
    r"a?(sin|cos|tan)h?|atan2|exp[2m]?1?|log(10|2|1p)?|erfc?|pow|sqrt|floor|ceil|trunc|fmod|f?abs|rint|hypot|"
    r"fmax|fmin|isnan|isinf|signbit|copysign|NAN|INFINITY|linux|unix|main"
)


class NotLoweredError(Exception):
    """The graph holds an operator there is no loop nest for."""


def lowers(*targets: Any) -> Callable[[Lowering], Lowering]:
    """Note a function as the lowering of some operators."""

    def note(function: Lowering) -> Lowering:
        for target in targets:
            LOWERINGS[target] = function
        return function

    return note


class Lowerer:
    """Lowers one graph; the lowerings of operators call its methods.

    Args:
        graph: the step.
        state_strides: of each state tensor, in elements.
        batch_last: whether the axis of the samples is the one that varies fastest in temporaries.
        narrow: the leaves of the batch whose int64 values all fit into int32.
        in_slices: whether the batch is so large that it will be worked on in slices.
    """

    def __init__(
        self,
        graph: StepGraph,
        state_strides: Sequence[tuple[int, ...]],
        batch_last: bool,
        narrow: Collection[int] = (),
        in_slices: bool = False,
    ) -> None:
        self.graph = graph
        self.batch_last = batch_last
        self.program = Program()
        self.values: dict[fx.Node, Operand] = {}
        self._names: set[str] = set()
        self._uses = _uses(graph.graph.graph)
        self._feeds_product = _feeds_product(graph.graph.graph)
        self._narrow = narrow
        self.in_slices = in_slices
        self._rows: dict[object, Stored] = {}
        self._gathered: set[Buffer] = set()
        self._enter(state_strides)

    # --- names and buffers

    def name(self, wish: str) -> str:
        """A name that is free, made of letters that C allows."""
        base = "".join(c if c.isascii() and c.isalnum() else "_" for c in wish).strip("_") or "t"
        base = f"t_{base}" if base[0].isdigit() else base
        base = f"{base}_" if _TAKEN.fullmatch(base) else base
        free, turn = base, 0
        while free in self._names:
            turn += 1
            free = f"{base}_{turn}"
        self._names.add(free)
        return free

    def temporary(
        self, name: str, shape: Sequence[int], dtype: str, batch_axis: int | None, in_rows: bool = False
    ) -> View:
        """A new buffer for a tensor of this shape, its batch axis the one that varies fastest.

        `in_rows`: the axes vary in their own order instead.
        """
        order = list(range(len(shape)))
        if self.batch_last and batch_axis is not None and not in_rows:
            order.remove(batch_axis)
            order.append(batch_axis)
        strides, size = [0] * len(shape), 1
        for axis in reversed(order):
            strides[axis] = size
            size *= shape[axis]
        samples, step = (0, 0) if batch_axis is None else (shape[batch_axis], strides[batch_axis])
        if samples != self.graph.batch_size:
            samples = step = 0
        buffer = Buffer(self.name(name), "temporary", dtype, size, samples=samples, sample_step=step)
        self.program.temporaries.append(buffer)
        return View(buffer, tuple(shape), tuple(strides))

    # --- inputs

    def _enter(self, state_strides: Sequence[tuple[int, ...]]) -> None:
        state, batch, scalars = self.graph.placeholders()
        for position, (node, entry, strides) in enumerate(
            zip(state, self.graph.state, state_strides, strict=True)
        ):
            buffer = Buffer(
                self.name(entry.name), "state", _dtype(entry.dtype), _extent(entry.shape, strides), position
            )
            self.program.state.append(buffer)
            self.values[node] = Stored(View(buffer, entry.shape, strides), None)
        for node, scalar in zip(scalars, self.graph.scalars, strict=True):
            name = self.name(scalar.name)
            self.program.scalars.append(name)
            self.values[node] = ScalarRef(name)
        order = Buffer("order", "order", "int64", 0)
        for position, (node, (shape, dtype)) in enumerate(zip(batch, self.graph.batch, strict=True)):
            self._gather(node, position, shape, _dtype(dtype), order)
        self.program.prologue = len(self.program.kernels)

    def _gather(
        self, node: fx.Node, position: int, shape: tuple[int, ...], dtype: str, order: Buffer
    ) -> None:
        """The rows of the data the order names, as the batch."""
        data = Buffer(self.name(f"data_{position}"), "data", dtype, 0, position)
        self.program.data.append(data)
        strides = _contiguous(shape[1:])
        row = 1
        for size in shape[1:]:
            row *= size

        kept = "int32" if position in self._narrow else dtype

        def formula(index: tuple[Affine, ...]) -> Expr:
            where = Affine.of(Load(order, index[0], "int64")) * row
            for i, stride in zip(index[1:], strides, strict=True):
                where = where + i * stride
            return convert(Load(data, where, dtype), kept)

        comment = f"the samples of this step: batch {position}"
        if row == 1 or not self.batch_last:
            batch = self.stored(
                Lazy(shape, kept, formula, cost=100, batch_axis=0), f"batch_{position}", comment
            )
        else:
            # A sample lies in one piece: it is fetched as one, and turned where it is near.
            whole = Lazy(shape, kept, formula, cost=100, batch_axis=0)
            rows = self.stored(whole, f"batch_{position}_rows", comment, in_rows=True)
            turned = Lazy(shape, kept, rows.at, cost=100, batch_axis=0)
            batch = self.stored(turned, f"batch_{position}", f"batch {position}, feature by feature")
            self._gathered.add(rows.view.buffer)
            self._rows[batch.view.buffer, batch.view.strides, batch.view.offset] = Stored(rows.view, 0)
        self._gathered.add(batch.view.buffer)
        self.values[node] = batch

    def _draw(self) -> None:
        """The random numbers of this step, the first axis of each tensor varying fastest."""
        for draw, (node, entry) in enumerate(zip(self.graph.random_inputs(), self.graph.random, strict=True)):
            if not node.users:
                continue
            groups = group_count(entry.shape, entry.dtype)
            size = max(1, groups) * group_size(entry.dtype)
            of_samples = entry.shape[:1] == (self.graph.batch_size,)
            buffer = Buffer(
                self.name(f"random_{draw}"),
                "temporary",
                _dtype(entry.dtype),
                size,
                samples=self.graph.batch_size if of_samples else 0,
                sample_step=1 if of_samples else 0,
            )
            self.program.temporaries.append(buffer)
            comment = f"{entry.kind} random numbers for {entry.origin}"
            self.program.kernels.append(Random(buffer, entry.kind, draw, groups, comment=comment))
            strides = _contiguous((*entry.shape[1:], *entry.shape[:1]))
            strides = (*strides[-1:], *strides[:-1])
            self.values[node] = Stored(View(buffer, entry.shape, strides), 0 if of_samples else None)

    def _constants(self) -> dict[str, Stored]:
        """Tensors of the graph itself: they follow the leaves of the data."""
        result = {}
        for name, tensor in self.graph.constants().items():
            buffer = Buffer(
                self.name(name.strip("_")), "data", _dtype(tensor.dtype), 0, len(self.program.data)
            )
            self.program.data.append(buffer)
            result[name] = Stored(View(buffer, tuple(tensor.shape), tuple(tensor.stride())), None)
        return result

    # --- values

    def value(self, operand: Operand) -> Value:
        """The operand as a tensor."""
        if isinstance(operand, Value):
            return operand
        if isinstance(operand, Expr):
            return Lazy((), operand.dtype, lambda index: operand, cost=0, batch_axis=None)
        raise NotLoweredError(f"a {type(operand).__name__} stands where a tensor is expected")

    def stored(self, value: Value, name: str, comment: str, in_rows: bool = False) -> Stored:
        """The value in memory, computed now if it is still a formula."""
        if isinstance(value, Stored):
            return value
        view = self.temporary(name, value.shape, value.dtype, value.batch_axis, in_rows)
        axes, index = loops(value.shape, view.strides)
        store = Store(view.buffer, view.address(index), value.at(index))
        self.program.kernels.append(Pointwise(axes, [store], comment=comment))
        return Stored(view, value.batch_axis)

    def operand_in_memory(self, node: fx.Node) -> Stored:
        """The value of a node in memory, for a matrix product; kept, so that it is computed once."""
        value = self.value(self.values[node])
        if isinstance(value, Stored):
            return value
        result = self.stored(value, node.name, describe(node))
        self.values[node] = result
        return result

    def likely_axis(self, shape: Sequence[int], known: int | None = None) -> int | None:
        """The axis of the samples, where only the size tells: then it lies in memory as the others do."""
        if known is None and shape and shape[0] == self.graph.batch_size and shape.count(shape[0]) == 1:
            return 0
        return known

    def is_gathered(self, value: Stored) -> bool:
        """Whether the value is part of the batch as it comes in."""
        return value.view.buffer in self._gathered

    def in_rows(self, value: Stored) -> Stored:
        """The value with its last axis varying fastest, copied once if it does not lie so."""
        if value.view.strides[-1] == 1 or value.shape[-1] == 1:
            return value
        key = (value.view.buffer, value.view.strides, value.view.offset)
        if key not in self._rows:
            name = value.view.buffer.name
            plain = Lazy(value.shape, value.dtype, value.at, cost=1, batch_axis=value.batch_axis)
            count = len(self.program.kernels)
            copy = self.stored(plain, f"{name}_rows", f"{name}, row by row", in_rows=True)
            if value.view.buffer in self._gathered:  # like the batch itself, it need not be made anew
                self.program.kernels.insert(self.program.prologue, self.program.kernels.pop(count))
                self.program.prologue += 1
            self._rows[key] = Stored(copy.view, value.batch_axis)
        return self._rows[key]

    def scalar(self, name: str, expr: Expr, comment: str = "") -> ScalarRef | Number:
        """A double computed once a step."""
        if isinstance(expr, (ScalarRef, Number)):
            return expr
        free = self.name(name)
        self.program.kernels.append(ScalarLet(free, convert(expr, "float64"), comment=comment))
        return ScalarRef(free)

    # --- the whole graph

    def run(self) -> Program:
        """Lower every node, then store the new state and the loss."""
        constants = self._constants()
        self._draw()
        for node in self.graph.graph.graph.nodes:
            if node.op == "get_attr":
                self.values[node] = constants[str(node.target)]
            if node.op != "call_function":
                continue
            lowering = LOWERINGS.get(node.target)
            if lowering is None and torch.Tag.nondeterministic_seeded in getattr(node.target, "tags", ()):
                raise NotLoweredError(
                    f"{node.target} in {origin_of(node)} draws random numbers in a way the plan native "
                    "does not know"
                )
            if lowering is None:
                raise NotLoweredError(f"there is no loop nest for {node.target} in {origin_of(node)}")
            args = [self._operand(a) for a in node.args]
            kwargs = {k: self._operand(v) for k, v in node.kwargs.items()}
            result = lowering(self, node, args, kwargs)
            self.values[node] = self._kept(node, result)
        self._leave()
        return self.program

    def _operand(self, arg: Any) -> Operand:
        if isinstance(arg, fx.Node):
            return self.values[arg]
        if isinstance(arg, (list, tuple)):
            return [self._operand(a) for a in arg]
        return arg

    def _kept(self, node: fx.Node, result: Operand) -> Operand:
        """A dear formula with several uses is computed now."""
        if not isinstance(result, Lazy) or node.target in _VIEWS or origin_of(node).layer == UPDATE:
            return result
        if self._feeds_product[node] and result.cost > 0:
            return self.stored(result, node.name, describe(node))
        if self._uses[node] > 1 and result.cost > _CHEAP and result.size > 1:
            return self.stored(result, node.name, describe(node))
        if result.size == 1 and self._uses[node] > 1 and result.cost > 0:
            return self.stored(result, node.name, describe(node))
        return result

    def _leave(self) -> None:
        outputs, loss_node = self.graph.outputs()
        loss = self.value(self.values[loss_node])
        losses = Buffer("losses", "losses", loss.dtype, 0)
        self.program.loss = losses
        self.program.kernels.append(
            Pointwise([], [Store(losses, Affine(), loss.at([]))], comment="the loss of this step")
        )
        groups: dict[tuple[str, tuple[int, ...]], list[tuple[int, Value]]] = {}
        inputs, _, _ = self.graph.placeholders()
        for position, (node, entry) in enumerate(zip(outputs, self.graph.state, strict=True)):
            value = self.value(self.values[node])
            if isinstance(value, Stored) and value.view.buffer is self.program.state[position]:
                continue  # unchanged
            owner = entry.name.rpartition(".")[0] if entry.kind == "optimizer" else entry.name
            groups.setdefault((owner if entry.shape else "", entry.shape), []).append((position, value))
        for (owner, _), members in groups.items():
            self._update(owner or "step counters and other single numbers", members, inputs)
        self._protect_old_state()

    def _update(self, owner: str, members: list[tuple[int, Value]], inputs: list[fx.Node]) -> None:
        """One nest that stores all new state of one parameter."""
        first = self.values[inputs[members[0][0]]].view
        axes, index = loops(first.shape, first.strides)
        stores = []
        for position, value in members:
            view = self.values[inputs[position]].view
            stores.append(
                Store(view.buffer, view.address(index), convert(value.at(index), view.buffer.dtype))
            )
        self.program.kernels.append(Pointwise(axes, stores, comment=f"update of {owner}"))

    def _protect_old_state(self) -> None:
        """Where a later nest reads state an earlier one has overwritten, the new value waits aside."""
        kernels = self.program.kernels
        waiting: list[Pointwise] = []
        for position, kernel in enumerate(kernels):
            if not isinstance(kernel, Pointwise):
                continue
            later = set().union(*(reads(other) for other in kernels[position + 1 :]), set())
            for i, store in enumerate(kernel.stores):
                own = {id(e.address) for s in kernel.stores for e in _loads(s) if e.buffer is store.buffer}
                elsewhere = any(
                    load.address.key() != store.address.key()
                    for s in kernel.stores
                    for load in _loads(s)
                    if load.buffer is store.buffer
                )
                if store.buffer.kind == "state" and (store.buffer in later or (own and elsewhere)):
                    aside = Buffer(
                        self.name(f"new_{store.buffer.name}"),
                        "temporary",
                        store.buffer.dtype,
                        store.buffer.size,
                    )
                    self.program.temporaries.append(aside)
                    kernel.stores[i] = Store(aside, store.address, store.value)
                    move = Store(store.buffer, store.address, Load(aside, store.address, aside.dtype))
                    waiting.append(Pointwise(kernel.axes, [move], comment=f"new {store.buffer.name}"))
        kernels += waiting


def _loads(store: Store) -> list[Load]:
    from flatout.codegen.nest import walk

    return [e for e in walk([store.value]) if isinstance(e, Load)]


def loops(
    shape: Sequence[int], strides: Sequence[int], letter: str = "i"
) -> tuple[list[tuple[Var, int]], list[Affine]]:
    """Loops over a tensor, the axis with the smallest step in memory innermost, and the index inside them."""
    variables = [Var(f"{letter}{axis}") for axis in range(len(shape))]
    index = [Affine.of(v) if size != 1 else Affine() for v, size in zip(variables, shape, strict=True)]
    ranked = sorted(zip(variables, shape, strides, strict=True), key=lambda axis: -axis[2])
    return [(variable, size) for variable, size, _ in ranked if size != 1], index


def describe(node: fx.Node) -> str:
    """The layer and the operator of a node, for the reader of the code."""
    return f"{origin_of(node)}: {str(node.target).removesuffix('.default')}"


def _uses(graph: fx.Graph) -> dict[fx.Node, int]:
    """How many computations use each node, views and copies looked through."""
    uses: dict[fx.Node, int] = {}
    for node in reversed(graph.nodes):
        uses[node] = sum(uses[user] if user.target in _VIEWS else 1 for user in node.users)
    return uses


def _feeds_product(graph: fx.Graph) -> dict[fx.Node, bool]:
    """Which nodes a matrix product reads, views looked through: those have to lie in memory."""
    products = (aten.mm.default, aten.addmm.default)
    feeds: dict[fx.Node, bool] = {}
    for node in reversed(graph.nodes):
        feeds[node] = any(
            user.target in products or (user.target in _VIEWS and feeds[user]) for user in node.users
        )
    return feeds


def _dtype(dtype: torch.dtype) -> str:
    if dtype not in _DTYPES:
        raise NotLoweredError(f"{str(dtype).removeprefix('torch.')} is a type there are no loop nests for")
    return _DTYPES[dtype]


def result_of(node: fx.Node) -> tuple[tuple[int, ...], str]:
    """Shape and type of what a node gives."""
    tensor = node.meta["val"]
    return tuple(tensor.shape), _dtype(tensor.dtype)


def _contiguous(shape: Sequence[int]) -> tuple[int, ...]:
    strides, size = [], 1
    for extent in reversed(shape):
        strides.append(size)
        size *= extent
    return tuple(reversed(strides))


def _extent(shape: Sequence[int], strides: Sequence[int]) -> int:
    """Elements from the first to the last of a strided tensor."""
    return 1 + sum((size - 1) * stride for size, stride in zip(shape, strides, strict=True))
