"""A `Sampler` reads what the machine does, again and again, from every source there is.

    sampling_cpu      cores, memory, processes        psutil
    sampling_nvidia   NVIDIA GPUs                     NVML
    sampling_amd      AMD GPUs                        the files of the Linux driver amdgpu
    sampling_apple    the GPU of Apple silicon        it is shown, its values are unknown

Every reading may fail on its own: it is None then, the others go on, and a note says so once.
"""

from __future__ import annotations

import time
from typing import Protocol

from flatout.hardware.sample import GpuReading, OnGpu, Sample
from flatout.hardware.sampling_amd import AmdGpus
from flatout.hardware.sampling_apple import AppleGpu
from flatout.hardware.sampling_cpu import Cpu, Processes
from flatout.hardware.sampling_nvidia import NvidiaGpus


class GpuSource(Protocol):
    """Where GPUs can be read."""

    def read(self, first: int = 0) -> GpuReading:
        """All GPUs of this source now, the same ones every time; their indices begin at `first`."""
        ...


class Sampler:
    """Reads the machine; `close()` when done.

    Use of cores and of processes is the mean since the last sample (at first: since the Sampler was made), so
    samples that lie less than 0.1 s apart tell little.

    Example:
        >>> sampler = Sampler()
        >>> sample = sampler.sample()
        >>> len(sample.cpu.cores or ()), [gpu.name for gpu in sample.gpus]  # doctest: +SKIP
        (8, ['NVIDIA H200'])
        >>> sampler.close()
    """

    def __init__(self, nvidia: NvidiaGpus | None = None, amd: AmdGpus | None = None) -> None:
        """Find what can be read; a source that is given is used instead of the machine's own."""
        self._nvidia = nvidia or NvidiaGpus()
        self._sources: tuple[GpuSource, ...] = (self._nvidia, amd or AmdGpus(), AppleGpu())
        self._cpu = Cpu()
        self._processes = Processes()
        self._is_first = True

    def sample(self) -> Sample:
        """The machine now. It never raises for a reading that fails."""
        all_gpus = GpuReading()
        on_gpus: dict[int, tuple[OnGpu, ...]] = {}
        for source in self._sources:
            reading = source.read(len(all_gpus.gpus))
            all_gpus.gpus += reading.gpus
            all_gpus.notes += reading.notes
            on_gpus |= reading.processes
        cpu = self._cpu.read()
        notes = all_gpus.notes
        if self._is_first:
            self._is_first = False
            if not all_gpus.gpus:
                notes.append(f"no GPU is watched (NVIDIA: {self._nvidia.trouble}); flatout doctor tells why")
            unknown = [name for name in ("temperature", "clock") if getattr(cpu, name) is None]
            if unknown:
                notes.append(f"the CPU does not tell: {', '.join(unknown)}")
        processes = self._processes.read(on_gpus)
        return Sample(time.time(), cpu, tuple(all_gpus.gpus), processes, tuple(notes))

    def close(self) -> None:
        """Let the sources go."""
        self._nvidia.close()
