"""NVIDIA's management library (NVML), asked so that no answer can end the program.

A driver may lack a function, a card may not support it, permission may be missing, a card may be lost in the
middle of a run. Each of these costs one value: it is None, and `error` says why. `pynvml` (the package
nvidia-ml-py) is imported when NVML is opened, not before; torch never is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

# Codes of NVML that decide what is wrong with a machine (nvml.h, nvmlReturn_t).
NO_PERMISSION = 4
DRIVER_NOT_LOADED = 9
LIBRARY_NOT_FOUND = 12
FUNCTION_NOT_FOUND = 13
GPU_IS_LOST = 15
RESET_REQUIRED = 16
VERSION_MISMATCH = 18

# What a card says of its clocks (nvml.h, NVML_CLOCKS_EVENT_REASON_*), in words. An idle card is not slowed.
_GPU_IDLE = 0x1
_SLOWED = {
    0x2: "clocks set by an application",
    0x4: "power limit",
    0x8: "hardware slowdown",
    0x10: "kept in step with other cards",
    0x20: "heat",
    0x40: "heat",
    0x80: "power brake",
    0x100: "clocks of the display",
}


@dataclass(frozen=True)
class NvmlError:
    """Why NVML gave no answer.

    Attributes:
        code: NVML's own, such as `GPU_IS_LOST`; None where nvidia-ml-py is missing or does not know the call.
        message: NVML's words, or what is missing.
    """

    code: int | None
    message: str


@dataclass(frozen=True)
class Memory:
    """Memory of a card, in bytes."""

    used: int
    total: int


@dataclass(frozen=True)
class CardProcess:
    """A process on a card.

    Attributes:
        pid: its number; inside a container it may be the number outside.
        memory: bytes; None where the driver does not tell (Windows, some containers).
        computes: whether it runs CUDA rather than only draws.
    """

    pid: int
    memory: int | None
    computes: bool


class _Asker:
    """Calls the functions of a `pynvml` by name; `error` is why the last call gave nothing."""

    def __init__(self, library: Any) -> None:
        self.library = library
        self.error: NvmlError | None = None
        mismatch = getattr(library, "NVMLLibraryMismatchError", library.NVMLError)
        # What a library that is older or newer than the driver may raise, beside NVML's own error.
        self._other = (mismatch, AttributeError, OSError, UnicodeDecodeError)

    def ask(self, function: str, *args: Any, **options: Any) -> Any:
        """What `pynvml.function(*args)` gives, or None where it fails; `error` then says why."""
        self.error = None
        try:
            return getattr(self.library, function)(*args, **options)
        except self.library.NVMLError as error:
            self.error = _told(error)
        except self._other as error:
            self.error = NvmlError(None, str(error))
        return None


class Card(_Asker):
    """One NVIDIA GPU. Every method gives None for what is not known.

    Attributes:
        index: NVML's number of the card, counted from 0 in the order of the bus; CUDA_VISIBLE_DEVICES does
            not change it.
    """

    def __init__(self, library: Any, index: int, handle: Any) -> None:
        super().__init__(library)
        self.index = index
        self._handle = handle

    def get(self, what: str, *args: Any, **options: Any) -> Any:
        """`pynvml.nvmlDeviceGet<what>` of this card, or None: for what no method below reads."""
        return self.ask(f"nvmlDeviceGet{what}", self._handle, *args, **options)

    def first_of(self, *questions: tuple[Any, ...]) -> Any:
        """The answer to the first form of a question that the driver knows; where none, `error` of the first.

        Args:
            questions: each the arguments of `get`; drivers old and new know different ones.
        """
        error = None
        for what, *arguments in questions:
            answer = self.get(what, *arguments)
            if answer is not None:
                return answer
            error = error or self.error
        self.error = error
        return None

    def name(self) -> str | None:
        """As the driver writes it: "NVIDIA GeForce RTX 4090"."""
        name = self.get("Name")
        return None if name is None else str(name)

    def uuid(self) -> str | None:
        """ "GPU-…", the same after a reboot."""
        uuid = self.get("UUID")
        return None if uuid is None else str(uuid)

    def bus_id(self) -> str | None:
        """Where it sits on the PCI bus: "00000000:01:00.0"."""
        pci = self.get("PciInfo")
        return None if pci is None else _text(pci.busId)

    def memory(self) -> Memory | None:
        """Used (without what the driver reserves, where it tells) and total."""
        second = getattr(self.library, "nvmlMemory_v2", None)
        info = self.first_of(("MemoryInfo", second), ("MemoryInfo",))
        return None if info is None else Memory(int(info.used), int(info.total))

    def utilisation(self) -> float | None:
        """Share of the time in which some kernel ran, 0 to 1. How much of the card it filled is not in it."""
        rates = self.get("UtilizationRates")
        return None if rates is None else rates.gpu / 100

    def memory_utilisation(self) -> float | None:
        """Share of the last sample in which memory was read or written, 0 to 1."""
        rates = self.get("UtilizationRates")
        return None if rates is None else rates.memory / 100

    def temperature(self) -> float | None:
        """Of the GPU's core, in °C."""
        return _number(self.first_of(("Temperature", 0), ("TemperatureV", 0)))

    def slowdown_temperature(self) -> float | None:
        """Where the hardware begins to slow the card down, in °C."""
        return _number(self.get("TemperatureThreshold", 1))

    def shutdown_temperature(self) -> float | None:
        """Where the hardware shuts the card down, in °C."""
        return _number(self.get("TemperatureThreshold", 0))

    def power(self) -> float | None:
        """Drawn now, in watts."""
        return _number(self.get("PowerUsage"), 1e-3)

    def power_limit(self) -> float | None:
        """The limit that holds now, in watts."""
        return _number(self.get("EnforcedPowerLimit"), 1e-3)

    def clock(self) -> float | None:
        """Of the multiprocessors now, in MHz."""
        return _number(self.get("ClockInfo", 1))

    def max_clock(self) -> float | None:
        """The highest clock of the multiprocessors, in MHz."""
        return _number(self.get("MaxClockInfo", 1))

    def memory_clock(self) -> float | None:
        """Of the memory now, in MHz."""
        return _number(self.get("ClockInfo", 2))

    def max_memory_clock(self) -> float | None:
        """The highest clock of the memory, in MHz."""
        return _number(self.get("MaxClockInfo", 2))

    def bus_bits(self) -> int | None:
        """Width of the memory bus, in bits."""
        bits = self.get("MemoryBusWidth")
        return None if bits is None else int(bits)

    def compute_capability(self) -> tuple[int, int] | None:
        """(9, 0) for Hopper."""
        capability = self.get("CudaComputeCapability")
        return None if capability is None else (int(capability[0]), int(capability[1]))

    def pcie(self) -> tuple[int, int] | None:
        """Generation and lanes of the link now. An idle card lowers its generation to save power."""
        return _pair(self.get("CurrPcieLinkGeneration"), self.get("CurrPcieLinkWidth"))

    def max_pcie(self) -> tuple[int, int] | None:
        """Generation and lanes that card and slot can both do."""
        return _pair(self.get("MaxPcieLinkGeneration"), self.get("MaxPcieLinkWidth"))

    def slowed_by(self) -> tuple[str, ...] | None:
        """Why the clocks are lower than they could be, in words; () where nothing slows them."""
        reasons = self._clock_reasons()
        if reasons is None:
            return None
        words = (word for bit, word in _SLOWED.items() if reasons & bit)
        return tuple(dict.fromkeys(words))  # two bits may say "heat"

    def idle(self) -> bool | None:
        """Whether the card has lowered its clocks because nothing runs on it."""
        reasons = self._clock_reasons()
        return None if reasons is None else bool(reasons & _GPU_IDLE)

    def _clock_reasons(self) -> int | None:
        # Drivers before 535 know the second name only.
        reasons = self.first_of(("CurrentClocksEventReasons",), ("CurrentClocksThrottleReasons",))
        return None if reasons is None else int(reasons)

    def processes(self) -> tuple[CardProcess, ...] | None:
        """Those that hold memory of the card, to compute or to draw; the largest first."""
        computing, drawing = self._running("Compute"), self._running("Graphics")
        if computing is None and drawing is None:
            return None
        found: dict[int, CardProcess] = {}
        for computes, group in ((False, drawing), (True, computing)):  # who does both computes
            for process in group or ():
                memory = process.usedGpuMemory
                found[process.pid] = CardProcess(
                    process.pid, None if memory is None else int(memory), computes
                )
        return tuple(sorted(found.values(), key=lambda process: -(process.memory or 0)))

    def _running(self, kind: str) -> Any:
        return self.first_of(*((f"{kind}RunningProcesses{form}",) for form in ("_v3", "_v2", "")))


class Nvml(_Asker):
    """NVML, opened. `close()` when done.

    Attributes:
        missing: the cards that `cards()` could get no handle of, with the reason.

    Example:
        >>> nvml = open_nvml()
        >>> names = [card.name() for card in nvml.cards()] if isinstance(nvml, Nvml) else [nvml.message]
    """

    def __init__(self, library: Any) -> None:
        super().__init__(library)
        self.missing: dict[int, NvmlError] = {}

    def cards(self) -> list[Card]:
        """Those that give a handle, in NVML's order; the others (lost, no permission) are in `missing`."""
        self.missing = {}
        cards = []
        for index in range(self.ask("nvmlDeviceGetCount") or 0):
            handle = self.ask("nvmlDeviceGetHandleByIndex", index)
            if handle is None:
                self.missing[index] = self.error or NvmlError(None, "no answer")
            else:
                cards.append(Card(self.library, index, handle))
        return cards

    def driver(self) -> str | None:
        """Version of the driver: "580.65.06"."""
        version = self.ask("nvmlSystemGetDriverVersion")
        return None if version is None else _text(version)

    def cuda(self) -> tuple[int, int] | None:
        """The newest CUDA this driver can run: (13, 0)."""
        version = self.ask("nvmlSystemGetCudaDriverVersion")
        return None if version is None else (version // 1000, version % 1000 // 10)

    def close(self) -> None:
        """Let NVML go."""
        self.ask("nvmlShutdown")


def open_nvml(library: Any = None) -> Nvml | NvmlError:
    """NVML ready to be asked, or why it cannot be.

    Args:
        library: a module like `pynvml`; the installed one where None.
    """
    if library is None:
        try:
            import pynvml
        except ImportError:
            return NvmlError(None, "the package nvidia-ml-py is not installed")
        library = pynvml
    nvml = Nvml(library)
    nvml.ask("nvmlInit")
    return nvml.error or nvml


def _told(error: Any) -> NvmlError:
    return NvmlError(getattr(error, "value", None), str(error))


def _number(value: Any, scale: float = 1) -> float | None:
    return None if value is None else float(value) * scale


def _pair(first: Any, second: Any) -> tuple[int, int] | None:
    return None if first is None or second is None else (int(first), int(second))


def _text(value: Any) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)
