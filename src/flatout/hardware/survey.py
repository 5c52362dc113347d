"""What hardware and software is here: CPU, GPUs, torch, health, and what was measured of them."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from flatout.hardware.survey_parts import cpu_here, health_here, named, torch_is_for_gpus
from flatout.hardware.survey_words import headline, plain, sections

if TYPE_CHECKING:
    from flatout.hardware.cpu import Cpu
    from flatout.hardware.doctor import Diagnosis
    from flatout.hardware.gpu import Gpu
    from flatout.hardware.measure import Measured
    from flatout.hardware.torch_build import TorchBuild

_HEALTH_TIMEOUT = 30.0  # seconds; a driver that hangs is found out then
_MEASURE_SECONDS = 16.0  # for all devices; a figure that has begun is finished


@dataclass(frozen=True)
class Survey:
    """What is here. Printed, it is the table of `flatout devices`.

    Attributes:
        cpu: the CPU, and what this process may use of it.
        gpus: those torch uses, in its order; then NVIDIA cards it does not use.
        torch: how it is built and set.
        health: whether torch can use a GPU, and if not, why; None where that could not be found out.
        measured: for each device that was measured, now or earlier with these versions, its peaks.
    """

    cpu: Cpu
    gpus: tuple[Gpu, ...]
    torch: TorchBuild
    health: Diagnosis | None
    measured: dict[str, Measured] = field(default_factory=dict)

    @property
    def device(self) -> str:
        """The device training takes unless told: the first GPU torch uses, else "cpu"."""
        return next((gpu.device for gpu in self.gpus if gpu.device), "cpu")

    def to_dict(self) -> dict[str, Any]:
        """All of it as plain values, for JSON; null is unknown."""
        cpu = asdict(self.cpu)
        cpu |= {"usable_cpus": self.cpu.usable_cpus, "usable_memory_bytes": self.cpu.usable_memory_bytes}
        health = None
        if self.health is not None:
            health = {key: value for key, value in self.health.document().items() if key != "evidence"}
        return {
            "device": self.device,
            "headline": headline(self),
            "cpu": cpu,
            "gpus": [gpu.to_dict() for gpu in self.gpus],
            "torch": self.torch.to_dict(),
            "health": health,
            "measured": {place: found.to_dict() for place, found in self.measured.items()},
        }

    def __str__(self) -> str:
        return plain(headline(self), sections(self))

    def __repr__(self) -> str:
        return str(self)


def devices(*, measure: bool = False, on_step: Callable[[str], None] | None = None) -> Survey:
    """Which CPU and GPUs are here, how good they are, and whether torch can use them.

    What cannot be found out is None, and shown as unknown; nothing is raised. The GPU is tried in a child
    process, which a broken driver may hang or bring down without harm here.

    Args:
        measure: measure peaks of the CPU and of each kind of GPU now, in under 20 seconds; else those that
            were measured before are shown.
        on_step: called with what is measured next.

    Returns:
        The survey; `print(flatout.devices())` shows it.

    Example:
        >>> survey = devices()
        >>> survey.device == "cpu" or bool(survey.gpus)
        True
    """
    with ThreadPoolExecutor(1) as pool:
        # A child that tries the GPU imports torch while this process does.
        trying = pool.submit(health_here, _HEALTH_TIMEOUT) if torch_is_for_gpus() else None
        from flatout.hardware.installed import installed_gpus
        from flatout.hardware.torch_build import torch_build

        build = torch_build()
        health = trying.result() if trying else health_here(_HEALTH_TIMEOUT, build)
    # The child has ended: nothing disturbs what is measured, and a driver that hangs has been found out.
    gpus = tuple(named(gpu) for gpu in installed_gpus(touch=health is None or health.sees_gpu))
    measured = _measured(gpus) | (_measure(gpus, on_step) if measure else {})
    return Survey(cpu_here(), gpus, build, health, measured)


def _measured(gpus: tuple[Gpu, ...]) -> dict[str, Measured]:
    """What was measured before."""
    from flatout.hardware.measure import kept_measurement

    kept = ((place, kept_measurement(place)) for place in ("cpu", *(gpu.device for gpu in gpus)) if place)
    return {place: found for place, found in kept if found is not None}


def _measure(gpus: tuple[Gpu, ...], on_step: Callable[[str], None] | None) -> dict[str, Measured]:
    """Measure the CPU and the first GPU of each kind now."""
    from flatout.hardware.measure import measure_all

    kinds = {gpu.name: gpu.device for gpu in reversed(gpus) if gpu.device}
    places = [*reversed(kinds.values()), "cpu"]
    until = time.perf_counter() + _MEASURE_SECONDS
    found = {}
    for left, place in zip(range(len(places), 0, -1), places, strict=True):
        say = on_step and (lambda what, place=place: on_step(f"{place}: {what}"))  # type: ignore[misc]
        seconds = (until - time.perf_counter()) / left
        found[place] = measure_all(place, seconds=seconds, on_step=say)
    return found
