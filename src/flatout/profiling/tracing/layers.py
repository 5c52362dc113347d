"""The time of a step by layer: forward, and the backward of what forward did."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from flatout.profiling.tracing.host import Host
from flatout.profiling.tracing.marks import Layer

_PHASES: Final = ("forward", "backward")


@dataclass(frozen=True)
class LayerTime:
    """The time of a layer in a step; on a GPU that of the work it started, else that of the host.

    Attributes:
        name: its path in the outermost module, for example "encoder.layers.1"; the class of that one itself.
        kind: the name of its class.
        forward_us: microseconds, with the layers within it.
        backward_us: likewise.
        self_us: of both, without the layers within it.
        share: of the step, of both with the layers within it.
    """

    name: str
    kind: str
    forward_us: float
    backward_us: float
    self_us: float
    share: float


def of_host(hosts: Iterable[Host]) -> dict[tuple[int, str], float]:
    """Microseconds of each layer by itself, by its number and the part of the step, summed over the steps."""
    times: dict[tuple[int, str], float] = defaultdict(float)
    for host in hosts:
        for segments in host.segments.values():
            for one in segments:
                if one.layer is not None:
                    times[one.layer, one.part] += one.end - one.begin
    return times


def layers_of(
    layers: Sequence[Layer], times: Mapping[tuple[int, str], float], step_us: float
) -> list[LayerTime]:
    """The layers, that with the most time of its own first.

    Args:
        layers: all that were called.
        times: microseconds of each by itself, by its number and the part of the step.
        step_us: the step.
    """
    own: dict[tuple[str, str, str], float] = defaultdict(float)
    whole: dict[tuple[str, str, str], float] = defaultdict(float)
    places = {(layer.root, layer.path): number for number, layer in enumerate(layers)}
    names = names_of(layers)
    for (number, part), us in times.items():
        if part not in _PHASES:
            continue
        own[names[number], layers[number].kind, part] += us
        for around in _around(layers[number], number, places):
            whole[names[around], layers[around].kind, part] += us
    found = {(name, kind) for name, kind, _ in whole}
    rows = []
    for name, kind in found:
        forward, backward = (whole[name, kind, part] for part in _PHASES)
        self_us = sum(own[name, kind, part] for part in _PHASES)
        rows.append(LayerTime(name, kind, forward, backward, self_us, (forward + backward) / step_us))
    return sorted(rows, key=lambda row: (-row.self_us, row.name))


def names_of(layers: Sequence[Layer]) -> list[str]:
    """What layers are called; the outermost module is named, too, where there are several with layers."""
    alone = len({layer.root for number, layer in enumerate(layers) if layer.root != number}) < 2
    names = []
    for layer in layers:
        root = layers[layer.root].kind
        names.append(f"{root}.{layer.path}" if layer.path and not alone else layer.path or root)
    return names


def _around(layer: Layer, number: int, places: Mapping[tuple[int, str], int]) -> Iterable[int]:
    """A layer and those that it lies in."""
    yield number
    path = layer.path
    while path:
        path = path.rpartition(".")[0]
        around = places.get((layer.root, path))
        if around is not None:
            yield around
