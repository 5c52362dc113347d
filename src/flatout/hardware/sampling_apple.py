"""The GPU of Apple silicon: named, its values unknown (`powermetrics`, which has them, is for root only)."""

from __future__ import annotations

import platform

from flatout.hardware.sample import GpuReading, GpuSample


class AppleGpu:
    """The GPU of an Apple chip, where this machine is one."""

    def __init__(self) -> None:
        self._here = platform.system() == "Darwin" and platform.machine() == "arm64"
        self._said = False

    def read(self, first: int = 0) -> GpuReading:
        """The GPU, with the index `first`, or nothing."""
        if not self._here:
            return GpuReading()
        notes = [] if self._said else [f"GPU {first}: macOS tells its use to root only (sudo powermetrics)"]
        self._said = True
        return GpuReading([GpuSample(first, "Apple GPU")], notes=notes)
