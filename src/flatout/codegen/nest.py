"""Loop nests: what a step computes, as loops over buffers. They know nothing of C.

    Program
      buffers      named arrays: state, data, temporaries
      kernels      in the order they run
        ScalarLet    a double that is computed once a step
        Pointwise    loops; in the innermost body, expressions are stored
        Reduction    loops with an accumulator inside
        MatMul       a matrix product of strided views
        Slices       a loop over slices of the batch, with kernels inside
        Parts        a loop over parts of the batch that the threads share, with slices inside
        Random       random numbers

An address is affine in the loop variables, plus terms that are computed (an index read from memory).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

FLOATS = ("float32", "float64")
SIZES = {
    "float32": 4, "float64": 8, "int64": 8, "int32": 4, "int16": 2, "int8": 1, "uint8": 1, "bool": 1,
}  # fmt: skip


@dataclass(frozen=True, eq=False)
class Buffer:
    """An array.

    Attributes:
        name: unique, and a word people understand: "fc1_weight", "relu".
        kind: "state", "data", "temporary", "order" or "losses".
        dtype: of its elements.
        size: how many elements; 0 where only the caller knows.
        index: which one of its kind.
        samples: how many samples it holds; 0 where it is not about samples.
        sample_step: elements from one sample to the next.
    """

    name: str
    kind: str
    dtype: str
    size: int
    index: int = 0
    samples: int = 0
    sample_step: int = 0


@dataclass(frozen=True)
class Var:
    """A loop variable."""

    name: str


class Expr:
    """A value in the innermost body of a nest. Compared by identity: a shared one is computed once."""

    dtype: str


@dataclass(frozen=True, eq=False)
class Number(Expr):
    """A constant."""

    value: float | int | bool
    dtype: str


@dataclass(frozen=True, eq=False)
class ScalarRef(Expr):
    """A double that is known before the nest begins."""

    name: str
    dtype: str = "float64"


@dataclass(frozen=True, eq=False)
class Load(Expr):
    """An element of a buffer."""

    buffer: Buffer
    address: Affine
    dtype: str


@dataclass(frozen=True, eq=False)
class IndexValue(Expr):
    """An index as an int64 value."""

    index: Affine
    dtype: str = "int64"


@dataclass(frozen=True, eq=False)
class Apply(Expr):
    """An operation: see `OPERATIONS` in the renderer for the names."""

    op: str
    args: tuple[Expr, ...]
    dtype: str


Term = Var | Expr


@dataclass(frozen=True, eq=False)
class Affine:
    """constant + sum of coefficient times term; a term is a loop variable or a computed int64."""

    terms: tuple[tuple[Term, int], ...] = ()
    constant: int = 0

    @staticmethod
    def of(value: Affine | Var | int | Expr) -> Affine:
        """A variable, number or computed value as an affine index."""
        if isinstance(value, Affine):
            return value
        return Affine((), value) if isinstance(value, int) else Affine(((value, 1),), 0)

    def __add__(self, other: Affine | int) -> Affine:
        other = Affine.of(other)
        terms = dict(self.terms)
        for term, coefficient in other.terms:
            terms[term] = terms.get(term, 0) + coefficient
        return Affine(tuple((t, c) for t, c in terms.items() if c), self.constant + other.constant)

    def __mul__(self, factor: int) -> Affine:
        if factor == 0:
            return Affine()
        return Affine(tuple((t, c * factor) for t, c in self.terms), self.constant * factor)

    def key(self) -> tuple[object, ...]:
        """Equal for equal addresses."""
        return (self.constant, frozenset((t if isinstance(t, Var) else id(t), c) for t, c in self.terms))

    def stride(self, var: Var) -> int:
        """By how much the address grows with `var`."""
        return dict(self.terms).get(var, 0)

    def without(self, *variables: Var) -> Affine:
        """The address where these variables are 0."""
        return Affine(tuple((t, c) for t, c in self.terms if t not in variables), self.constant)

    def dynamic(self) -> Iterator[Expr]:
        """The computed terms."""
        return (term for term, _ in self.terms if isinstance(term, Expr))


@dataclass(frozen=True)
class View:
    """A strided view of a buffer; `along` is what a loop around it adds to the offset."""

    buffer: Buffer
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    offset: int = 0
    along: Affine = Affine()

    def address(self, index: Sequence[Affine]) -> Affine:
        """Where the element at `index` lies."""
        where = self.along + self.offset
        for i, stride in zip(index, self.strides, strict=True):
            where = where + i * stride
        return where

    def transposed(self) -> View:
        """The same elements with the axes in the opposite order."""
        return View(self.buffer, self.shape[::-1], self.strides[::-1], self.offset, self.along)

    def load(self, index: Sequence[Affine]) -> Load:
        """The element at `index`."""
        return Load(self.buffer, self.address(index), self.buffer.dtype)


@dataclass(eq=False)
class Kernel:
    """One piece of work of a step.

    Attributes:
        comment: which layer and operators it is.
        split: whether several threads share it, cut along its outermost axis.
        wait: whether the threads wait for each other before it.
    """

    comment: str = field(default="", kw_only=True)
    split: bool = field(default=False, kw_only=True)
    wait: bool = field(default=False, kw_only=True)


@dataclass(eq=False)
class ScalarLet(Kernel):
    """A double named `name`, computed once a step."""

    name: str
    value: Expr


@dataclass(frozen=True, eq=False)
class Store:
    """Put a value into a buffer."""

    buffer: Buffer
    address: Affine
    value: Expr


@dataclass(eq=False)
class Pointwise(Kernel):
    """Loops over `axes`, outermost first, that store what no other iteration needs."""

    axes: list[tuple[Var, int]]
    stores: list[Store]


@dataclass(eq=False)
class Reduction(Kernel):
    """For each point of `axes`: `value` combined over `reduced` by "sum", "max", "min" or "prod".

    `onto`: combined with what the buffer holds already.
    """

    axes: list[tuple[Var, int]]
    reduced: list[tuple[Var, int]]
    op: str
    value: Expr
    buffer: Buffer
    address: Affine
    onto: bool = False


@dataclass(eq=False)
class MatMul(Kernel):
    """out[m, n] = bias[m, n] + sum over k of a[m, k] * b[k, n]; all views are two-dimensional.

    `function`: what the renderer calls for it, where it shares its code with others.
    """

    out: View
    a: View
    b: View
    bias: View | None = None
    function: str = ""


@dataclass(eq=False)
class Slices(Kernel):
    """A loop over `count` slices of the batch; `local` buffers hold one slice."""

    var: Var
    count: int
    body: list[Kernel]
    local: set[Buffer]


@dataclass(eq=False)
class Parts(Kernel):
    """A loop over `count` parts of the batch, shared by the threads; each part has sums of its own.

    `body` holds what runs once a part, and `Slices`: each part takes its share of them. What is local to the
    slices lies at `places` in the memory of a part, `step` bytes from one part to the next; the plan of the
    memory sets both.
    """

    var: Var
    count: int
    body: list[Kernel]
    places: dict[Buffer, int] = field(default_factory=dict)
    step: int = 0


@dataclass(eq=False)
class Random(Kernel):
    """Fill `buffer` with the numbers of a draw: "uniform" or "normal", in whole groups (random_stream)."""

    buffer: Buffer
    kind: str
    draw: int
    groups: int


@dataclass
class Program:
    """A step.

    Attributes:
        kernels: in the order they run.
        state: the buffers of the state, in the order of the layout.
        data: the buffers of the leaves of the data.
        temporaries: what lives only within a step.
        scalars: names of the doubles that come in with each step.
        prologue: how many kernels at the beginning only gather the batch: they need not run again while
            the samples stay the same.
        parallel: whether several threads may run it together.
    """

    kernels: list[Kernel] = field(default_factory=list)
    state: list[Buffer] = field(default_factory=list)
    data: list[Buffer] = field(default_factory=list)
    temporaries: list[Buffer] = field(default_factory=list)
    scalars: list[str] = field(default_factory=list)
    loss: Buffer | None = None
    prologue: int = 0
    parallel: bool = False


def slices_of(kernel: Kernel) -> list[Slices]:
    """The loops over slices that a kernel is or holds."""
    if isinstance(kernel, Parts):
        return [inner for inner in kernel.body if isinstance(inner, Slices)]
    return [kernel] if isinstance(kernel, Slices) else []


def innermost(kernels: Sequence[Kernel]) -> Iterator[Kernel]:
    """The kernels, those inside of slices and parts in their place."""
    for kernel in kernels:
        if isinstance(kernel, (Slices, Parts)):
            yield from innermost(kernel.body)
        else:
            yield kernel


def expressions(kernel: Kernel) -> list[Expr]:
    """The roots of the expressions a kernel computes."""
    match kernel:
        case ScalarLet(value=value):
            return [value]
        case Pointwise(stores=stores):
            return [store.value for store in stores] + [d for s in stores for d in s.address.dynamic()]
        case Reduction(value=value):
            return [value]
        case _:
            return []


def walk(roots: Sequence[Expr]) -> Iterator[Expr]:
    """Every expression below `roots` once, operands before what uses them."""
    seen: set[int] = set()
    stack: list[tuple[Expr, bool]] = [(root, False) for root in reversed(roots)]
    while stack:
        expr, ready = stack.pop()
        if ready:
            yield expr
            continue
        if id(expr) in seen:
            continue
        seen.add(id(expr))
        stack.append((expr, True))
        stack += [(operand, False) for operand in reversed(operands(expr))]


def operands(expr: Expr) -> list[Expr]:
    """What an expression is computed from."""
    match expr:
        case Apply(args=args):
            return list(args)
        case Load(address=address):
            return list(address.dynamic())
        case IndexValue(index=index):
            return list(index.dynamic())
        case _:
            return []


def reads(kernel: Kernel) -> set[Buffer]:
    """The buffers a kernel reads."""
    if isinstance(kernel, (Slices, Parts)):
        return set().union(*(reads(inner) for inner in kernel.body))
    if isinstance(kernel, MatMul):
        return {view.buffer for view in (kernel.a, kernel.b, kernel.bias) if view is not None}
    return {expr.buffer for expr in walk(expressions(kernel)) if isinstance(expr, Load)}


def writes(kernel: Kernel) -> set[Buffer]:
    """The buffers a kernel writes."""
    match kernel:
        case Pointwise(stores=stores):
            return {store.buffer for store in stores}
        case Reduction(buffer=buffer) | Random(buffer=buffer):
            return {buffer}
        case MatMul(out=out):
            return {out.buffer}
        case Slices(body=body) | Parts(body=body):
            return set().union(*(writes(inner) for inner in body))
        case _:
            return set()


_FOLDED: dict[str, Any] = {
    "add": lambda a, b: a + b,
    "sub": lambda a, b: a - b,
    "mul": lambda a, b: a * b,
    "div": lambda a, b: a / b if b != 0 else None,
    "neg": lambda a: -a,
    "abs": abs,
    "ge": lambda a, b: a >= b,
    "gt": lambda a, b: a > b,
    "le": lambda a, b: a <= b,
    "lt": lambda a, b: a < b,
    "eq": lambda a, b: a == b,
    "ne": lambda a, b: a != b,
}


def number(value: float | int | bool, dtype: str) -> Number:
    """A constant, rounded to its type."""
    if dtype == "float32":
        with np.errstate(over="ignore"):
            return Number(float(np.float32(value)), dtype)
    if dtype == "float64":
        return Number(float(value), dtype)
    return Number(bool(value) if dtype == "bool" else int(value), dtype)


def apply(op: str, *args: Expr, dtype: str) -> Expr:
    """An operation; folded where all operands are constants, and left out where it does nothing."""
    if op == "where" and isinstance(args[0], Number):
        return args[1] if args[0].value else args[2]
    if op in _FOLDED and all(isinstance(arg, Number) for arg in args):
        value = _FOLDED[op](*(arg.value for arg in args if isinstance(arg, Number)))
        if value is not None and (isinstance(value, bool) or math.isfinite(value)):
            return number(value, dtype)
    if op == "mul":
        for one, other in (args, args[::-1]):
            if isinstance(one, Number) and one.value == 1 and other.dtype == dtype:
                return other
    return Apply(op, args, dtype)


def convert(expr: Expr, dtype: str) -> Expr:
    """The value as another type."""
    if expr.dtype == dtype:
        return expr
    if isinstance(expr, Number) and (not isinstance(expr.value, float) or math.isfinite(expr.value)):
        return number(expr.value, dtype)
    return Apply("convert", (expr,), dtype)
