"""How fast a device really is: the float32 rate of a large matrix product, and what copying moves.

Measured once in under a second and kept, with date and versions, in `peaks.json` in the cache folder:
`$FLATOUT_CACHE`, else `flatout` in the user's cache folder. Delete the file to measure anew.
"""

from __future__ import annotations

import datetime
import json
import os
import platform
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

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
    path = _path()
    _write(path, {**_read(path), _key(device): asdict(peaks)})
    return peaks


def kept_peaks(device: torch.device | str) -> Peaks | None:
    """The peaks of a device where they were measured before, else None."""
    try:
        found = Peaks(**_read(_path())[_key(torch.device(device))])
        return found if min(found.flops, found.bandwidth, found.cache_bandwidth) > 0 else None
    except (KeyError, TypeError):
        return None


def measure(device: torch.device) -> Peaks:
    """Measure a device now."""
    side = _SIDES.get(device.type, _SIDE)
    with torch.no_grad():
        a, b, c = (torch.rand(side, side, device=device) for _ in range(3))
        product = _best(lambda: torch.mm(a, b, out=c), device)
        return Peaks(
            device=_name(device),
            flops=2 * side**3 / product,
            bandwidth=_copying(_LARGE, device),
            cache_bandwidth=_copying(_CACHED // 2, device),
            threads=torch.get_num_threads() if device.type == "cpu" else 0,
            measured=datetime.datetime.now(datetime.UTC).date().isoformat(),
            versions=_versions(),
        )


def _copying(size: int, device: torch.device) -> float:
    """Bytes a second, read and written, of a copy from one tensor of `size` bytes to another."""
    source, target = (torch.ones(size // 4, device=device) for _ in range(2))
    return 2 * size / _best(lambda: target.copy_(source), device)


def _best(work: Callable[[], object], device: torch.device) -> float:
    """The shortest time of many runs: what disturbs a run only makes it longer.

    On a CPU one thread is tried as well as all: on a busy machine, or for little work, it is the faster.
    """
    threads = torch.get_num_threads()
    best = float("inf")
    try:
        for tried in {1, threads} if device.type == "cpu" else {threads}:
            torch.set_num_threads(tried)
            until = time.perf_counter() + _SECONDS
            work()  # the first run finds cold caches
            best = min(best, _seconds(work, device))
            while time.perf_counter() < until:
                best = min(best, _seconds(work, device))
    finally:
        torch.set_num_threads(threads)
    return best


def _seconds(work: Callable[[], object], device: torch.device) -> float:
    if device.type != "cuda":
        begun = time.perf_counter()
        work()
        if device.type != "cpu":
            torch.accelerator.synchronize(device)
        return time.perf_counter() - begun
    event: Any = torch.cuda.Event
    begin, end = event(enable_timing=True), event(enable_timing=True)
    with torch.cuda.device(device):
        begin.record()
        work()
        end.record()
        end.synchronize()
    return float(begin.elapsed_time(end)) / 1e3


def _key(device: torch.device) -> str:
    threads = f", {torch.get_num_threads()} threads" if device.type == "cpu" else ""
    return f"{_name(device)}{threads}, {_versions()}"


def _versions() -> str:
    return f"torch {torch.__version__}, Python {platform.python_version()}"


def _name(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    if device.type != "cpu":
        return device.type
    info = Path("/proc/cpuinfo")
    rows = info.read_text().splitlines() if info.exists() else []
    named = (row.split(":", 1)[1].strip() for row in rows if row.startswith("model name"))
    return next(named, platform.processor() or platform.machine())


def _path() -> Path:
    return _cache_folder() / "peaks.json"


def _cache_folder() -> Path:
    wish = os.environ.get("FLATOUT_CACHE")
    base = os.environ.get("XDG_CACHE_HOME") or str(Path("~/.cache").expanduser())
    return Path(wish) if wish else Path(base) / "flatout"


def _read(path: Path) -> dict[str, Any]:
    """What is kept; nothing where the file is missing or damaged."""
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return kept if isinstance(kept, dict) else {}


def _write(path: Path, kept: dict[str, Any]) -> None:
    """Keep it; where that cannot be, it is measured again next time."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with tempfile.NamedTemporaryFile("w", dir=path.parent, delete=False, encoding="utf-8") as aside:
            json.dump(kept, aside, indent=1)
        Path(aside.name).replace(path)
    except OSError:
        return
