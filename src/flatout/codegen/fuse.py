"""Fewer and larger nests: what runs over the same samples runs in one loop, and its values stay in registers.

    written_out   small reductions, small outer loops and small products become plain formulas
    merged        nests over the same axes become one; a value stored by one is handed to the next
    without_dead  temporaries nobody reads are not stored
    collapsed     two loops that walk through memory without a gap become one

Each pass takes kernels and gives kernels.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from flatout.codegen.nest import (
    Affine,
    Apply,
    Buffer,
    Expr,
    IndexValue,
    Kernel,
    Load,
    MatMul,
    Parts,
    Pointwise,
    Program,
    Reduction,
    ScalarLet,
    ScalarRef,
    Slices,
    Store,
    Var,
    apply,
    convert,
    expressions,
    number,
    reads,
    walk,
    writes,
)

_UNROLLED = 16  # iterations of a loop that is written out
_MOST_NODES = 700  # expressions in one innermost body
_SMALL_PRODUCT = 128  # multiplications a sample, up to which a product is written out
_LOOK_BACK = 12  # kernels a nest may be moved over


def fuse(program: Program) -> None:
    """Rewrite a program in place by all passes but `collapsed`, which hides samples from the slices."""
    first = program.kernels[: program.prologue]
    rest = [written_out(kernel) for kernel in program.kernels[program.prologue :]]
    program.kernels = [*first, *without_dead(merged(rest))]
    used = set().union(*(reads(k) | writes(k) for k in program.kernels))
    program.temporaries = [buffer for buffer in program.temporaries if buffer in used]


# --- rewriting


class Rewriter:
    """Copies expressions with variables replaced and with loads handed over from stores."""

    def __init__(
        self,
        variables: Mapping[Var, Affine],
        handed: Mapping[tuple[Buffer, tuple[object, ...]], Expr] | None = None,
    ) -> None:
        self._variables = variables
        self._handed = handed or {}
        self._known: dict[int, Expr] = {}

    def expr(self, root: Expr) -> Expr:
        """The copy of an expression; shared parts stay shared."""
        for expr in walk([root]):
            if id(expr) not in self._known:
                self._known[id(expr)] = self._copy(expr)
        return self._known[id(root)]

    def index(self, index: Affine) -> Affine:
        """The copy of an address."""
        result = Affine((), index.constant)
        for term, coefficient in index.terms:
            new = self._variables.get(term, term) if isinstance(term, Var) else self.expr(term)
            result = result + Affine.of(new) * coefficient
        return result

    def _copy(self, expr: Expr) -> Expr:
        match expr:
            case Load(buffer=buffer, address=address, dtype=dtype):
                moved = self.index(address)
                known = self._handed.get((buffer, moved.key()))
                if known is not None:
                    return known
                return expr if moved.key() == address.key() else Load(buffer, moved, dtype)
            case Apply(op=op, args=args, dtype=dtype):
                new = tuple(self.expr(arg) for arg in args)
                if op == "convert":
                    return convert(new[0], dtype) if new[0] is not args[0] else expr
                return (
                    expr
                    if all(a is b for a, b in zip(new, args, strict=True))
                    else apply(op, *new, dtype=dtype)
                )
            case IndexValue(index=index):
                moved = self.index(index)
                return IndexValue(moved) if moved.terms else number(moved.constant, "int64")
            case _:
                return expr


# --- writing out


def written_out(kernel: Kernel) -> Kernel:
    """The kernel without its small loops."""
    match kernel:
        case Reduction():
            return _without_small_axes(_reduction_as_formula(kernel))
        case MatMul():
            return _product_as_formulas(kernel)
        case Pointwise():
            return _without_small_axes(kernel)
        case _:
            return kernel


def _points(axes: Sequence[tuple[Var, int]]) -> list[dict[Var, Affine]]:
    points: list[dict[Var, Affine]] = [{}]
    for var, extent in axes:
        points = [{**point, var: Affine((), i)} for point in points for i in range(extent)]
    return points


def _reduction_as_formula(kernel: Reduction) -> Kernel:
    count = math.prod(extent for _, extent in kernel.reduced)
    if count > _UNROLLED or not kernel.axes or math.prod(e for _, e in kernel.axes) <= count:
        return kernel
    op = {"sum": "add", "prod": "mul", "max": "max", "min": "min"}[kernel.op]
    total: Expr | None = None
    for point in _points(kernel.reduced):
        value = Rewriter(point).expr(kernel.value)
        total = value if total is None else apply(op, total, value, dtype=kernel.buffer.dtype)
    assert total is not None
    return Pointwise(kernel.axes, [Store(kernel.buffer, kernel.address, total)], comment=kernel.comment)


def _without_small_axes(kernel: Kernel) -> Kernel:
    if not isinstance(kernel, Pointwise) or len(kernel.axes) < 2:
        return kernel
    outer, inner = kernel.axes[:-1], kernel.axes[-1]
    turns = math.prod(extent for _, extent in outer)
    nodes = sum(1 for _ in walk(expressions(kernel)))
    if turns > _UNROLLED or inner[1] <= _UNROLLED or turns * nodes > _MOST_NODES:
        return kernel
    stores = []
    for point in _points(outer):
        rewriter = Rewriter(point)
        stores += [Store(s.buffer, rewriter.index(s.address), rewriter.expr(s.value)) for s in kernel.stores]
    return Pointwise([inner], stores, comment=kernel.comment)


def _product_as_formulas(kernel: MatMul) -> Kernel:
    """A product that takes few multiplications a sample, as one formula for each of its columns."""
    out, a, b, bias = kernel.out, kernel.a, kernel.b, kernel.bias
    if out.strides[0] == 1 and out.shape[0] > _UNROLLED:
        out, a, b = out.transposed(), b.transposed(), a.transposed()
        bias = None if bias is None else bias.transposed()
    (M, N), K = out.shape, a.shape[1]
    if M * K > _SMALL_PRODUCT or M > _UNROLLED or N <= _UNROLLED or out.strides[1] != 1:
        return kernel
    if b.strides[1] != 1:
        return kernel
    n = Affine.of(Var("i0"))
    dtype = out.buffer.dtype
    columns = [b.load([Affine((), k), n]) for k in range(K)]
    stores = []
    for m in range(M):
        row = Affine((), m)
        total: Expr | None = None if bias is None else bias.load([row, n])
        for k in range(K):
            term = apply("mul", a.load([row, Affine((), k)]), columns[k], dtype=dtype)
            total = term if total is None else apply("add", total, term, dtype=dtype)
        assert total is not None
        stores.append(Store(out.buffer, out.address([row, n]), total))
    return Pointwise([(Var("i0"), N)], stores, comment=kernel.comment)


# --- merging


def merged(kernels: Sequence[Kernel]) -> list[Kernel]:
    """Nests over the same axes put together, where no value is needed before it is there."""
    result: list[Kernel] = []
    for kernel in kernels:
        if isinstance(kernel, Pointwise) and kernel.axes and _runs_straight(kernel):
            place = _place_for(kernel, result)
            if place is not None:
                other = result[place]
                assert isinstance(other, Pointwise)
                together = _together(other, kernel)
                if together is not None:
                    result[place] = together
                    continue
        result.append(kernel)
    return result


def _place_for(kernel: Pointwise, before: list[Kernel]) -> int | None:
    """The nearest nest over the same axes that `kernel` can be moved up to."""
    mine_read, mine_written = reads(kernel), writes(kernel)
    for place in range(len(before) - 1, max(-1, len(before) - 1 - _LOOK_BACK), -1):
        other = before[place]
        same_axes = isinstance(other, Pointwise) and [e for _, e in other.axes] == [e for _, e in kernel.axes]
        if same_axes and _runs_straight(other):
            return place
        written, read = writes(other), reads(other)
        if written & mine_read or written & mine_written or read & mine_written:
            return None
        if isinstance(other, ScalarLet) and any(isinstance(e, ScalarRef) for e in walk(expressions(kernel))):
            return None
    return None


def _runs_straight(kernel: Kernel) -> bool:
    """Whether the innermost loop goes through memory element by element, as vectors do.

    A transposing copy does not; together with it the rest of a loop would be no vectors either.
    """
    if not isinstance(kernel, Pointwise) or not kernel.axes:
        return False
    inner = kernel.axes[-1][0]
    loads = [e.address for e in walk(expressions(kernel)) if isinstance(e, Load)]
    return all(address.stride(inner) in (0, 1) for address in [*loads, *(s.address for s in kernel.stores)])


def _together(first: Pointwise, second: Pointwise) -> Pointwise | None:
    """Both nests in one loop; None where an iteration of one needs another iteration of the other."""
    rename = {old: Affine.of(new) for (old, _), (new, _) in zip(second.axes, first.axes, strict=True)}
    handed = {(s.buffer, s.address.key()): s.value for s in first.stores}
    plain = Rewriter(rename)
    for expr in walk(expressions(second)):
        written_before = isinstance(expr, Load) and expr.buffer in writes(first)
        if written_before and (expr.buffer, plain.index(expr.address).key()) not in handed:  # type: ignore[attr-defined]
            return None
    read_by_first = {e.buffer for e in walk(expressions(first)) if isinstance(e, Load)}
    if any(s.buffer in read_by_first for s in second.stores):
        targets = {(s.buffer, plain.index(s.address).key()) for s in second.stores}
        for expr in walk(expressions(first)):
            if (
                isinstance(expr, Load)
                and expr.buffer in writes(second)
                and (expr.buffer, expr.address.key()) not in targets
            ):
                return None
    rewriter = Rewriter(rename, handed)
    stores = [
        *first.stores,
        *(Store(s.buffer, rewriter.index(s.address), rewriter.expr(s.value)) for s in second.stores),
    ]
    if sum(1 for _ in walk([s.value for s in stores])) > _MOST_NODES:
        return None
    comment = "; ".join(dict.fromkeys([*first.comment.split("; "), *second.comment.split("; ")]))
    return Pointwise(first.axes, stores, comment=comment)


def without_dead(kernels: Sequence[Kernel]) -> list[Kernel]:
    """Without stores into temporaries that nobody reads."""
    kernels = list(kernels)
    while True:
        needed = set().union(*(reads(kernel) for kernel in kernels))
        changed = False
        for kernel in kernels:
            if isinstance(kernel, Pointwise):
                kept = [s for s in kernel.stores if s.buffer.kind != "temporary" or s.buffer in needed]
                changed |= len(kept) < len(kernel.stores)
                kernel.stores = kept
        alive = [
            k
            for k in kernels
            if not (isinstance(k, Pointwise) and not k.stores)
            and not (
                isinstance(k, (Reduction, MatMul))
                and all(b.kind == "temporary" and b not in needed for b in writes(k))
            )
        ]
        changed |= len(alive) < len(kernels)
        kernels = alive
        if not changed:
            return kernels


# --- collapsing


def collapse(program: Program) -> None:
    """Fewer loops in all nests of a program."""
    program.kernels = [
        *program.kernels[: program.prologue],
        *(collapsed(kernel) for kernel in program.kernels[program.prologue :]),
    ]


def collapsed(kernel: Kernel) -> Kernel:
    """One loop instead of two where together they walk through memory without a gap."""
    if isinstance(kernel, (Slices, Parts)):
        kernel.body = [collapsed(inner) for inner in kernel.body]
    if not isinstance(kernel, Pointwise) or len(kernel.axes) < 2:
        return kernel
    (outer, outer_extent), (inner, inner_extent) = kernel.axes[-2:]
    everything = list(walk(expressions(kernel)))
    addresses = [s.address for s in kernel.stores] + [e.address for e in everything if isinstance(e, Load)]
    if any(a.stride(outer) != a.stride(inner) * inner_extent for a in addresses):
        return kernel
    if any(isinstance(e, IndexValue) for e in everything):
        return kernel
    rewriter = Rewriter({outer: Affine()})
    stores = [Store(s.buffer, rewriter.index(s.address), rewriter.expr(s.value)) for s in kernel.stores]
    axes = [*kernel.axes[:-2], (inner, outer_extent * inner_extent)]
    return collapsed(Pointwise(axes, stores, comment=kernel.comment))
