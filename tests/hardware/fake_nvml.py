# ruff: noqa: N802, N815
"""NVML of a machine as recorded answers: a module like `pynvml`, whose calls can be made to fail."""

from types import SimpleNamespace

import pynvml

H200 = {
    "Name": "NVIDIA H200",
    "UUID": "GPU-5a9b",
    "MemoryInfo": SimpleNamespace(used=13_207_024_435, total=150_754_820_096),
    "UtilizationRates": SimpleNamespace(gpu=37, memory=12),
    "Temperature": 41,
    "TemperatureThreshold": {0: 90, 1: 87},
    "PowerUsage": 118_300,
    "EnforcedPowerLimit": 700_000,
    "ClockInfo": {1: 1980, 2: 3201},
    "MaxClockInfo": {1: 1980, 2: 3201},
    "MemoryBusWidth": 6144,
    "CudaComputeCapability": (9, 0),
    "CurrPcieLinkGeneration": 5,
    "CurrPcieLinkWidth": 16,
    "PciInfo": SimpleNamespace(busId=b"00000000:19:00.0"),
    "CurrentClocksEventReasons": 0x4,
    "ComputeRunningProcesses_v3": [SimpleNamespace(pid=4242, usedGpuMemory=12_000_000_000)],
    "GraphicsRunningProcesses_v3": [SimpleNamespace(pid=17, usedGpuMemory=None)],
}


class FakeNvml:
    """`cards` answer by the name after nvmlDeviceGet; `broken` maps (card, name or "*") to an error code."""

    NVMLError = pynvml.NVMLError
    NVMLLibraryMismatchError = pynvml.NVMLLibraryMismatchError
    nvmlMemory_v2 = pynvml.nvmlMemory_v2

    def __init__(self, *cards, init_error=None):
        self.cards = [dict(card) for card in cards]
        self.init_error = init_error
        self.broken = {}
        self.is_open = False

    def nvmlInit(self):
        if self.init_error is not None:
            raise pynvml.NVMLError(self.init_error)
        self.is_open = True

    def nvmlShutdown(self):
        self.is_open = False

    def nvmlDeviceGetCount(self):
        return len(self.cards)

    def nvmlDeviceGetHandleByIndex(self, index):
        self._fail(index, "Handle")
        return index

    def nvmlSystemGetDriverVersion(self):
        return "580.65.06"

    def nvmlSystemGetCudaDriverVersion(self):
        return 13020

    def _fail(self, card, what):
        code = self.broken.get((card, what), self.broken.get((card, "*")))
        if code is not None:
            raise pynvml.NVMLError(code)

    def __getattr__(self, function):
        what = function.removeprefix("nvmlDeviceGet")
        if what == function or not any(what in card for card in self.cards):
            raise AttributeError(function)

        def answer(card, *args, **options):
            self._fail(card, what)
            value = self.cards[card].get(what)
            if value is None:
                raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED)
            return value[args[0]] if isinstance(value, dict) else value

        return answer
