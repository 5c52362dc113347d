"""The batch in slices that fit the cache: all work on a few hundred samples, then on the next ones.

Without slices each nest walks over the whole batch, and what it stores has left the cache when the next nest
reads it. With them the nests between two sums over the batch run one after the other on a slice; what only
they use shrinks to the size of a slice, and sums over the samples grow from slice to slice.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from flatout.codegen.fuse import Rewriter
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
    Pointwise,
    Program,
    Reduction,
    ScalarLet,
    ScalarRef,
    Slices,
    Store,
    Var,
    View,
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
_INITIAL = {"sum": 0.0, "prod": 1.0, "max": -math.inf, "min": math.inf}


def slice_batch(program: Program, batch_size: int) -> None:
    """Run the kernels of a program in slices of the batch where they allow it."""
    if batch_size < LEAST_BATCH:
        return
    kernels: list[Kernel] = program.kernels[: program.prologue]
    for run in _runs(program.kernels[program.prologue :], batch_size):
        kernels += run.kernels(program, batch_size)
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
        if read & made or written & touched or scalars:
            self.after.append(kernel)
        else:
            self.before.append(kernel)
        return True

    def kernels(self, program: Program, batch_size: int) -> list[Kernel]:
        """All of them, those inside in slices."""
        plain = [*self.before, *(a.kernel for a in self.inside), *self.after]
        outside = [k for k in program.kernels if not any(k is a.kernel for a in self.inside)]
        size = _slice_size(self.inside, batch_size)
        if size is None:
            return plain
        seen_outside = set().union(*(reads(k) | writes(k) for k in outside))
        local = {
            b
            for a in self.inside
            if not a.sums
            for b in writes(a.kernel)
            if b.kind == "temporary" and b not in seen_outside
        }
        starts = [_start(a.kernel) for a in self.inside if a.sums]
        result: list[Kernel] = [*self.before, *starts]
        whole = batch_size // size * size
        small: dict[Buffer, Buffer] = {}
        for first, width in ((0, size), (whole, batch_size - whole)):
            if width:
                result.append(_slices(self.inside, first, width, size, batch_size, local, small))
        program.temporaries = [small.get(b, b) for b in program.temporaries]
        return [*result, *self.after]


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


def _slice_size(inside: Sequence[_Along], batch_size: int) -> int | None:
    """Samples of a slice; None where slices are of no use."""
    heaviest = max((_bytes_a_sample(a.kernel) for a in inside), default=0)
    if len(inside) < 2 or heaviest * batch_size <= _CACHE:
        return None
    most = max(_SMALLEST, min(_LARGEST, int(_CACHE / heaviest)))
    divisors = [d for d in range(_SMALLEST // 2, most + 1) if batch_size % d == 0]
    if not divisors:
        return most // _VECTOR * _VECTOR
    filled = [d for d in divisors if d % _VECTOR == 0]
    return max(filled) if filled and max(filled) * 2 >= max(divisors) else max(divisors)


def _bytes_a_sample(kernel: Kernel) -> float:
    return sum(b.size * SIZES[b.dtype] / b.samples for b in reads(kernel) | writes(kernel) if b.samples)


# --- the kernels of a slice


def _start(kernel: Kernel) -> Kernel:
    """What a sum is before the first slice."""
    comment = f"{kernel.comment}: before the first slice"
    if isinstance(kernel, Reduction):
        first = _initial(kernel.op, kernel.buffer.dtype)
        return Pointwise(kernel.axes, [Store(kernel.buffer, kernel.address, first)], comment=comment)
    assert isinstance(kernel, MatMul)
    axes = [(Var(f"i{axis}"), extent) for axis, extent in enumerate(kernel.out.shape)]
    axes.sort(key=lambda a: -kernel.out.strides[int(a[0].name[1:])])
    index = [Affine.of(Var("i0")), Affine.of(Var("i1"))]
    dtype = kernel.out.buffer.dtype
    value: Expr = number(0, dtype) if kernel.bias is None else kernel.bias.load(index)
    return Pointwise(axes, [Store(kernel.out.buffer, kernel.out.address(index), value)], comment=comment)


def _initial(op: str, dtype: str) -> Number:
    if dtype in ("float32", "float64"):
        return number(_INITIAL[op], dtype)
    whole = {"sum": 0, "prod": 1, "max": -(2**63) + 1, "min": 2**63 - 1}
    return number(whole[op], dtype)


def _slices(
    inside: Sequence[_Along],
    first: int,
    width: int,
    size: int,
    batch_size: int,
    local: set[Buffer],
    small: dict[Buffer, Buffer],
) -> Slices:
    """The kernels on the slices of `width` samples from sample `first` on."""
    slice_ = Var("slice")
    count = (batch_size - first) // width
    begin = Affine(((slice_, width),) if count > 1 else (), first)
    for buffer in local:
        if buffer not in small:
            small[buffer] = Buffer(
                buffer.name, "temporary", buffer.dtype, buffer.size // batch_size * size,
                samples=size, sample_step=1,
            )  # fmt: skip
    body: list[Kernel] = []
    for along in inside:
        if isinstance(along.kernel, MatMul):
            body.append(_cut_product(along, begin, width, small))
        else:
            body.append(_cut(along, begin, width, small))
    comment = f"{count} slices of {width} samples" if count > 1 else f"the last {width} samples"
    return Slices(slice_, count, body, set(small.values()), comment=comment)


class _Cutter(Rewriter):
    """Moves the batch variable to its slice, and what is local to the buffers of a slice."""

    def __init__(self, var: Var, begin: Affine, small: dict[Buffer, Buffer]) -> None:
        super().__init__({var: begin + Affine.of(var)})
        self._var = var
        self._small = small
        self._plain = Rewriter({})

    def place(self, buffer: Buffer, address: Affine) -> tuple[Buffer, Affine]:
        """The buffer and address of an element now."""
        if buffer not in self._small:
            return buffer, self.index(address)
        new = self._small[buffer]
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


def _cut(along: _Along, begin: Affine, width: int, small: dict[Buffer, Buffer]) -> Kernel:
    kernel = along.kernel
    assert along.var is not None and isinstance(kernel, (Pointwise, Reduction))
    cutter = _Cutter(along.var, begin, small)
    axes = [(v, width if v == along.var else extent) for v, extent in kernel.axes]
    if isinstance(kernel, Reduction):
        reduced = [(v, width if v == along.var else extent) for v, extent in kernel.reduced]
        value = cutter.expr(kernel.value)
        buffer, address = cutter.place(kernel.buffer, kernel.address)
        return Reduction(
            axes, reduced, kernel.op, value, buffer, address, onto=along.sums, comment=kernel.comment
        )
    stores = [Store(*cutter.place(s.buffer, s.address), cutter.expr(s.value)) for s in kernel.stores]
    return Pointwise(axes, stores, comment=kernel.comment)


def _cut_product(along: _Along, begin: Affine, width: int, small: dict[Buffer, Buffer]) -> Kernel:
    kernel = along.kernel
    assert isinstance(kernel, MatMul)
    axes = {"m": (0, 0, None), "n": (1, None, 1), "k": (None, 1, 0)}[along.axis]
    out, a, b = (
        view if axis is None else _cut_view(view, axis, begin, width, small)
        for view, axis in zip((kernel.out, kernel.a, kernel.b), axes, strict=True)
    )
    bias = kernel.bias
    if along.sums:
        bias = out
    elif bias is not None and axes[0] is not None and bias.strides[axes[0]]:
        bias = _cut_view(bias, axes[0], begin, width, small)
    elif bias is not None and axes[0] is not None:
        shape = tuple(width if axis == axes[0] else size for axis, size in enumerate(bias.shape))
        bias = View(bias.buffer, shape, bias.strides, bias.offset)
    return MatMul(out, a, b, bias, comment=kernel.comment)


def _cut_view(view: View, axis: int, begin: Affine, width: int, small: dict[Buffer, Buffer]) -> View:
    shape = tuple(width if i == axis else size for i, size in enumerate(view.shape))
    if view.buffer not in small:
        return View(view.buffer, shape, view.strides, view.offset, view.along + begin * view.strides[axis])
    new = small[view.buffer]
    shrink = [s if i == axis else s // view.buffer.samples * new.samples for i, s in enumerate(view.strides)]
    return View(new, shape, tuple(shrink), view.offset // view.buffer.samples * new.samples)
