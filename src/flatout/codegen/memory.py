"""Where each temporary lies: those that are not needed at the same time share memory."""

from __future__ import annotations

from flatout.codegen.nest import SIZES, Buffer, Program, Slices, reads, writes

_ALIGNMENT = 64  # bytes: a cache line, and the largest vector


def plan_memory(program: Program) -> tuple[dict[Buffer, int], int]:
    """The offset of each temporary in the arena and the size of the arena, in bytes.

    A temporary lives from the first kernel that touches it to the last; those the prologue writes live
    always, because later steps may read them. The largest are placed first, each at the lowest offset
    where nothing that lives meanwhile lies. In a program for several threads nothing is shared: one of
    them may still read what another has no need of any more.
    """
    lives = _lives(program)
    placed: list[tuple[int, int, Buffer]] = []  # begin, end, buffer
    offsets: dict[Buffer, int] = {}
    for buffer in sorted(program.temporaries, key=lambda b: -_bytes(b)):
        size = _bytes(buffer)
        offset = 0
        for begin, end, other in sorted(placed, key=lambda p: p[0]):
            meet = program.parallel or _overlap(lives[buffer], lives[other])
            if meet and begin < offset + size and offset < end:
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
        if isinstance(kernel, Slices):
            # What holds one slice comes and goes within the loop: it lives in fractions of the position.
            for place, inner in enumerate(kernel.body):
                now = position + 0.99 * place / len(kernel.body)
                for buffer in (reads(inner) | writes(inner)) & kernel.local:
                    _extend(inside, buffer, now, now)
    return lives | inside


def _extend(lives: dict[Buffer, tuple[float, float]], buffer: Buffer, begin: float, end: float) -> None:
    old = lives.get(buffer, (begin, end))
    lives[buffer] = (min(old[0], begin), max(old[1], end))


def _overlap(a: tuple[float, float], b: tuple[float, float]) -> bool:
    return a[0] <= b[1] and b[0] <= a[1]
