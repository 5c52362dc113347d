"""How fast a device really is, as far as the floor of a step needs it: float32 products, and copying.

Measured once in under a second and kept, see `peaks_file`. Where everything was measured (`measure_all`), its
figures are used instead.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import torch

from flatout.hardware import peaks_file
from flatout.hardware.repeat import Work, repeated

_SECONDS = 0.1  # for each figure and number of threads
_CACHED = 1 << 20  # bytes; a copy of this size stays in the caches of a CPU or GPU
_LARGE = 1 << 26
_SIDES = {"cpu": 1024}
_SIDE = 4096


@dataclass(frozen=True)
class Peaks:
    """The measured limits of a device.

    Attributes:
        device: its name.
        flops: float32 operations a second.
        bandwidth: bytes a second from and to its main memory.
        cache_bandwidth: bytes a second for what stays in its caches.
        threads: how many threads of a CPU did it; 0 for a GPU.
        measured: the date.
        versions: of torch and Python.
    """

    device: str
    flops: float
    bandwidth: float
    cache_bandwidth: float
    threads: int
    measured: str
    versions: str

    def bandwidth_for(self, moved: int) -> float:
        """The bandwidth for work that touches so many bytes."""
        return self.cache_bandwidth if moved <= _CACHED else self.bandwidth


def peaks_of(device: torch.device | str) -> Peaks:
    """The peaks of a device: those that are kept, or measured now."""
    device = torch.device(device)
    kept = kept_peaks(device)
    if kept is not None:
        return kept
    peaks = measure(device)
    keep_peaks(device, peaks)
    return peaks


def kept_peaks(device: torch.device | str) -> Peaks | None:
    """The peaks of a device where they were measured before, else None."""
    try:
        found = Peaks(**(peaks_file.read("peaks", _key(torch.device(device))) or {}))
        return found if min(found.flops, found.bandwidth, found.cache_bandwidth) > 0 else None
    except TypeError:
        return None


def keep_peaks(device: torch.device, peaks: Peaks, precision: str | None = None) -> None:
    """Keep the peaks of a device for the next time.

    Args:
        device: which.
        peaks: of it.
        precision: of float32 products they were measured with: "ieee", "tf32" or "bf16"; None: that which
            is set.
    """
    peaks_file.write("peaks", _key(device, precision), asdict(peaks))


def measure(device: torch.device) -> Peaks:
    """Measure a device now."""
    side = _SIDES.get(device.type, _SIDE)
    with torch.no_grad():
        a, b, c = (torch.rand(side, side, device=device) for _ in range(3))
        product = _best(lambda: torch.mm(a, b, out=c), device)
        bandwidth = _copying(_LARGE, device)
        return Peaks(
            device=peaks_file.name_of(device),
            flops=2 * side**3 / product,
            bandwidth=bandwidth,
            # A copy this small cannot fill a GPU, whose caches are not slower than its memory for that.
            cache_bandwidth=max(bandwidth, _copying(_CACHED // 2, device)),
            threads=torch.get_num_threads() if device.type == "cpu" else 0,
            measured=peaks_file.today(),
            versions=peaks_file.versions(),
        )


def _copying(size: int, device: torch.device) -> float:
    """Bytes a second, read and written, of a copy from one tensor of `size` bytes to another."""
    source, target = (torch.ones(size // 4, device=device) for _ in range(2))
    return 2 * size / _best(lambda: target.copy_(source), device)


def _best(work: Work, device: torch.device) -> float:
    """The shortest time of many runs: what disturbs a run only makes it longer."""
    return min(min(times) for times in over_threads(work, device, _SECONDS))


def over_threads(work: Work, device: torch.device, seconds: float) -> list[list[float]]:
    """The seconds of each run, on a CPU with one thread and with all, else once.

    On a busy machine, or for little work, one thread is the faster.
    """
    threads = torch.get_num_threads()
    tried = sorted({1, threads}) if device.type == "cpu" else [threads]
    try:
        times = []
        for count in tried:
            torch.set_num_threads(count)
            times.append(repeated(work, device, seconds))
        return times
    finally:
        torch.set_num_threads(threads)


def products_of(device: torch.device) -> Any:
    """Where torch keeps the precision of float32 products on a device, as `fp32_precision`.

    `torch.get_float32_matmul_precision` refuses to answer where a program has set that.
    """
    backends: Any = torch.backends
    return (backends.cuda if device.type == "cuda" else backends.mkldnn).matmul


def _key(device: torch.device, precision: str | None = None) -> str:
    """Products in reduced precision are other work, so they have a place of their own."""
    precision = precision or products_of(device).fp32_precision
    reduced = f", float32 products in {precision}" if precision in ("tf32", "bf16") else ""
    return peaks_file.key_of(device) + reduced
