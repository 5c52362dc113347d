"""Which kernels several threads share, and where they wait for each other.

All threads run the whole step. A large kernel is cut along its outermost axis, a small one is left to the
first thread. Before a kernel that touches what another thread may still be working on, they wait. Where a
whole step is so little work that waiting would cost more than it saves, there is one thread.
"""

from __future__ import annotations

import math

from flatout.codegen.nest import (
    Buffer,
    Kernel,
    MatMul,
    Parts,
    Pointwise,
    Program,
    Reduction,
    ScalarLet,
    Slices,
    expressions,
    reads,
    walk,
    writes,
)

# In clock cycles of one core, roughly: a step is shared from 30 µs on, a kernel from 2 µs on.
_LEAST_STEP = 80_000
_LEAST_KERNEL = 5_000


def is_worth_sharing(program: Program) -> bool:
    """Whether a step is so much work that several threads pay."""
    return sum(work(kernel) for kernel in program.kernels) >= _LEAST_STEP


def plan_threads(program: Program) -> None:
    """Decide for each kernel of a program whether it is shared and whether to wait before it."""
    program.parallel = True
    pending: list[tuple[bool, set[Buffer], set[Buffer]]] = []
    for kernel in program.kernels:
        kernel.split = isinstance(kernel, Parts) or (_can_be_cut(kernel) and work(kernel) >= _LEAST_KERNEL)
        everywhere = kernel.split or isinstance(kernel, ScalarLet)
        read, written = reads(kernel), writes(kernel)
        kernel.wait = any(
            (everywhere or other_everywhere)
            and (read & other_written or written & (other_written | other_read))
            for other_everywhere, other_read, other_written in pending
        )
        if kernel.wait:
            pending = []
        pending.append((everywhere, read, written))


def work(kernel: Kernel) -> float:
    """About how many cycles a kernel takes on one core."""
    match kernel:
        case MatMul(out=out, a=a):
            return math.prod(out.shape) * a.shape[1] / 24
        case Pointwise(axes=axes):
            return math.prod(e for _, e in axes) * sum(1 for _ in walk(expressions(kernel))) / 10
        case Reduction(axes=axes, reduced=reduced):
            points = math.prod(e for _, e in axes) * math.prod(e for _, e in reduced)
            return points * sum(1 for _ in walk(expressions(kernel))) / 10
        case Slices(count=count, body=body):
            return count * sum(work(inner) for inner in body)
        case Parts(body=body):
            return sum(work(inner) for inner in body)
    return 0


def _can_be_cut(kernel: Kernel) -> bool:
    match kernel:
        case MatMul():
            return True
        case Pointwise(axes=axes) | Reduction(axes=axes):
            return bool(axes)
    return False
