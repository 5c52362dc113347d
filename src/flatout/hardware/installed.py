"""The GPUs that are here: those torch uses, and those of NVIDIA's that it does not.

Nothing comes from a table of cards: torch's properties of a device and NVML's answers are joined, and what
both keep to themselves stays None. No CUDA context is made where NVML answers, so looking takes no memory on
the card and little time.
"""

from __future__ import annotations

import platform
import subprocess
from typing import Any

from flatout.hardware.ask import ask, positive, whole
from flatout.hardware.gpu import Gpu, Link
from flatout.hardware.gpu_rates import Chip, architecture, bandwidth, cores_per_multiprocessor, rates
from flatout.hardware.nvml import Card, Nvml, open_nvml


def installed_gpus(library: Any = None, *, touch: bool = True) -> tuple[Gpu, ...]:
    """All GPUs that are here, those torch uses first.

    Args:
        touch: whether torch is asked; not where its driver may hang or end the process.
        library: a module like `pynvml`; the installed one where None.

    Example:
        >>> all(gpu.name for gpu in installed_gpus())
        True
    """
    opened = open_nvml(library)
    nvml = opened if isinstance(opened, Nvml) else None
    try:
        cards = nvml.cards() if nvml else []
        if not touch:
            return tuple(_joined(nvml, card, None, None) for card in cards)
        return (*_of_cuda(nvml, cards), *_of_mps(), *_of_xpu())
    finally:
        if nvml:
            nvml.close()


def _of_cuda(nvml: Nvml | None, cards: list[Card]) -> list[Gpu]:
    """CUDA and ROCm devices, each with its card in NVML; then the cards that no device of torch is."""
    import torch

    waiting = list(cards)
    found = []
    count = (ask(torch.cuda.device_count) or 0) if ask(torch.cuda.is_available) else 0
    for index in range(count):
        properties = ask(lambda index=index: torch.cuda.get_device_properties(index))  # type: ignore[misc]
        card = _card_of(properties, waiting, count)
        if card:
            waiting.remove(card)
        found.append(_joined(nvml, card, properties, f"cuda:{index}"))
    return [*found, *(_joined(nvml, card, None, None) for card in waiting)]


def _card_of(properties: Any, cards: list[Card], devices: int) -> Card | None:
    """The card in NVML that a device of torch is; NVML counts by the bus, CUDA as it likes."""
    if _gfx(properties):
        return None
    uuid = getattr(properties, "uuid", None)
    for card in cards:
        if uuid is not None and str(uuid).lower() in (card.uuid() or "").lower():
            return card
    place = _place(properties)
    for card in cards:
        if place is not None and (card.bus_id() or "").lower().endswith(place):
            return card
    return cards[0] if len(cards) == devices == 1 else None


def _place(properties: Any) -> str | None:
    """Where torch says that a device sits, as NVML would end it: "0000:01:00.0"."""
    return ask(
        lambda: f"{properties.pci_domain_id:04x}:{properties.pci_bus_id:02x}:{properties.pci_device_id:02x}.0"
    )


def _joined(nvml: Nvml | None, card: Card | None, properties: Any, device: str | None) -> Gpu:
    """A GPU from what torch and NVML each know."""
    name = getattr(properties, "name", None) or (_told(card, "name")) or "an unnamed GPU"
    gfx = _gfx(properties)
    chip = Chip(name, None if gfx else _capability(properties, card), gfx)
    clock, rated = _clock(properties, card)
    memory_clock = positive(getattr(properties, "memory_clock_rate", None))
    memory_mhz = memory_clock / 1e3 if memory_clock else positive(_told(card, "max_memory_clock"))
    bus = whole(getattr(properties, "memory_bus_width", None)) or whole(_told(card, "bus_bits"))
    multiprocessors = whole(getattr(properties, "multi_processor_count", None)) or _from_cores(chip, card)
    free, total = _memory(properties, card, device)
    return Gpu(
        name=name,
        backend="ROCm" if gfx else "CUDA",
        device=device,
        architecture=architecture(chip),
        capability=chip.capability,
        gfx=gfx,
        multiprocessors=multiprocessors,
        clock_mhz=clock,
        clock_is_rated=rated,
        memory_bytes=total,
        memory_free_bytes=free,
        unified=None if properties is None else bool(getattr(properties, "is_integrated", False)),
        memory_clock_mhz=memory_mhz,
        bus_bits=bus,
        bandwidth=bandwidth(chip, memory_mhz, bus),
        l2_bytes=whole(getattr(properties, "L2_cache_size", None)),
        rates=rates(chip, multiprocessors, clock),
        power_limit_watts=positive(_told(card, "power_limit")),
        power_default_watts=positive(_scaled(_get(card, "PowerManagementDefaultLimit"))),
        pcie=_link(_told(card, "pcie")),
        pcie_max=_link(_told(card, "max_pcie")),
        bus_id=card.bus_id() if card else _place(properties),
        uuid=(_told(card, "uuid")) or _text(getattr(properties, "uuid", None)),
        driver=nvml.driver() if nvml and not gfx else None,
        driver_cuda=_version(nvml.cuda()) if nvml and not gfx else None,
    )


def _gfx(properties: Any) -> str | None:
    """ROCm's name of the chip, "gfx942" of "gfx942:sramecc+:xnack-"; CUDA has the card's name there."""
    told = str(getattr(properties, "gcnArchName", None) or "").partition(":")[0]
    return told if told.startswith("gfx") else None


def _capability(properties: Any, card: Card | None) -> tuple[int, int] | None:
    major, minor = getattr(properties, "major", None), getattr(properties, "minor", None)
    if isinstance(major, int) and isinstance(minor, int):
        return major, minor
    return card.compute_capability() if card else None


def _clock(properties: Any, card: Card | None) -> tuple[float | None, bool | None]:
    """The clock in MHz, and whether it is the rated one: CUDA tells that, NVML the highest of all."""
    rated = positive(getattr(properties, "clock_rate", None))
    if rated:
        return rated / 1e3, True
    highest = positive(_told(card, "max_clock"))
    return highest, None if highest is None else False


def _from_cores(chip: Chip, card: Card | None) -> int | None:
    """Multiprocessors where only NVML is asked, which counts their cores."""
    cores, each = whole(_get(card, "NumGpuCores")), cores_per_multiprocessor(chip)
    return cores // each if cores and each else None


def _memory(properties: Any, card: Card | None, device: str | None) -> tuple[int | None, int | None]:
    """Free and total bytes. CUDA's own answer makes a context on the card, so NVML is asked first."""
    import torch

    info = _get(card, "MemoryInfo")
    told = None if info is None else ask(lambda: (int(info.free), int(info.total)))
    if told is None and device is not None:
        told = ask(lambda: torch.cuda.mem_get_info(device))
    free, total = told or (None, None)
    return free, whole(getattr(properties, "total_memory", None)) or whole(total)


def _of_mps() -> list[Gpu]:
    """Apple's GPU, which torch calls "mps"."""
    import torch

    if not ask(torch.backends.mps.is_available):
        return []
    name = ask(torch.backends.mps.get_name) or ask(_apple_chip) or "Apple GPU"
    return [
        Gpu(
            name=name,
            backend="MPS",
            device="mps",
            architecture=name.removeprefix("Apple ") if name.startswith("Apple M") else None,
            multiprocessors=whole(ask(torch.backends.mps.get_core_count)),
            memory_bytes=whole(ask(torch.mps.recommended_max_memory)),
            unified=True,
            driver=ask(lambda: f"macOS {platform.mac_ver()[0]}"),
        )
    ]


def _apple_chip() -> str:
    told = subprocess.run(
        ["/usr/sbin/sysctl", "-n", "machdep.cpu.brand_string"],
        capture_output=True,
        text=True,
        timeout=2,
        check=True,
    )
    return told.stdout.strip()


def _of_xpu() -> list[Gpu]:
    """Intel's GPUs. How their memory clock turns into bandwidth is not documented, so that is unknown."""
    import torch

    xpu: Any = torch.xpu
    if not ask(xpu.is_available):
        return []
    found = []
    for index in range(ask(xpu.device_count) or 0):
        properties = ask(lambda index=index: xpu.get_device_properties(index))  # type: ignore[misc]
        memory = ask(lambda index=index: xpu.mem_get_info(index))  # type: ignore[misc]
        found.append(
            Gpu(
                name=getattr(properties, "name", None) or "an unnamed GPU",
                backend="XPU",
                device=f"xpu:{index}",
                multiprocessors=whole(getattr(properties, "gpu_eu_count", None)),
                memory_bytes=whole(getattr(properties, "total_memory", None)),
                memory_free_bytes=None if memory is None else int(memory[0]),
                unified=ask(lambda properties=properties: bool(properties.is_integrated_gpu)),  # type: ignore[misc]
                bus_bits=whole(getattr(properties, "memory_bus_width", None)),
                l2_bytes=whole(getattr(properties, "last_level_cache_size", None)),
                uuid=_text(getattr(properties, "uuid", None)),
                driver=_text(getattr(properties, "driver_version", None)),
            )
        )
    return found


def _told(card: Card | None, what: str) -> Any:
    """What a method of a card gives; None without a card."""
    return getattr(card, what)() if card else None


def _get(card: Card | None, what: str) -> Any:
    """What NVML tells of a card; None without a card."""
    return card.get(what) if card else None


def _link(pair: tuple[int, int] | None) -> Link | None:
    """A link that is not one (0 lanes, where a card hangs on NVLink or in a virtual machine) is unknown."""
    return Link(*pair) if pair and all(pair) else None


def _scaled(milliwatts: Any) -> float | None:
    return None if milliwatts is None else float(milliwatts) / 1e3


def _version(pair: tuple[int, int] | None) -> str | None:
    return None if pair is None else f"{pair[0]}.{pair[1]}"


def _text(value: Any) -> str | None:
    return None if value is None else str(value)
