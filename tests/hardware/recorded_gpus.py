"""GPUs as torch and NVML describe them, and stand-ins that give these descriptions.

The figures of a card are those its CUDA properties show (`deviceQuery`). `maker` holds what its maker says:
GB/s, and TFLOP/s of dense matrix products that are summed in float32.
"""

from types import SimpleNamespace

CUDA = {
    "NVIDIA H100 80GB HBM3": {
        "props": {"major": 9, "minor": 0, "multi_processor_count": 132, "clock_rate": 1_980_000,
                  "memory_clock_rate": 2_619_000, "memory_bus_width": 5120, "L2_cache_size": 52_428_800,
                  "total_memory": 85_029_158_912},
        "maker": {"bandwidth": 3350, "float32": 66.9, "tf32": 494.7, "bfloat16": 989.4, "float16": 989.4,
                  "float8": 1978.9, "float64": 66.9},
    },
    "NVIDIA H200": {
        "props": {"major": 9, "minor": 0, "multi_processor_count": 132, "clock_rate": 1_980_000,
                  "memory_clock_rate": 3_201_000, "memory_bus_width": 6144, "L2_cache_size": 62_914_560,
                  "total_memory": 150_122_397_696},
        "maker": {"bandwidth": 4800, "float32": 66.9, "tf32": 494.7, "bfloat16": 989.4, "float8": 1978.9},
    },
    "NVIDIA H100 NVL": {
        "props": {"major": 9, "minor": 0, "multi_processor_count": 132, "clock_rate": 1_785_000,
                  "memory_clock_rate": 2_619_000, "memory_bus_width": 6016, "L2_cache_size": 62_914_560,
                  "total_memory": 99_949_740_032},
        "maker": {"bandwidth": 3900, "float32": 60.3, "bfloat16": 835.5},
    },
    "NVIDIA A100-SXM4-80GB": {
        "props": {"major": 8, "minor": 0, "multi_processor_count": 108, "clock_rate": 1_410_000,
                  "memory_clock_rate": 1_593_000, "memory_bus_width": 5120, "L2_cache_size": 41_943_040,
                  "total_memory": 85_097_971_712},
        "maker": {"bandwidth": 2039, "float32": 19.5, "tf32": 156, "bfloat16": 312, "float64": 19.5},
    },
    "NVIDIA L40S": {
        "props": {"major": 8, "minor": 9, "multi_processor_count": 142, "clock_rate": 2_520_000,
                  "memory_clock_rate": 9_001_000, "memory_bus_width": 384, "L2_cache_size": 100_663_296,
                  "total_memory": 47_697_362_944},
        "maker": {"bandwidth": 864, "float32": 91.6, "tf32": 183, "bfloat16": 362, "float8": 733},
    },
    "NVIDIA GeForce RTX 4090": {
        "props": {"major": 8, "minor": 9, "multi_processor_count": 128, "clock_rate": 2_520_000,
                  "memory_clock_rate": 10_501_000, "memory_bus_width": 384, "L2_cache_size": 75_497_472,
                  "total_memory": 25_386_352_640},
        "maker": {"bandwidth": 1008, "float32": 82.6, "tf32": 82.6, "bfloat16": 165.2, "float16": 165.2,
                  "float8": 330.3},
    },
    "NVIDIA GeForce RTX 3090": {
        "props": {"major": 8, "minor": 6, "multi_processor_count": 82, "clock_rate": 1_695_000,
                  "memory_clock_rate": 9_751_000, "memory_bus_width": 384, "L2_cache_size": 6_291_456,
                  "total_memory": 25_446_907_904},
        "maker": {"bandwidth": 936, "float32": 35.6, "tf32": 35.6, "bfloat16": 71},
    },
    "NVIDIA GeForce RTX 5090": {
        "props": {"major": 12, "minor": 0, "multi_processor_count": 170, "clock_rate": 2_407_000,
                  "memory_clock_rate": 14_001_000, "memory_bus_width": 512, "L2_cache_size": 100_663_296,
                  "total_memory": 33_668_988_928},
        "maker": {"bandwidth": 1792, "float32": 104.8, "tf32": 104.8, "bfloat16": 209.5, "float8": 419},
    },
    "Tesla T4": {
        "props": {"major": 7, "minor": 5, "multi_processor_count": 40, "clock_rate": 1_590_000,
                  "memory_clock_rate": 5_001_000, "memory_bus_width": 256, "L2_cache_size": 4_194_304,
                  "total_memory": 15_828_320_256},
        "maker": {"bandwidth": 320, "float32": 8.1, "float16": 65},
    },
    "Tesla V100-SXM2-16GB": {
        "props": {"major": 7, "minor": 0, "multi_processor_count": 80, "clock_rate": 1_530_000,
                  "memory_clock_rate": 877_000, "memory_bus_width": 4096, "L2_cache_size": 6_291_456,
                  "total_memory": 16_945_512_448},
        "maker": {"bandwidth": 900, "float32": 15.7, "float16": 125, "float64": 7.8},
    },
    "NVIDIA GeForce GTX 1080 Ti": {
        "props": {"major": 6, "minor": 1, "multi_processor_count": 28, "clock_rate": 1_582_000,
                  "memory_clock_rate": 5_505_000, "memory_bus_width": 352, "L2_cache_size": 2_883_584,
                  "total_memory": 11_720_130_560},
        "maker": {"bandwidth": 484, "float32": 11.34},
    },
    "AMD Instinct MI300X": {
        "props": {"major": 9, "minor": 4, "gcnArchName": "gfx942:sramecc+:xnack-",
                  "multi_processor_count": 304, "clock_rate": 2_100_000, "memory_clock_rate": 1_300_000,
                  "memory_bus_width": 8192, "L2_cache_size": 4_194_304, "total_memory": 206_141_652_992},
        "maker": {"bandwidth": 5325, "float32": 163.4, "bfloat16": 1307.4, "float8": 2614.9},
    },
}  # fmt: skip


def properties(model, **changes):
    """What `torch.cuda.get_device_properties` gives for a card; CUDA has its name as `gcnArchName`, too."""
    place = {"pci_domain_id": 0, "pci_bus_id": 0x17, "pci_device_id": 0}
    whose = {"name": model, "uuid": f"uuid-of-{model.split()[-1]}", "is_integrated": 0, "gcnArchName": model}
    return SimpleNamespace(**(place | whose | CUDA[model]["props"] | changes))


class FakeNvml:
    """A `pynvml` with cards that answer what they are given and refuse all else.

    Args:
        cards: for each card what each `nvmlDeviceGet…` answers; an exception is raised.
        driver: its version.
    """

    class NVMLError(Exception):
        value = 3

    def __init__(self, *cards, driver="580.65.06"):
        self.cards, self.driver, self.open = cards, driver, 0

    def nvmlInit(self):  # noqa: N802
        self.open += 1

    def nvmlShutdown(self):  # noqa: N802
        self.open -= 1

    def nvmlDeviceGetCount(self):  # noqa: N802
        return len(self.cards)

    def nvmlDeviceGetHandleByIndex(self, index):  # noqa: N802
        return self.cards[index]

    def nvmlSystemGetDriverVersion(self):  # noqa: N802
        return self.driver

    def nvmlSystemGetCudaDriverVersion(self):  # noqa: N802
        return 13000

    def __getattr__(self, name):
        what = name.removeprefix("nvmlDeviceGet")
        if what == name:
            raise AttributeError(name)

        def answer(handle, *args, **options):
            value = handle.get((what, *args) if args else what, self.NVMLError("Not Supported"))
            if isinstance(value, Exception):
                raise value
            return value

        return answer


def card(name, **answers):
    """What NVML tells of a card in a good slot that does nothing."""
    return {
        "Name": name,
        "UUID": f"GPU-uuid-of-{name.split()[-1]}",
        "PciInfo": SimpleNamespace(busId="00000000:17:00.0"),
        "MemoryInfo": SimpleNamespace(total=24 << 30, free=23 << 30, used=1 << 30),
        ("MaxClockInfo", 1): 3105,
        ("MaxClockInfo", 2): 10501,
        "MemoryBusWidth": 384,
        "NumGpuCores": 16384,
        "CudaComputeCapability": (8, 9),
        "EnforcedPowerLimit": 450_000,
        "PowerManagementDefaultLimit": 450_000,
        "CurrPcieLinkGeneration": 1,
        "CurrPcieLinkWidth": 16,
        "MaxPcieLinkGeneration": 4,
        "MaxPcieLinkWidth": 16,
        **answers,
    }
