"""AMD GPUs, from the files that the Linux driver amdgpu keeps in /sys.

Their meaning and units: docs.kernel.org/gpu/amdgpu (gpu_busy_percent, mem_info_vram_used, …) and, for hwmon,
docs.kernel.org/hwmon/sysfs-interface (thousandths of °C, millionths of watts, hertz). A card that sleeps, and
a file that this card does not have, give None. Which processes are on a card is not read.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from flatout.hardware.sample import GpuReading, GpuSample

_DRM = Path("/sys/class/drm")
_AMD = "0x1002"
_CARD = re.compile(r"card\d+$")  # not card0-HDMI-A-1, which is a socket
# The sensors of a card, the one that is compared with others first.
_SENSORS = ("edge", "junction", "mem")


class AmdGpus:
    """All AMD GPUs that amdgpu drives."""

    def __init__(self, drm: Path = _DRM) -> None:
        """Find the cards below `drm`."""
        self._cards = [card / "device" for card in _cards(drm) if _text(card / "device/vendor") == _AMD]
        self._said: set[Path] = set()

    def read(self, first: int = 0) -> GpuReading:
        """All cards now; their indices begin at `first`."""
        reading = GpuReading()
        for index, device in enumerate(self._cards, first):
            sample = _read(device, index)
            reading.gpus.append(sample)
            told = (sample.utilisation, sample.memory_used, sample.temperature, sample.power, sample.clock)
            names = ("utilisation", "memory", "temperature", "power", "clock")
            missing = [name for name, value in zip(names, told, strict=True) if value is None]
            if missing and device not in self._said:
                self._said.add(device)
                reading.notes.append(f"GPU {index} does not tell: {', '.join(missing)} (not in {device})")
        return reading


def _cards(drm: Path) -> list[Path]:
    try:
        found = [path for path in drm.iterdir() if _CARD.match(path.name)]
    except OSError:
        return []
    return sorted(found, key=lambda path: int(path.name.removeprefix("card")))


def _read(device: Path, index: int) -> GpuSample:
    busy = _number(device / "gpu_busy_percent", 0.01)
    used, total = (_number(device / f"mem_info_vram_{which}") for which in ("used", "total"))
    sensors = _monitor(device)
    temperature = _temperature_sensor(sensors) if sensors else None
    return GpuSample(
        index,
        _text(device / "product_name") or f"AMD GPU {_text(device / 'device') or ''}".strip(),
        utilisation=busy if busy is None or busy <= 1 else None,
        memory_used=None if used is None else int(used),
        memory_total=None if total is None else int(total),
        temperature=_number(temperature, 1e-3),
        slowdown_temperature=_number(_beside(temperature, "crit"), 1e-3),
        power=_first(_number(_in(sensors, name), 1e-6) for name in ("power1_average", "power1_input")),
        power_limit=_number(_in(sensors, "power1_cap"), 1e-6),
        clock=_number(_in(sensors, "freq1_input"), 1e-6),
        max_clock=_highest_clock(device),
    )


def _monitor(device: Path) -> Path | None:
    """The folder of the card's sensors; its number changes from boot to boot."""
    try:
        return next(iter(sorted((device / "hwmon").iterdir())), None)
    except OSError:
        return None


def _temperature_sensor(sensors: Path) -> Path | None:
    """The file of the temperature to show. Instinct cards have no "edge"."""
    try:
        labels = {_text(path): path for path in sensors.glob("temp*_label")}
    except OSError:
        return None
    for name in _SENSORS:
        if name in labels:
            return _beside(labels[name], "input")
    return sensors / "temp1_input"


def _beside(path: Path | None, kind: str) -> Path | None:
    """temp1_label -> temp1_<kind>."""
    return None if path is None else path.with_name(f"{path.name.rpartition('_')[0]}_{kind}")


def _highest_clock(device: Path) -> float | None:
    """The largest of the lines of pp_dpm_sclk: "1: 2525Mhz *"."""
    clocks = re.findall(r":\s*(\d+)\s*mhz", (_text(device / "pp_dpm_sclk") or "").lower())
    return max((float(clock) for clock in clocks), default=None)


def _first(values: Iterable[float | None]) -> float | None:
    return next((value for value in values if value is not None), None)


def _in(folder: Path | None, name: str) -> Path | None:
    return None if folder is None else folder / name


def _number(path: Path | None, scale: float = 1) -> float | None:
    text = None if path is None else _text(path)
    try:
        return None if text is None else float(text) * scale
    except ValueError:
        return None


def _text(path: Path) -> str | None:
    """What a file holds; None where it is not there, may not be read, or the card sleeps (EPERM, EBUSY)."""
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip() or None
    except OSError:
        return None
