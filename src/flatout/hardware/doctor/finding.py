"""What a rule is, and what it finds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from flatout.hardware.doctor.evidence import Evidence


class Layer(IntEnum):
    """Where a cause lies, from the hardware up. What is broken below explains what fails above."""

    HARDWARE = 0
    DRIVER = 1
    ACCESS = 2
    BUILD = 3
    VISIBILITY = 4
    USE = 5
    SPEED = 6


# What a finding in a layer explains besides its own layer: a finding there is a consequence, and not shown.
EXPLAINS: Final[dict[Layer, frozenset[Layer]]] = {
    Layer.HARDWARE: frozenset(Layer),
    Layer.DRIVER: frozenset({Layer.ACCESS, Layer.USE, Layer.SPEED}),
    Layer.ACCESS: frozenset({Layer.VISIBILITY, Layer.USE, Layer.SPEED}),
    Layer.BUILD: frozenset({Layer.USE, Layer.SPEED}),
    Layer.VISIBILITY: frozenset({Layer.USE, Layer.SPEED}),
    Layer.USE: frozenset({Layer.SPEED}),
    Layer.SPEED: frozenset(),
}


@dataclass(frozen=True)
class Finding:
    """A cause: what it is in a sentence, what was seen of it, and what to type.

    Attributes:
        cause: the id of the rule, such as "cpu_build".
        sentence: the cause, for people.
        seen: the evidence it rests on, a line each.
        fix: what to do, a line each; a line that begins with "$ " is a command.
    """

    cause: str
    sentence: str
    seen: tuple[str, ...]
    fix: tuple[str, ...]


Check = Callable[[Evidence], Finding | None]


@dataclass(frozen=True)
class Rule:
    """A cause and how it is told.

    Attributes:
        cause: its id.
        layer: where it lies.
        check: looks at the evidence; None where it is not this.
        says: the texts of torch, CUDA or nvidia-smi that this cause shows itself by.
        blind_only: whether it can be the cause only where torch cannot use a GPU.
    """

    cause: str
    layer: Layer
    check: Check
    says: tuple[str, ...] = ()
    blind_only: bool = True
