"""Random numbers that depend on nothing but where they are used: seed, step, draw and element.

The generator is Philox 4x32-10 of J. K. Salmon, M. A. Moraes, R. O. Dror and D. E. Shaw, "Parallel random
numbers: as easy as 1, 2, 3" (SC 2011): ten rounds that scramble a counter of four 32-bit words under a key of
two. The key is the seed; the counter is (block, draw, low half of the step, high half of the step), where a
draw is the how-manieth random operator of the step it is. No state has to be kept, so that a step can be made
again, in any chunk, by any plan.

A block gives four words. Sixteen blocks fill a group: of float32 numbers the first words of all sixteen, then
the second and so on, 64 in all; of float64, which take two words each, 32. So a vector of blocks gives
vectors of numbers. The numbers fill a tensor with its first axis, the samples, varying fastest.

Uniform numbers lie in [0, 1) with 24 bits in float32 and 53 in float64. Normal ones are made of pairs
of words by G. E. P. Box and M. E. Muller, "A note on the generation of random normal deviates" (1958), the
first from 32 bits (53 in float64): none lies beyond 6.8 (8.6) standard deviations.

`flatout_kernels.h` has the same in C, uniform numbers to the last bit.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor

Kind = Literal["uniform", "normal"]
Words = tuple[Any, Any, Any, Any]  # int64 tensors or numbers, each below 2^32

LANES = 16  # blocks in a group
_WORD = 0xFFFFFFFF
_MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
_WEYL = (0x9E3779B9, 0xBB67AE85)
_ROUNDS = 10


def philox(counter: Words, key: tuple[Any, Any]) -> Words:
    """Four random words for a counter of four words and a key of two, each in int64.

    Example:
        >>> zero = torch.tensor([0])
        >>> [hex(int(word)) for word in philox((zero,) * 4, (zero, zero))]
        ['0x6627e8d5', '0xe169c58d', '0xbc57ac4c', '0x9b00dbd8']
    """
    a, b, c, d = counter
    first, second = key
    for turn in range(_ROUNDS):
        if turn:
            first, second = (first + _WEYL[0]) & _WORD, (second + _WEYL[1]) & _WORD
        high_a, low_a = _product(a, _MULTIPLIERS[0])
        high_c, low_c = _product(c, _MULTIPLIERS[1])
        a, b, c, d = high_c ^ b ^ first, low_c, high_a ^ d ^ second, low_a
    return a, b, c, d


def _product(x: Any, factor: int) -> tuple[Any, Any]:
    """The high and the low word of x times factor, in steps that stay below 2^63."""
    low = x * (factor & 0xFFFF)
    middle = x * (factor >> 16) + (low >> 16)
    return middle >> 16, ((middle & 0xFFFF) << 16) | (low & 0xFFFF)


def places(seed: int, first: int, steps: int) -> Tensor:
    """Where steps draw from: a row of seed and step, low halves first, a step; int64 `[steps, 4]`.

    Example:
        >>> places(2**32 + 3, 7, 2)
        tensor([[3, 1, 7, 0],
                [3, 1, 8, 0]])
    """
    rows = [
        [seed & _WORD, seed >> 32 & _WORD, step & _WORD, step >> 32 & _WORD]
        for step in range(first, first + steps)
    ]
    return torch.tensor(rows, dtype=torch.int64).view(steps, 4)


def numbers(kind: Kind, shape: Sequence[int], dtype: torch.dtype, draw: int, place: Tensor) -> Tensor:
    """The numbers of one draw of one step, on the device of `place`.

    Args:
        kind: "uniform" or "normal".
        shape: of the result.
        dtype: float32 or float64.
        draw: the how-manieth of its step it is.
        place: a row of `places`, int64 `[4]`.

    Example:
        >>> numbers("uniform", (3,), torch.float32, 0, places(0, 0, 1)[0])
        tensor([0.3990, 0.9722, 0.0194])
    """
    groups = group_count(shape, dtype)
    return _shaped(kind, shape, dtype, _words(_blocks(groups, place.device), draw, place))


def numbers_of_step(draws: Sequence[tuple[Kind, Sequence[int], torch.dtype]], place: Tensor) -> list[Tensor]:
    """The numbers of all draws of a step, the words of all of them made together.

    A compiler sees the ten rounds once, however many draws there are.

    Args:
        draws: kind, shape and dtype of each.
        place: as in `numbers`.

    Example:
        >>> draws = [("normal", (2,), torch.float32), ("uniform", (3,), torch.float32)]
        >>> place = places(0, 0, 1)[0]
        >>> torch.equal(numbers_of_step(draws, place)[1], numbers("uniform", (3,), torch.float32, 1, place))
        True
    """
    groups = [group_count(shape, dtype) for _, shape, dtype in draws]
    block = torch.cat([_blocks(count, place.device) for count in groups])
    draw = torch.cat([torch.full((n, 1), i, device=place.device) for i, n in enumerate(groups)])
    words = _words(block, draw, place)
    cut = zip(*(word.split(groups) for word in words), strict=True)
    return [_shaped(*draw, own) for draw, own in zip(draws, cut, strict=True)]


def _blocks(groups: int, device: torch.device) -> Tensor:
    return torch.arange(groups * LANES, dtype=torch.int64, device=device).view(groups, LANES)


def _words(block: Tensor, draw: Any, place: Tensor) -> Words:
    seed_low, seed_high, step_low, step_high = place.unbind(0)
    return philox((block, draw, step_low, step_high), (seed_low, seed_high))


def _shaped(kind: Kind, shape: Sequence[int], dtype: torch.dtype, words: Words) -> Tensor:
    """The numbers of a draw from the words of its groups, each `[groups, 16]`."""
    parts = _uniform(words, dtype) if kind == "uniform" else _normal(words, dtype)
    return in_shape(torch.stack(parts, 1).flatten(), shape)


def in_shape(flat: Tensor, shape: Sequence[int]) -> Tensor:
    """Numbers in the order of the stream as a tensor: its first axis varies fastest.

    Example:
        >>> in_shape(torch.arange(6), (2, 3))
        tensor([[0, 2, 4],
                [1, 3, 5]])
    """
    flat = flat[: math.prod(shape)]
    return flat.view([*shape[1:], *shape[:1]]).movedim(-1, 0) if len(shape) > 1 else flat.view(list(shape))


def group_count(shape: Sequence[int], dtype: torch.dtype) -> int:
    """How many groups fill a tensor."""
    return -(-math.prod(shape) // group_size(dtype))


def group_size(dtype: torch.dtype) -> int:
    """How many numbers the blocks of a group give."""
    return LANES * (2 if dtype is torch.float64 else 4)


def _uniform(words: Words, dtype: torch.dtype) -> list[Tensor]:
    if dtype is not torch.float64:
        return [(word >> 8).to(dtype) * 2.0**-24 for word in words]
    a, b, c, d = words
    return [_53_bits(a, b).to(dtype) * 2.0**-53, _53_bits(c, d).to(dtype) * 2.0**-53]


def _normal(words: Words, dtype: torch.dtype) -> list[Tensor]:
    a, b, c, d = words
    if dtype is not torch.float64:
        return [*_pair((a.to(dtype) + 0.5) * 2.0**-32, _turn(b, 32, dtype)),
                *_pair((c.to(dtype) + 0.5) * 2.0**-32, _turn(d, 32, dtype))]  # fmt: skip
    return _pair((_53_bits(a, b).to(dtype) + 0.5) * 2.0**-53, _turn(_53_bits(c, d), 53, dtype))


def _53_bits(high: Tensor, low: Tensor) -> Tensor:
    return (high << 21) | (low >> 11)


def _turn(bits: Tensor, count: int, dtype: torch.dtype) -> Tensor:
    """An angle from -π to π; the half below zero from the bits with a leading one."""
    signed = bits - ((bits >> (count - 1)) << count)
    return signed.to(dtype) * (2 * math.pi / 2.0**count)


def _pair(share: Tensor, angle: Tensor) -> list[Tensor]:
    radius = torch.sqrt(-2.0 * torch.log(share))
    return [radius * torch.cos(angle), radius * torch.sin(angle)]
