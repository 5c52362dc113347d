"""What the windows of lines saw."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from flatout.profiling.user_lines import Line
from flatout.profiling.watch.reading import Reading


@dataclass(frozen=True)
class Copy:
    """One copy of a tensor between two devices.

    Attributes:
        source, target: the types of the devices.
        bytes: that were copied.
        pinned: whether it came from pinned memory of the host.
        non_blocking: whether the caller asked not to wait for it.
        seconds: the call took.
    """

    source: str
    target: str
    bytes: int
    pinned: bool
    non_blocking: bool
    seconds: float


@dataclass
class Loader:
    """A DataLoader as a line of the user iterates over it.

    Attributes:
        workers: its worker processes.
        index_s: where it takes samples one by one from a TensorDataset, the seconds that indexing the tensors
            with a whole batch takes instead; else None.
        batch_size: samples a batch, or None where that is not fixed.
        map_style: samples are asked for by index, so that workers can share them.
        pinned: the batches lie in pinned memory.
        persistent: the workers live on from one epoch to the next.
        batches: how many it gave.
    """

    workers: int
    index_s: float | None
    batch_size: int | None = None
    map_style: bool = True
    pinned: bool = False
    persistent: bool = False
    batches: int = 0


@dataclass
class Seen:
    """What the windows saw.

    Attributes:
        steps: the steps they lasted.
        calls: the seconds of each call, by what was called and where.
        readings: what the last of these calls read, where that can be read again.
        copies: the copies between devices, by line.
        loaders: the DataLoaders, by line.
        kept: losses still alive with their graph steps after their backward, by the line of the backward.
        zeroed: how often gradients were filled with zeros (`set_to_none=False`), by line.
    """

    steps: int = 0
    calls: dict[tuple[str, Line], list[float]] = field(default_factory=dict)
    readings: dict[tuple[str, Line], Sequence[Reading]] = field(default_factory=dict)
    copies: dict[Line, list[Copy]] = field(default_factory=dict)
    loaders: dict[Line, Loader] = field(default_factory=dict)
    kept: dict[Line, int] = field(default_factory=dict)
    zeroed: dict[Line, int] = field(default_factory=dict)
