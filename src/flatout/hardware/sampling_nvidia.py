"""NVIDIA GPUs, through NVML. A card that fails in the middle goes on with unknown values."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flatout.hardware.nvml import GPU_IS_LOST, RESET_REQUIRED, Card, Memory, Nvml, NvmlError, open_nvml
from flatout.hardware.sample import GpuReading, GpuSample, OnGpu

# What a card is asked for in each sample: (the value, in words).
_READINGS: tuple[tuple[str, str], ...] = (
    ("utilisation", "utilisation"),
    ("memory", "memory"),
    ("temperature", "temperature"),
    ("power", "power"),
    ("clock", "clock"),
    ("slowed_by", "what slows it"),
    ("processes", "processes"),
)
# After one of these there is nothing to be had of a card.
_GONE = (GPU_IS_LOST, RESET_REQUIRED)


class NvidiaGpus:
    """All NVIDIA GPUs.

    Attributes:
        trouble: why there is none, or None.
    """

    def __init__(self, library: Any = None) -> None:
        """Open NVML; `library` is a module like `pynvml` (the installed one where None)."""
        opened = open_nvml(library)
        self._nvml: Nvml | None = opened if isinstance(opened, Nvml) else None
        self.trouble: str | None = opened.message if isinstance(opened, NvmlError) else None
        self._cards: list[_WatchedCard] = []
        self._notes: list[str] = []
        if self._nvml is not None:
            self._cards = [_WatchedCard(card) for card in self._nvml.cards()]
            self._notes = [
                f"NVIDIA GPU {index} cannot be read: {error.message}"
                for index, error in self._nvml.missing.items()
            ]
            if not self._cards:
                self.trouble = "NVML finds no card"

    def read(self, first: int = 0) -> GpuReading:
        """All cards now; their indices begin at `first`."""
        reading = GpuReading(notes=self._notes)
        self._notes = []
        for index, card in enumerate(self._cards, first):
            card.read_into(reading, index)
        return reading

    def close(self) -> None:
        """Let NVML go."""
        if self._nvml is not None:
            self._nvml.close()


class _WatchedCard:
    """A card with what does not change, and with what was already said to be missing."""

    def __init__(self, card: Card) -> None:
        self._card = card
        self._name = card.name()
        self._slowdown = card.slowdown_temperature()
        self._power_limit = card.power_limit()
        self._max_clock = card.max_clock()
        self._said: set[str] = set()

    def read_into(self, reading: GpuReading, index: int) -> None:
        values: dict[str, Any] = {}
        missing: list[tuple[str, NvmlError]] = []
        for reader, words in _READINGS:
            ask: Callable[[], Any] = getattr(self._card, reader)
            values[reader] = ask()
            if values[reader] is None and self._card.error is not None:
                missing.append((words, self._card.error))
        lost = next((error for _, error in missing if error.code in _GONE), None)
        if lost is None and len(missing) == len(_READINGS):
            lost = missing[0][1]
        self._note(reading, index, missing, lost)
        memory: Memory | None = values["memory"]
        utilisation = values["utilisation"]
        reading.gpus.append(
            GpuSample(
                index,
                self._name,
                # Drivers have been seen to give more than 100 %: that is no reading.
                utilisation=utilisation if utilisation is not None and utilisation <= 1 else None,
                memory_used=memory.used if memory else None,
                memory_total=memory.total if memory else None,
                temperature=values["temperature"],
                slowdown_temperature=self._slowdown,
                power=values["power"],
                power_limit=self._power_limit,
                clock=values["clock"],
                max_clock=self._max_clock,
                slowed_by=values["slowed_by"],
                error=lost.message if lost else None,
            )
        )
        if values["processes"] is not None:
            reading.processes[index] = tuple(OnGpu(p.pid, p.memory, p.computes) for p in values["processes"])

    def _note(
        self, reading: GpuReading, index: int, missing: list[tuple[str, NvmlError]], lost: NvmlError | None
    ) -> None:
        if lost is not None:
            if "all" not in self._said:
                self._said.add("all")
                reading.notes.append(f"GPU {index} gives no readings: {lost.message}")
            return
        new = [(words, error) for words, error in missing if words not in self._said]
        if new:
            self._said.update(words for words, _ in new)
            names = ", ".join(words for words, _ in new)
            reasons = " / ".join(dict.fromkeys(error.message for _, error in new))
            reading.notes.append(f"GPU {index} does not tell: {names} ({reasons})")
