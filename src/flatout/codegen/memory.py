"""Where each temporary lies: those that are not needed at the same time share memory."""

from __future__ import annotations

from flatout.codegen.nest import SIZES, Buffer, Program, reads, writes

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


def _lives(program: Program) -> dict[Buffer, tuple[int, int]]:
    lives: dict[Buffer, tuple[int, int]] = {}
    last = len(program.kernels)
    for position, kernel in enumerate(program.kernels):
        for buffer in reads(kernel) | writes(kernel):
            if position < program.prologue:
                lives[buffer] = (0, last)
            elif buffer in lives:
                lives[buffer] = (lives[buffer][0], max(position, lives[buffer][1]))
            else:
                lives[buffer] = (position, position)
    return lives


def _overlap(a: tuple[int, int], b: tuple[int, int]) -> bool:
    return a[0] <= b[1] and b[0] <= a[1]
