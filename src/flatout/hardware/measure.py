"""Everything that can be measured of a device in a few seconds.

Matrix products by dtype, copies in its memory, copies from and to the host, what starting an operator costs,
and what one `.item()` costs. Each is warmed up and repeated; the figures and their spread are kept with date
and versions, see `peaks_file`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import Tensor

from flatout.hardware import peaks_file
from flatout.hardware.ask import ask
from flatout.hardware.free_memory import free_memory
from flatout.hardware.peaks import Peaks, keep_peaks, over_threads, products_of
from flatout.hardware.repeat import Spread, Work, repeated, spread_of, synchronize

_DTYPES = {
    "float32": torch.float32,
    "tf32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
    "float64": torch.float64,
}
_SECONDS = 0.3  # for each figure and number of threads
_LONGEST_PRODUCT = 0.05  # seconds; larger matrices are not tried
_SMALLEST_SIDE, _LARGEST_SIDE = 128, 8192
_CACHED = 1 << 19
_COPIED = 1 << 28
_TRANSFERRED = 1 << 26
_BURST = 100  # operators; fewer than a queue of CUDA holds, so that the host never waits


@dataclass(frozen=True)
class Measured:
    """What was measured of a device. None is what it does not have, or what there was no time for.

    Attributes:
        place: torch's name for it, such as "cuda:0".
        device: its own name.
        products: operations a second of a matrix product, by dtype.
        copy: bytes a second, read and written, from memory to memory.
        cache_copy: the same for what stays in the caches.
        to_device_pinned, to_device_pageable: bytes a second from the host's memory.
        to_host_pinned, to_host_pageable: bytes a second to the host's memory.
        launch: seconds the host needs to start an operator that does next to nothing; a CPU has then done it.
        sync: seconds one `.item()` takes when there is nothing to wait for.
        threads: torch's threads, where it is a CPU; 0 for others.
        took: seconds all of it took.
        measured: the date.
        versions: of torch and Python.
    """

    place: str
    device: str
    products: dict[str, Spread] = field(default_factory=dict)
    copy: Spread | None = None
    cache_copy: Spread | None = None
    to_device_pinned: Spread | None = None
    to_device_pageable: Spread | None = None
    to_host_pinned: Spread | None = None
    to_host_pageable: Spread | None = None
    launch: Spread | None = None
    sync: Spread | None = None
    threads: int = 0
    took: float = 0.0
    measured: str = ""
    versions: str = ""

    def to_dict(self) -> dict[str, Any]:
        """For JSON; null is unknown."""
        return asdict(self)

    @classmethod
    def from_dict(cls, document: dict[str, Any]) -> Measured:
        """The opposite of `to_dict`.

        Raises:
            TypeError: the document is no such measurement.
        """
        values = dict(document)
        for name, value in values.items():
            if name == "products":
                values[name] = {dtype: Spread(**spread) for dtype, spread in value.items()}
            elif isinstance(value, dict):
                values[name] = Spread(**value)
        return cls(**values)


def measure_all(
    device: torch.device | str, *, seconds: float = 15.0, on_step: Callable[[str], None] | None = None
) -> Measured:
    """Measure a device now, in under 20 seconds, and keep the result, which the floor of steps uses.

    Args:
        device: "cpu", "cuda:0" and so on.
        seconds: when they are over, what is left stays unknown; a figure that has begun is finished.
        on_step: called with what is measured next.
    """
    device = torch.device(device)
    say = on_step or (lambda _: None)
    begun = time.perf_counter()
    found: dict[str, Any] = {"products": {}}
    with torch.no_grad():
        for name, what, figure in _figures(device):
            if time.perf_counter() - begun > seconds:
                break
            say(what)
            # A dtype, or a kind of memory, that the device has not: that figure alone is unknown.
            spread = ask(figure)
            if name in _DTYPES:
                found["products"] |= {} if spread is None else {name: spread}
            else:
                found[name] = spread
    result = Measured(
        place=str(device),
        device=peaks_file.name_of(device),
        **found,
        threads=torch.get_num_threads() if device.type == "cpu" else 0,
        took=time.perf_counter() - begun,
        measured=peaks_file.today(),
        versions=peaks_file.versions(),
    )
    _keep(device, result)
    return result


def kept_measurement(device: torch.device | str) -> Measured | None:
    """What was measured of a device before, else None."""
    device = torch.device(device)
    kept = ask(lambda: peaks_file.read("measured", _key(device)))
    # Where it is may be another place now: CUDA_VISIBLE_DEVICES changes the numbers.
    return None if kept is None else ask(lambda: Measured.from_dict(kept | {"place": str(device)}))


def _key(device: torch.device) -> str:
    """Two cards of one kind may sit on different links."""
    properties = ask(lambda: torch.get_device_module(device.type).get_device_properties(device))
    uuid = getattr(properties, "uuid", None)
    return peaks_file.key_of(device) + (f", {uuid}" if uuid else "")


def _keep(device: torch.device, result: Measured) -> None:
    peaks_file.write("measured", _key(device), result.to_dict())
    copy, cached = result.copy, result.cache_copy
    for dtype, precision in (("float32", "ieee"), ("tf32", "tf32")):
        product = result.products.get(dtype)
        if product and copy and cached:
            peaks = Peaks(
                result.device,
                product.best,
                copy.best,
                max(copy.best, cached.best),
                result.threads,
                result.measured,
                result.versions,
            )
            keep_peaks(device, peaks, precision)


def _figures(device: torch.device) -> Iterator[tuple[str, str, Callable[[], Spread | None]]]:
    """Each figure: its name in `Measured`, in words, and how it is measured; what matters most first."""
    yield "float32", "matrix products in float32", lambda: _product(device, "float32")
    yield "copy", "copies in memory", lambda: _copy(device, _COPIED)
    yield "cache_copy", "copies in the caches", lambda: _copy(device, _CACHED)
    yield "launch", "starting operators", lambda: _launch(device)
    yield "sync", "waiting for the device", lambda: _sync(device)
    if device.type in ("cuda", "xpu"):
        for pinned in (True, False):
            memory = "pinned" if pinned else "pageable"
            yield (
                f"to_device_{memory}",
                f"copies from {memory} memory to the device",
                lambda pinned=pinned: _transfer(device, pinned=pinned, to_device=True),  # type: ignore[misc]
            )
            yield (
                f"to_host_{memory}",
                f"copies from the device to {memory} memory",
                lambda pinned=pinned: _transfer(device, pinned=pinned, to_device=False),  # type: ignore[misc]
            )
    for dtype in ("bfloat16", "float16", "tf32", "float64"):
        yield dtype, f"matrix products in {dtype}", lambda dtype=dtype: _product(device, dtype)  # type: ignore[misc]


def _product(device: torch.device, dtype: str) -> Spread | None:
    """The rate of a product of square matrices, the largest that suit the device."""
    if dtype == "tf32" and not _has_tf32(device):
        return None
    with _float32_products(device, "tf32" if dtype == "tf32" else "ieee"):
        side, last = _SMALLEST_SIDE, 0.0
        room = (free_memory(device) or 0) // 8
        while True:
            work = _mm(side, _DTYPES[dtype], device)
            last = min(repeated(work, device, 0.0))
            size = 3 * (2 * side) ** 2 * _DTYPES[dtype].itemsize
            if side == _LARGEST_SIDE or 8 * last > _LONGEST_PRODUCT or size > room:
                break
            side *= 2
        return _quickest(work, device).rate(2 * side**3)


def _mm(side: int, dtype: torch.dtype, device: torch.device) -> Work:
    a, b, c = (torch.rand(side, side, device=device).to(dtype) for _ in range(3))
    return lambda: torch.mm(a, b, out=c)


def _has_tf32(device: torch.device) -> bool:
    return (
        device.type == "cuda"
        and torch.version.hip is None
        and torch.cuda.get_device_capability(device) >= (8, 0)
    )


@contextmanager
def _float32_products(device: torch.device, precision: str) -> Iterator[None]:
    """Inside, float32 products are computed in that precision."""
    setting = products_of(device)
    before = setting.fp32_precision
    setting.fp32_precision = precision
    try:
        yield
    finally:
        setting.fp32_precision = before


def _quickest(work: Work, device: torch.device) -> Spread:
    """The spread with the number of threads that is the quicker, and the best of both."""
    spreads = [spread_of(times) for times in over_threads(work, device, _SECONDS)]
    quick = min(spreads, key=lambda spread: spread.median)
    return Spread(quick.median, quick.low, quick.high, min(s.best for s in spreads), quick.runs)


def _copy(device: torch.device, size: int) -> Spread:
    """The rate of a copy of `size` bytes, or fewer where there is little memory; each is read and written."""
    while size > _CACHED and size > (free_memory(device) or 0) // 8:
        size //= 2
    source, target = (torch.ones(size // 4, device=device) for _ in range(2))
    return _quickest(lambda: target.copy_(source), device).rate(2 * size)


def _transfer(device: torch.device, *, pinned: bool, to_device: bool) -> Spread:
    """The rate of a copy between the host's memory and the device's."""
    host = torch.empty(_TRANSFERRED, dtype=torch.uint8, pin_memory=pinned).fill_(1)
    here = torch.ones(_TRANSFERRED, dtype=torch.uint8, device=device)
    source, target = (host, here) if to_device else (here, host)

    def work() -> Tensor:
        return target.copy_(source, non_blocking=pinned)

    return spread_of(_by_the_clock(work, device)).rate(_TRANSFERRED)


def _by_the_clock(work: Work, device: torch.device, *, wait: bool = True) -> list[float]:
    """The seconds of each run on the host's clock: until the device is done, or, without `wait`, has all."""
    times: list[float] = []
    until = time.perf_counter() + _SECONDS
    while len(times) < 4 or time.perf_counter() < until:
        synchronize(device)
        begun = time.perf_counter()
        work()
        if wait:
            synchronize(device)
        times.append(time.perf_counter() - begun)
    synchronize(device)
    return times[1:]  # the first finds everything cold


def _launch(device: torch.device) -> Spread:
    """The seconds the host spends on starting one operator on a single number."""
    source, target = (torch.ones(1, device=device) for _ in range(2))

    def work() -> None:
        for _ in range(_BURST):
            torch.neg(source, out=target)

    return _bursts(work, device)


def _sync(device: torch.device) -> Spread:
    """The seconds of one `.item()`."""
    value = torch.ones(1, device=device)

    def work() -> None:
        for _ in range(_BURST):
            value.item()

    return _bursts(work, device)


def _bursts(work: Work, device: torch.device) -> Spread:
    """The seconds of one of the operators of a burst; the device is idle before."""
    return spread_of([seconds / _BURST for seconds in _by_the_clock(work, device, wait=False)])
