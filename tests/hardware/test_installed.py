"""A GPU is described from what torch and NVML say of it, and what they do not say is unknown."""

import dataclasses
import json

import pytest
import torch
from recorded_gpus import CUDA, FakeNvml, card, properties

from flatout.hardware.gpu import Link
from flatout.hardware.installed import installed_gpus

WITHIN = 0.03


@pytest.fixture
def devices(monkeypatch):
    """Makes torch see GPUs: `devices(properties, …)`."""

    def see(*found):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: bool(found))
        monkeypatch.setattr(torch.cuda, "device_count", lambda: len(found))
        monkeypatch.setattr(torch.cuda, "get_device_properties", lambda index: found[index])
        monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (5 << 30, 24 << 30))
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)

    see()
    return see


@pytest.mark.parametrize("name", CUDA)
def test_bandwidth_and_rates_are_those_the_maker_publishes(devices, name):
    devices(properties(name))
    (gpu,) = installed_gpus(FakeNvml())
    computed = {"bandwidth": gpu.bandwidth / 1e9} | {k: v / 1e12 for k, v in gpu.rates.items()}
    for figure, published in CUDA[name]["maker"].items():
        assert computed[figure] == pytest.approx(published, rel=WITHIN), figure


def test_torch_and_nvml_are_joined(devices):
    name = "NVIDIA GeForce RTX 4090"
    devices(properties(name))
    library = FakeNvml(card(name))
    (gpu,) = installed_gpus(library)
    assert (gpu.device, gpu.backend, gpu.architecture, gpu.capability) == (
        "cuda:0", "CUDA", "Ada Lovelace", (8, 9),
    )  # fmt: skip
    assert (gpu.multiprocessors, gpu.bus_bits, gpu.l2_bytes) == (128, 384, 72 << 20)
    assert (gpu.memory_bytes, gpu.memory_free_bytes) == (25_386_352_640, 23 << 30)
    assert (gpu.power_limit_watts, gpu.power_default_watts) == (450, 450)
    assert (gpu.pcie, gpu.pcie_max) == (Link(1, 16), Link(4, 16))
    assert (gpu.driver, gpu.driver_cuda) == ("580.65.06", "13.0")
    assert gpu.clock_mhz == 2520 and gpu.clock_is_rated
    assert library.open == 0
    assert json.loads(json.dumps(gpu.to_dict()))["pcie"] == {"generation": 1, "lanes": 16}


def test_devices_find_their_cards_though_nvml_counts_otherwise(devices):
    """CUDA puts the fastest card first, NVML goes along the bus."""
    fast, slow = "NVIDIA GeForce RTX 4090", "NVIDIA GeForce GTX 1080 Ti"
    devices(properties(fast), properties(slow, uuid=None, pci_bus_id=2))
    place = dataclasses.make_dataclass("PciInfo", ["busId"])
    cards = [
        card(slow, PciInfo=place(b"00000000:02:00.0"), EnforcedPowerLimit=250_000),
        card(fast, EnforcedPowerLimit=400_000),
    ]
    first, second = installed_gpus(FakeNvml(*cards))
    assert (first.name, first.power_limit_watts) == (fast, 400)
    assert (second.name, second.power_limit_watts) == (slow, 250)


def test_a_card_that_torch_does_not_use_is_shown_from_nvml_alone(devices):
    (gpu,) = installed_gpus(FakeNvml(card("NVIDIA GeForce RTX 4090")))
    assert gpu.device is None
    assert gpu.multiprocessors == 128
    assert gpu.bandwidth == pytest.approx(1008e9, rel=WITHIN)
    assert gpu.clock_mhz == 3105 and gpu.clock_is_rated is False


@pytest.mark.parametrize("missing", [None, *card("x")], ids=str)
def test_whatever_nvml_refuses_is_unknown_and_the_rest_is_there(devices, missing):
    name = "NVIDIA GeForce RTX 4090"
    devices(properties(name))
    answers = {k: v for k, v in card(name).items() if k != missing and missing is not None}
    (gpu,) = installed_gpus(FakeNvml(answers))
    assert gpu.bandwidth and gpu.rates and gpu.memory_free_bytes
    if missing in ("EnforcedPowerLimit", None):
        assert gpu.power_limit_watts is None
    if missing in ("MaxPcieLinkWidth", None):
        assert gpu.pcie_max is None
    if missing in ("MemoryInfo", None):
        assert gpu.memory_free_bytes == 5 << 30  # CUDA's own answer


def test_zeros_of_a_driver_are_unknown(devices):
    name = "NVIDIA GeForce RTX 4090"
    nothing = {key: 0 for key in CUDA[name]["props"] if key not in ("major", "minor")}
    devices(properties(name, **nothing))
    zeros = {key: 0 for key in card(name) if key not in ("Name", "UUID", "PciInfo", "CudaComputeCapability")}
    (gpu,) = installed_gpus(FakeNvml(card(name) | zeros))
    for field in ("multiprocessors", "bandwidth", "bus_bits", "l2_bytes", "clock_mhz", "power_limit_watts",
                  "pcie", "pcie_max", "memory_clock_mhz"):  # fmt: skip
        assert getattr(gpu, field) is None, field
    assert gpu.rates == {}


def test_a_card_nobody_has_heard_of_has_unknown_rates(devices):
    devices(properties("NVIDIA H200", major=99, name="NVIDIA Z9000"))
    (gpu,) = installed_gpus(FakeNvml())
    assert (gpu.architecture, gpu.rates) == (None, {})
    assert gpu.bandwidth


def test_a_card_that_is_lost_keeps_its_line(devices, monkeypatch):
    def lost(index):
        raise RuntimeError("CUDA error: unspecified launch failure")

    devices(None)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lost)
    (gpu,) = installed_gpus(FakeNvml(card("NVIDIA GeForce RTX 4090")))
    assert (gpu.device, gpu.name, gpu.multiprocessors) == ("cuda:0", "NVIDIA GeForce RTX 4090", 128)
    (gpu,) = installed_gpus(FakeNvml())
    assert (gpu.device, gpu.name, gpu.memory_bytes) == ("cuda:0", "an unnamed GPU", 24 << 30)


def test_without_nvml_and_without_a_gpu_nothing_is_found(devices, monkeypatch):
    assert installed_gpus(FakeNvml()) == ()
    broken = FakeNvml()
    monkeypatch.setattr(broken, "nvmlInit", lambda: (_ for _ in ()).throw(FakeNvml.NVMLError("no driver")))
    assert installed_gpus(broken) == ()


def test_the_gpu_of_a_mac(devices, monkeypatch):
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    monkeypatch.setattr(torch.backends.mps, "get_name", lambda: "Apple M3 Max", raising=False)
    monkeypatch.setattr(torch.backends.mps, "get_core_count", lambda: 40)
    monkeypatch.setattr(torch.mps, "recommended_max_memory", lambda: 48 << 30)
    (gpu,) = installed_gpus(FakeNvml())
    assert (gpu.device, gpu.backend, gpu.architecture, gpu.unified) == ("mps", "MPS", "M3 Max", True)
    assert (gpu.multiprocessors, gpu.memory_bytes, gpu.bandwidth) == (40, 48 << 30, None)


def test_an_xpu(devices, monkeypatch):
    known = dataclasses.make_dataclass(
        "Properties", ["name", "total_memory", "gpu_eu_count", "driver_version"]
    )
    monkeypatch.setattr(torch.xpu, "is_available", lambda: True)
    monkeypatch.setattr(torch.xpu, "device_count", lambda: 1)
    arc = known("Intel(R) Arc(TM) B580 Graphics", 12 << 30, 160, "1.6.31294")
    monkeypatch.setattr(torch.xpu, "get_device_properties", lambda index: arc)
    (gpu,) = installed_gpus(FakeNvml())
    assert (gpu.device, gpu.backend, gpu.multiprocessors) == ("xpu:0", "XPU", 160)
    assert (gpu.memory_bytes, gpu.memory_free_bytes, gpu.bandwidth) == (12 << 30, None, None)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA GPU")
def test_every_gpu_of_this_machine_tells_what_matters():
    gpus = [gpu for gpu in installed_gpus() if gpu.device]
    assert len(gpus) == torch.cuda.device_count()
    for gpu in gpus:
        assert gpu.architecture and gpu.multiprocessors and gpu.memory_bytes and gpu.memory_free_bytes
        assert gpu.memory_free_bytes <= gpu.memory_bytes * 1.05
        assert gpu.bandwidth and gpu.rates["float32"] > 0
