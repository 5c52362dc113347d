"""What was measured of a device, in words, beside what the card can do on paper."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from flatout.hardware.figures import duration, per_cent, scaled

if TYPE_CHECKING:
    from flatout.hardware.gpu import Gpu, Link
    from flatout.hardware.measure import Measured
    from flatout.hardware.repeat import Spread

# Bytes a second of a lane in one direction, after its coding.
_LANE: Final = {1: 0.25e9, 2: 0.5e9, 3: 0.985e9, 4: 1.969e9, 5: 3.938e9, 6: 7.563e9}
_DTYPES: Final = (
    ("float32", "float32 products"),
    ("tf32", "TF32 products"),
    ("bfloat16", "bfloat16 products"),
    ("float16", "float16 products"),
    ("float64", "float64 products"),
)


def measured_rows(measured: Measured, gpu: Gpu | None) -> Iterator[tuple[str, str]]:
    """Label and text of each figure: the median, the quartiles, and the share of the paper figure.

    Args:
        measured: of a device.
        gpu: the same device, where it is a GPU; the paper figures of a CPU are unknown.
    """
    paper = paper_figures(gpu) if gpu else {}
    for dtype, label in _DTYPES:
        if dtype in measured.products:
            yield label, _rate(measured.products[dtype], "FLOP/s", paper.get(dtype))
    for label, spread, figure in (
        ("memory copies", measured.copy, "bandwidth"),
        ("copies in cache", measured.cache_copy, None),
        ("to GPU, pinned", measured.to_device_pinned, "link"),
        ("to GPU, pageable", measured.to_device_pageable, "link"),
        ("to CPU, pinned", measured.to_host_pinned, "link"),
        ("to CPU, pageable", measured.to_host_pageable, "link"),
    ):
        if spread:
            yield label, _rate(spread, "B/s", paper.get(figure) if figure else None)
    if measured.launch:
        what = "to start an operator" if gpu else "for an operator on one number"
        yield "launch", f"{_time(measured.launch)} {what}"
    if measured.sync:
        yield "sync", f"{_time(measured.sync)} for one .item()"
    threads = f", {measured.threads} threads" if measured.threads > 1 else ""
    took = f" in {duration(measured.took)}"
    yield "when", f"{measured.measured}{took}, {measured.versions}{threads}"


def paper_figures(gpu: Gpu) -> dict[str, float]:
    """What the card can do at most: rates by dtype, "bandwidth", and "link" of its PCIe at its best.

    >>> from flatout.hardware.gpu import Gpu, Link
    >>> paper_figures(Gpu("a card", "CUDA", bandwidth=1e12, rates={"tf32": 8e13}, pcie_max=Link(4, 16)))
    {'tf32': 80000000000000.0, 'bandwidth': 1000000000000.0, 'link': 31504000000.0}
    """
    figures = dict(gpu.rates)
    for name, value in (("bandwidth", gpu.bandwidth), ("link", _link_rate(gpu.pcie_max))):
        if value:
            figures[name] = value
    return figures


def _link_rate(link: Link | None) -> float | None:
    lane = _LANE.get(link.generation) if link else None
    return lane * link.lanes if link and lane else None


def _rate(spread: Spread, unit: str, paper: float | None) -> str:
    text = f"{scaled(spread.median, unit)} ({_quartiles(spread, unit)})"
    return f"{text}, {per_cent(spread.median / paper)} of {scaled(paper, unit)}" if paper else text


def _quartiles(spread: Spread, unit: str) -> str:
    """The unit once, where both have the same.

    >>> from flatout.hardware.repeat import Spread
    >>> _quartiles(Spread(2e9, 1e9, 3e9, 4e9, 5), "B/s"), _quartiles(Spread(2e9, 1e8, 3e9, 4e9, 5), "B/s")
    ('1 to 3 GB/s', '100 MB/s to 3 GB/s')
    """
    return _between(scaled(spread.low, unit), scaled(spread.high, unit))


def _time(spread: Spread) -> str:
    return f"{duration(spread.median)} ({_between(duration(spread.low), duration(spread.high))})"


def _between(low: str, high: str) -> str:
    number, unit = low.split(" ")
    return f"{number} to {high}" if high.endswith(f" {unit}") else f"{low} to {high}"
