"""The batch in slices that fit the cache: all work on a few hundred samples, then on the next ones.

Without slices each nest walks over the whole batch, and what it stores has left the cache when the next nest
reads it. With them the nests between two sums over the batch run one after the other on a slice; what only
they use shrinks to the size of a slice, and sums over the samples grow from slice to slice.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from flatout.codegen.fuse import Rewriter, merged
from flatout.codegen.nest import (
    SIZES,
    Affine,
    Buffer,
    Expr,
    IndexValue,
    Kernel,
    Load,
    MatMul,
    Number,
    Parts,
    Pointwise,
    Program,
    Reduction,
    ScalarLet,
    ScalarRef,
    Slices,
    Store,
    Var,
    View,
    apply,
    expressions,
    number,
    reads,
    walk,
    writes,
)

LEAST_BATCH = 512  # samples; smaller batches stay in the cache as they are
_CACHE = 160 << 10  # bytes that a nest may touch in a slice: a part of the second-level cache
_SMALLEST, _LARGEST = 64, 512  # samples of a slice
_VECTOR = 16  # samples
_BEGINNING = 20  # samples that could be worked on while the loops of a slice begin


def slice_batch(program: Program, batch_size: int, parts: int = 1) -> None:
    """Run the kernels of a program in slices of the batch where they allow it.

    Args:
        program: what to change.
        batch_size: samples of a step.
        parts: into how many parts for threads the batch is cut, each with sums of its own. The result
            depends on this number, and not on how many threads there are when it runs.
    """
    if batch_size < LEAST_BATCH and parts == 1:
        return
    kernels: list[Kernel] = program.kernels[: program.prologue]
    for run in _runs(program.kernels[program.prologue :], batch_size):
        kernels += run.kernels(program, batch_size, parts)
    program.kernels = kernels


# --- which kernels run slice by slice


@dataclass
class _Along:
    """How a kernel meets the batch: its loop variable, or the axis of its product; and whether it sums."""

    kernel: Kernel
    var: Var | None = None
    axis: str = ""
    sums: bool = False


@dataclass
class _Run:
    """Kernels that can share slices, with those that have to run before and after them."""

    before: list[Kernel] = field(default_factory=list)
    inside: list[_Along] = field(default_factory=list)
    after: list[Kernel] = field(default_factory=list)

    def takes(self, kernel: Kernel, batch_size: int) -> bool:
        """Add a kernel; False where it needs what is complete only after all slices."""
        late = set().union(
            *(writes(k) for k in self.after), *(writes(a.kernel) for a in self.inside if a.sums)
        )
        read, written = reads(kernel), writes(kernel)
        touched_late = late | set().union(*(reads(k) for k in self.after))
        along = _along(kernel, batch_size, set().union(*(writes(a.kernel) for a in self.inside)))
        scalars = any(isinstance(k, ScalarLet) for k in self.after) and _uses_scalars(kernel)
        if along is not None:
            if read & late or written & touched_late or scalars:
                return False
            self.inside.append(along)
            return True
        touched = touched_late.union(*(reads(a.kernel) | writes(a.kernel) for a in self.inside))
        made = late.union(*(writes(a.kernel) for a in self.inside))
        stays = any(b.kind != "temporary" for b in written)  # another thread may still read the old state
        if read & made or written & touched or scalars or stays:
            self.after.append(kernel)
        else:
            self.before.append(kernel)
        return True

    def kernels(self, program: Program, batch_size: int, parts: int) -> list[Kernel]:
        """All of them, those inside in slices."""
        plain = [*self.before, *(a.kernel for a in self.inside), *self.after]
        size = _slice_size(self.inside, batch_size, parts)
        if size is None:
            return plain
        cut = _Cut(batch_size, size, parts)
        outside = [k for k in program.kernels if not any(k is a.kernel for a in self.inside)]
        seen_outside = set().union(*(reads(k) | writes(k) for k in outside))
        written = set().union(*(writes(a.kernel) for a in self.inside if not a.sums))
        for buffer in written - seen_outside:
            if buffer.kind == "temporary":
                cut.shrink(buffer)
        sums = [a.kernel for a in self.inside if a.sums]
        loops: list[Kernel] = []
        whole = batch_size // size * size
        for first, width in ((0, size), (whole, batch_size - whole)):
            if width:
                loops.append(cut.slices(self.inside, first, width))
        program.temporaries = [cut.small.get(b, b) for b in program.temporaries]
        program.temporaries += cut.partial.values()
        if parts == 1:
            return [*self.before, *(_start(kernel, cut) for kernel in sums), *loops, *self.after]
        body = [*(_start(kernel, cut) for kernel in sums), *loops]
        shared = Parts(_PART, parts, body, comment=f"{parts} parts of the batch")
        together = [_combined(kernel, cut) for kernel in sums]
        return [*self.before, shared, *merged([*together, *self.after])]


def _runs(kernels: Sequence[Kernel], batch_size: int) -> Iterator[_Run]:
    run = _Run()
    for kernel in kernels:
        if not run.takes(kernel, batch_size):
            yield run
            run = _Run()
            run.takes(kernel, batch_size)
    yield run


def _uses_scalars(kernel: Kernel) -> bool:
    return any(isinstance(e, ScalarRef) for e in walk(expressions(kernel)))


def _along(kernel: Kernel, batch_size: int, made: set[Buffer]) -> _Along | None:
    """How a kernel meets the batch; None where it cannot be cut into slices.

    Args:
        kernel: the kernel.
        batch_size: samples of a step.
        made: buffers that are written slice by slice, so that only their own slice may be read.
    """
    if isinstance(kernel, MatMul):
        return _product_along(kernel, made)
    if not isinstance(kernel, (Pointwise, Reduction)):
        return None
    reduced = kernel.reduced if isinstance(kernel, Reduction) else []
    for var, extent in (*kernel.axes, *reduced):
        sums = any(var is r for r, _ in reduced)
        if extent == batch_size and _fits(kernel, var, sums, made):
            return _Along(kernel, var=var, sums=sums)
    return None


def _fits(kernel: Pointwise | Reduction, var: Var, sums: bool, made: set[Buffer]) -> bool:
    loads = [e for e in walk(expressions(kernel)) if isinstance(e, Load)]
    for load in loads:
        own = load.buffer.samples > 0 and _is_own_sample(load.buffer, load.address, var)
        if load.buffer in made and not own:
            return False
    if isinstance(kernel, Reduction):
        targets = [(kernel.buffer, kernel.address)]
    else:
        targets = [(s.buffer, s.address) for s in kernel.stores]
    if sums:
        return not any(load.buffer in writes(kernel) for load in loads)
    return all(
        b.kind == "temporary" and b.samples > 0 and _is_own_sample(b, address, var) for b, address in targets
    )


def _is_own_sample(buffer: Buffer, address: Affine, var: Var) -> bool:
    """Whether an address lies in the sample `var` of a buffer."""
    if address.stride(var) != buffer.sample_step:
        return False
    if buffer.sample_step != 1:
        return False  # rows of features: written by the prologue only
    others = [c for term, c in address.terms if term is not var and term != var]
    return all(c % buffer.samples == 0 for c in (*others, address.constant))


def _product_along(kernel: MatMul, made: set[Buffer]) -> _Along | None:
    out, a, b, bias = kernel.out, kernel.a, kernel.b, kernel.bias
    views = [v for v in (a, b, bias) if v is not None]
    if _is_batch(a, 1) and _is_batch(b, 0) and out.buffer not in made:
        if bias is not None and bias.buffer in made:
            return None
        return _Along(kernel, axis="k", sums=True)
    for axis, name in ((0, "m"), (1, "n")):
        factor, other = (a, b) if axis == 0 else (b, a)
        if not (_is_batch(out, axis) and _is_batch(factor, axis)) or out.buffer.sample_step != 1:
            continue
        if out.buffer.kind != "temporary" or other.buffer in made:
            continue
        if bias is not None and bias.buffer in made and not _is_batch(bias, axis):
            continue
        if any(v.buffer in made and v.buffer.sample_step != 1 for v in views):
            continue
        return _Along(kernel, axis=name)
    return None


def _is_batch(view: View, axis: int) -> bool:
    """Whether an axis of a view counts the samples."""
    buffer = view.buffer
    if not buffer.samples or view.shape[axis] != buffer.samples or view.strides[axis] != buffer.sample_step:
        return False
    if buffer.sample_step != 1:
        return 0 <= view.strides[1 - axis] * (view.shape[1 - axis] - 1) + view.offset < buffer.sample_step
    return view.strides[1 - axis] % buffer.samples == 0 and view.offset % buffer.samples == 0


# --- how large a slice is


def _slice_size(inside: Sequence[_Along], batch_size: int, parts: int) -> int | None:
    """Samples of a slice; None where slices are of no use."""
    heaviest = max((_bytes_a_sample(a.kernel) for a in inside), default=0)
    if len(inside) < 2 or (heaviest * batch_size <= _CACHE and parts == 1):
        return None
    most = max(_SMALLEST, min(_LARGEST, int(_CACHE / heaviest)))
    most = min(most, max(_VECTOR, batch_size // parts))
    divisors = [d for d in range(min(_SMALLEST, most) // 2, most + 1) if batch_size % d == 0]
    best = max(divisors, key=lambda size: _efficiency(size, batch_size, parts), default=0)
    rounded = most // _VECTOR * _VECTOR
    return best if best and _efficiency(best, batch_size, parts) > 0.9 * _efficiency(rounded) else rounded


def _efficiency(size: int, batch_size: int = 0, parts: int = 1) -> float:
    """How much of the time slices of this size do work: full vectors, equal parts, few beginnings."""
    vectors, slices = -(-size // _VECTOR), max(1, batch_size // size)
    return size / (vectors * _VECTOR) * slices / (-(-slices // parts) * parts) * size / (size + _BEGINNING)


def _bytes_a_sample(kernel: Kernel) -> float:
    return sum(b.size * SIZES[b.dtype] / b.samples for b in reads(kernel) | writes(kernel) if b.samples)


# --- the kernels of a slice

_PART, _SLICE = Var("part"), Var("slice")
_INITIAL = {"sum": 0.0, "prod": 1.0, "max": -math.inf, "min": math.inf}
_COMBINED = {"sum": "add", "prod": "mul", "max": "max", "min": "min"}


@dataclass
class _Cut:
    """How the batch is cut, and the buffers that go with it.

    Attributes:
        batch_size: samples of a step.
        size: samples of a slice.
        parts: how many parts the threads share.
        small: what holds one slice, instead of the whole batch.
        partial: what holds a sum of each part, instead of the whole sum.
    """

    batch_size: int
    size: int
    parts: int
    small: dict[Buffer, Buffer] = field(default_factory=dict)
    partial: dict[Buffer, Buffer] = field(default_factory=dict)

    def shrink(self, buffer: Buffer) -> None:
        """Let a buffer hold one slice only."""
        size = buffer.size // self.batch_size * self.size
        self.small[buffer] = replace(buffer, size=size, samples=self.size)

    def slices(self, inside: Sequence[_Along], first: int, width: int) -> Slices:
        """The kernels on the slices of `width` samples from sample `first` on."""
        count = (self.batch_size - first) // width
        begin = Affine(((_SLICE, width),) if count > 1 else (), first)
        body = [_cut_kernel(along, begin, width, self) for along in inside]
        comment = f"{count} slices of {width} samples" if count > 1 else f"the last {width} samples"
        return Slices(_SLICE, count, body, set(self.small.values()), comment=comment)

    def sum_of_part(self, buffer: Buffer) -> tuple[Buffer, Affine]:
        """Where a part puts its sum instead of `buffer`."""
        if self.parts == 1:
            return buffer, Affine()
        if buffer not in self.partial:
            self.partial[buffer] = replace(
                buffer, name=f"{buffer.name}_of_part", size=buffer.size * self.parts, kind="temporary"
            )
        return self.partial[buffer], Affine.of(_PART) * buffer.size


def _points(kernel: Kernel) -> tuple[list[tuple[Var, int]], Buffer, Affine]:
    """The loops over the elements of a sum, and where they lie."""
    if isinstance(kernel, Reduction):
        return kernel.axes, kernel.buffer, kernel.address
    assert isinstance(kernel, MatMul)
    out = kernel.out
    axes = sorted(zip((Var("i0"), Var("i1")), out.shape, out.strides, strict=True), key=lambda a: -a[2])
    index = [Affine.of(Var("i0")), Affine.of(Var("i1"))]
    return [(var, extent) for var, extent, _ in axes], out.buffer, out.address(index)


def _start(kernel: Kernel, cut: _Cut) -> Kernel:
    """What a sum is before the first slice."""
    axes, buffer, address = _points(kernel)
    op = kernel.op if isinstance(kernel, Reduction) else "sum"
    target, begin = cut.sum_of_part(buffer)
    value: Expr = _initial(op, buffer.dtype)
    if isinstance(kernel, MatMul) and kernel.bias is not None and cut.parts == 1:
        value = kernel.bias.load([Affine.of(Var("i0")), Affine.of(Var("i1"))])
    comment = f"before the first slice of {kernel.comment}"
    return Pointwise(axes, [Store(target, begin + address, value)], comment=comment)


def _combined(kernel: Kernel, cut: _Cut) -> Kernel:
    """The sum of the sums of all parts."""
    axes, buffer, address = _points(kernel)
    op = _COMBINED[kernel.op if isinstance(kernel, Reduction) else "sum"]
    source, _ = cut.sum_of_part(buffer)
    total: Expr | None = None
    if isinstance(kernel, MatMul) and kernel.bias is not None:
        total = kernel.bias.load([Affine.of(Var("i0")), Affine.of(Var("i1"))])
    for part in range(cut.parts):
        term = Load(source, address + part * buffer.size, buffer.dtype)
        total = term if total is None else apply(op, total, term, dtype=buffer.dtype)
    assert total is not None
    return Pointwise(axes, [Store(buffer, address, total)], comment=f"all parts of {kernel.comment}")


def _initial(op: str, dtype: str) -> Number:
    if dtype in ("float32", "float64"):
        return number(_INITIAL[op], dtype)
    whole = {"sum": 0, "prod": 1, "max": -(2**63) + 1, "min": 2**63 - 1}
    return number(whole[op], dtype)


class _Cutter(Rewriter):
    """Moves the batch variable to its slice, and what is local to the buffers of a slice."""

    def __init__(self, var: Var, begin: Affine, cut: _Cut) -> None:
        super().__init__({var: begin + Affine.of(var)})
        self._var = var
        self._cut = cut

    def place(self, buffer: Buffer, address: Affine) -> tuple[Buffer, Affine]:
        """The buffer and address of an element now."""
        new = self._cut.small.get(buffer)
        if new is None:
            return buffer, self.index(address)
        result = Affine((), address.constant // buffer.samples * new.samples)
        for term, coefficient in address.terms:
            if term == self._var:
                result = result + Affine.of(term)
                continue
            moved = term if isinstance(term, Var) else self.expr(term)
            result = result + Affine.of(moved) * (coefficient // buffer.samples * new.samples)
        return new, result

    def _copy(self, expr: Expr) -> Expr:
        if isinstance(expr, Load):
            return Load(*self.place(expr.buffer, expr.address), expr.dtype)
        if isinstance(expr, IndexValue):
            return IndexValue(self.index(expr.index))
        return super()._copy(expr)


def _cut_kernel(along: _Along, begin: Affine, width: int, cut: _Cut) -> Kernel:
    kernel = along.kernel
    if isinstance(kernel, MatMul):
        return _cut_product(kernel, along, begin, width, cut)
    assert along.var is not None and isinstance(kernel, (Pointwise, Reduction))
    cutter = _Cutter(along.var, begin, cut)
    axes = [(v, width if v == along.var else extent) for v, extent in kernel.axes]
    if isinstance(kernel, Pointwise):
        stores = [Store(*cutter.place(s.buffer, s.address), cutter.expr(s.value)) for s in kernel.stores]
        return Pointwise(axes, stores, comment=kernel.comment)
    reduced = [(v, width if v == along.var else extent) for v, extent in kernel.reduced]
    if along.sums:
        buffer, own = cut.sum_of_part(kernel.buffer)
        address = own + kernel.address
    else:
        buffer, address = cutter.place(kernel.buffer, kernel.address)
    value = cutter.expr(kernel.value)
    return Reduction(
        axes, reduced, kernel.op, value, buffer, address, onto=along.sums, comment=kernel.comment
    )


def _cut_product(kernel: MatMul, along: _Along, begin: Affine, width: int, cut: _Cut) -> Kernel:
    out, a, b, bias = kernel.out, kernel.a, kernel.b, kernel.bias
    if along.sums:
        buffer, own = cut.sum_of_part(out.buffer)
        out = View(buffer, out.shape, out.strides, out.offset, own)
        a, b = _cut_view(a, 1, begin, width, cut), _cut_view(b, 0, begin, width, cut)
        return MatMul(out, a, b, out, comment=kernel.comment)
    axis = 0 if along.axis == "m" else 1
    out = _cut_view(out, axis, begin, width, cut)
    if axis == 0:
        a = _cut_view(a, 0, begin, width, cut)
    else:
        b = _cut_view(b, 1, begin, width, cut)
    if bias is not None and bias.strides[axis]:
        bias = _cut_view(bias, axis, begin, width, cut)
    elif bias is not None:
        bias = replace(bias, shape=out.shape)
    return MatMul(out, a, b, bias, comment=kernel.comment)


def _cut_view(view: View, axis: int, begin: Affine, width: int, cut: _Cut) -> View:
    shape = tuple(width if i == axis else size for i, size in enumerate(view.shape))
    new = cut.small.get(view.buffer)
    if new is None:
        return View(view.buffer, shape, view.strides, view.offset, view.along + begin * view.strides[axis])
    samples = view.buffer.samples
    strides = tuple(s if i == axis else s // samples * new.samples for i, s in enumerate(view.strides))
    return View(new, shape, strides, view.offset // samples * new.samples)
