"""Where each temporary lies: those that are not needed at the same time share memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from flatout.codegen.nest import SIZES, Buffer, Kernel, Parts, Program, reads, slices_of, writes

_ALIGNMENT = 64  # bytes: a cache line, and the largest vector


def plan_memory(program: Program) -> tuple[dict[Buffer, int], int]:
    """The offset of each temporary in the arena and the size of the arena, in bytes.

    A temporary lives from the first kernel that touches it to the last; those the prologue writes live
    always, because later steps may read them. In a program for several threads nothing is shared, because
    one of them may still read what another has no need of any more; but each part of the batch has memory
    of its own for its slices, and shares that.
    """
    lives = _lives(program)
    alone: dict[Buffer, tuple[float, float]] = dict.fromkeys(program.temporaries, (0, 1))
    parts = [kernel for kernel in program.kernels if isinstance(kernel, Parts)]
    for shared in parts:
        local = {b for loop in slices_of(shared) for b in loop.local}
        shared.places, shared.step = _place({b: lives[b] for b in local})
        alone = {buffer: life for buffer, life in alone.items() if buffer not in local}
    offsets, size = _place(alone if program.parallel else {b: lives[b] for b in program.temporaries})
    for shared in parts:
        shared.places = {buffer: offset + size for buffer, offset in shared.places.items()}
        size += shared.step * shared.count
    return offsets, size


def reusing(kernels: Sequence[Kernel], places: Mapping[Buffer, int]) -> list[bool]:
    """Whether each of the kernels, run one after another, touches memory that held another temporary before.

    In the C every temporary is a `restrict` pointer of its own: a compiler may move what touches one across
    what touches the next in the same place, unless it is stopped there.

    Args:
        kernels: in the order in which they run.
        places: the offset of each temporary.
    """
    stops = []
    touched: set[Buffer] = set()  # since the last stop
    for kernel in kernels:
        now = {buffer for buffer in reads(kernel) | writes(kernel) if buffer in places}
        stops.append(any(_share(a, b, places) for a in now for b in touched))
        touched = now if stops[-1] else touched | now
    return stops


def _share(a: Buffer, b: Buffer, places: Mapping[Buffer, int]) -> bool:
    return a is not b and places[a] < places[b] + _bytes(b) and places[b] < places[a] + _bytes(a)


def _place(lives: dict[Buffer, tuple[float, float]]) -> tuple[dict[Buffer, int], int]:
    """The largest first, each at the lowest offset where nothing that lives meanwhile lies."""
    placed: list[tuple[int, int, Buffer]] = []  # begin, end, buffer
    offsets: dict[Buffer, int] = {}
    for buffer in sorted(lives, key=lambda b: (-_bytes(b), b.name)):
        size = _bytes(buffer)
        offset = 0
        for begin, end, other in sorted(placed, key=lambda p: p[0]):
            if _overlap(lives[buffer], lives[other]) and begin < offset + size and offset < end:
                offset = end
        offsets[buffer] = offset
        placed.append((offset, offset + size, buffer))
    return offsets, max((end for _, end, _ in placed), default=0)


def _bytes(buffer: Buffer) -> int:
    size = buffer.size * SIZES[buffer.dtype]
    return -(-size // _ALIGNMENT) * _ALIGNMENT


def _lives(program: Program) -> dict[Buffer, tuple[float, float]]:
    lives: dict[Buffer, tuple[float, float]] = {}
    inside: dict[Buffer, tuple[float, float]] = {}
    last = len(program.kernels)
    for position, kernel in enumerate(program.kernels):
        for buffer in reads(kernel) | writes(kernel):
            if position < program.prologue:
                _extend(lives, buffer, 0, last)
            else:  # all through the kernel: a loop over slices comes back to it
                _extend(lives, buffer, position, position + 0.99)
        # What holds one slice comes and goes within the loop: it lives in fractions of the position.
        within = [(inner, loop.local) for loop in slices_of(kernel) for inner in loop.body]
        for place, (inner, local) in enumerate(within):
            now = position + 0.99 * place / len(within)
            for buffer in (reads(inner) | writes(inner)) & local:
                _extend(inside, buffer, now, now)
    return lives | inside


def _extend(lives: dict[Buffer, tuple[float, float]], buffer: Buffer, begin: float, end: float) -> None:
    old = lives.get(buffer, (begin, end))
    lives[buffer] = (min(old[0], begin), max(old[1], end))


def _overlap(a: tuple[float, float], b: tuple[float, float]) -> bool:
    return a[0] <= b[1] and b[0] <= a[1]
