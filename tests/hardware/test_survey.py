"""A survey says what is here, where training runs and why, and shows as unknown what nobody tells."""

import json

import pytest
import torch
from recorded_gpus import FakeNvml, card, properties

import flatout
from flatout.hardware import installed, measure, survey, survey_parts
from flatout.hardware.doctor import Evidence, diagnose
from flatout.hardware.doctor.evidence import PciDevice, Probe, System, Torch, TorchDevice
from flatout.hardware.gpu import Gpu, Link
from flatout.hardware.measure import Measured
from flatout.hardware.measured_words import measured_rows
from flatout.hardware.repeat import Spread
from flatout.hardware.survey_words import sections
from flatout.hardware.torch_build import TorchBuild

RTX = "NVIDIA GeForce RTX 4090"
ON_THE_BUS = (PciDevice("0000:17:00.0", "NVIDIA", "10de:2684", "nvidia"),)
HEALTHY = Evidence(
    System("linux"),
    pci=ON_THE_BUS,
    probe=Probe(
        "ok",
        torch=Torch("2.13.0+cu130", cuda="13.0"),
        available=True,
        device_count=1,
        devices=(TorchDevice(RTX, "8.9"),),
    ),
)
EMPTY = Evidence(System("linux"), pci=(), probe=Probe("ok", torch=Torch("2.13.0+cpu")))


@pytest.fixture
def machine(monkeypatch, tmp_path):
    """Makes a machine: `machine(evidence, *properties, cards=[…])`."""
    monkeypatch.setenv("FLATOUT_CACHE", str(tmp_path))
    real = installed.installed_gpus

    def make(evidence, *found, cards=()):
        monkeypatch.setattr(survey, "torch_is_for_gpus", lambda: True)
        monkeypatch.setattr(survey, "health_here", lambda *_: evidence and diagnose(evidence))
        monkeypatch.setattr(torch.cuda, "is_available", lambda: bool(found))
        monkeypatch.setattr(torch.cuda, "device_count", lambda: len(found))
        monkeypatch.setattr(torch.cuda, "get_device_properties", lambda index: found[index])
        monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: RTX)
        monkeypatch.setattr(installed, "installed_gpus", lambda **how: real(FakeNvml(*cards), **how))
        return flatout.devices()

    return make


def rows(found, title):
    (section,) = [part for part in sections(found) if part.title == title]
    return section.rows


def row(found, title, label):
    return next(text for name, text in rows(found, title) if name == label)


def test_without_a_gpu_the_cpu_trains_and_the_reason_is_said(machine):
    found = machine(EMPTY)
    assert found.device == "cpu"
    assert str(found).startswith(
        "You train on the CPU, because torch sees no GPU. There is no GPU in this machine.\n"
    )
    assert rows(found, "GPU") == (("GPU", "none that torch or NVIDIA's driver sees"),)
    assert row(found, "health", "evidence") == "$ flatout doctor"


def test_with_a_gpu_it_trains_and_is_described(machine):
    found = machine(HEALTHY, properties(RTX), cards=[card(RTX)])
    assert found.device == "cuda:0"
    assert str(found).splitlines()[0] == f"You train on cuda:0, {RTX}, because torch sees it and can use it."
    assert (
        row(found, "GPU", "chip") == "Ada Lovelace, compute capability 8.9, 128 multiprocessors at 2.52 GHz"
    )
    assert "xx90 is the tier: the flagship" in row(found, "GPU", "name")
    assert "bandwidth 1,008 GB/s" in row(found, "GPU", "memory")
    assert row(found, "GPU", "at most").startswith(
        "FP32 82.6, TF32 82.6, BF16 165, FP16 165, FP8 330, FP64 1.29"
    )
    assert row(found, "GPU", "PCIe").startswith("1.0 x16 now, at most 4.0 x16 (an idle card")


def test_cards_of_a_kind_take_a_line_each_and_a_slow_link_shows(machine):
    several = [properties(RTX, uuid=f"uuid-{i}") for i in range(3)]
    cards = [card(RTX, UUID=f"GPU-uuid-{i}", CurrPcieLinkWidth=16 if i else 1) for i in (2, 1, 0)]
    lines = rows(machine(HEALTHY, *several, cards=cards), "GPU")
    assert lines[-2] == ("cuda:1", f"{RTX}, as cuda:0, 23 GiB free")
    assert lines[-1][1].endswith("23 GiB free")
    assert sum(label == "chip" for label, _ in lines) == 1
    first = [text for label, text in lines if label == "PCIe"]
    assert "1.0 x1 now, at most 4.0 x16" in first[0]


def test_a_gpu_that_failed_in_the_child_is_not_touched_here(machine):
    """Its driver may hang; NVML alone is asked."""
    broken = Evidence(
        System("linux"),
        pci=ON_THE_BUS,
        probe=Probe("timeout", last_step="gpu", torch=Torch("2.13.0+cu130", cuda="13.0")),
    )
    found = machine(broken, properties(RTX), cards=[card(RTX)])
    assert found.device == "cpu"
    (gpu,) = found.gpus
    assert gpu.device is None and gpu.multiprocessors == 128
    assert row(found, "GPU", "not used") == f"{RTX} (this torch does not use it)"
    assert "because torch sees no GPU" in str(found).splitlines()[0]


def test_what_nobody_tells_is_unknown_and_nothing_is_0(machine):
    bare = properties(
        RTX, clock_rate=0, memory_clock_rate=0, L2_cache_size=0, multi_processor_count=0, major=99
    )
    found = machine(None, bare)
    assert found.health is None and "could not be found out" in str(found).splitlines()[0]
    for label in ("at most", "power limit", "PCIe"):
        assert row(found, "GPU", label) == "unknown"
    assert (
        row(found, "GPU", "chip") == "architecture unknown, compute capability 99.9, unknown multiprocessors"
    )
    assert "bandwidth unknown, L2 unknown" in row(found, "GPU", "memory")


def test_the_document_is_json_with_null_for_unknown(machine):
    document = json.loads(json.dumps(machine(HEALTHY, properties(RTX)).to_dict()))
    assert document["device"] == "cuda:0" and document["health"]["healthy"] is True
    (gpu,) = document["gpus"]
    assert gpu["power_limit_watts"] is None and gpu["bus_bits"] == 384
    assert gpu["generation"] == "GeForce RTX 40"
    assert document["torch"]["version"] == torch.__version__
    assert document["cpu"]["usable_cpus"] > 0
    assert document["measured"] == {}


def test_what_was_measured_before_is_shown(machine, monkeypatch):
    monkeypatch.setattr(measure, "_SECONDS", 0.002)
    monkeypatch.setattr(measure, "_LARGEST_SIDE", 128)
    monkeypatch.setattr(measure, "_COPIED", 1 << 20)
    assert machine(EMPTY).measured == {}
    said = []
    now = survey.devices(measure=True, on_step=said.append).measured["cpu"]
    assert "cpu: matrix products in float32" in said
    assert survey.devices().measured == {"cpu": now}
    assert row(survey.devices(), "measured on cpu", "when").startswith(now.measured)


def test_measured_peaks_are_compared_with_the_card_on_paper():
    spread = Spread(50e12, 49e12, 51e12, 52e12, 9)
    gpu = Gpu(RTX, "CUDA", bandwidth=1e12, rates={"float32": 80e12}, pcie_max=Link(4, 16))
    found = Measured(
        "cuda:0",
        RTX,
        {"float32": spread, "bfloat16": spread},
        copy=Spread(9e11, 8e11, 9.5e11, 1e12, 9),
        to_device_pinned=Spread(25.2e9, 25e9, 25.4e9, 26e9, 9),
        launch=Spread(2e-6, 1.9e-6, 2.1e-6, 1e-6, 9),
    )
    told = dict(measured_rows(found, gpu))
    assert told["float32 products"] == "50 TFLOP/s (49 to 51 TFLOP/s), 62 % of 80 TFLOP/s"
    assert told["bfloat16 products"] == "50 TFLOP/s (49 to 51 TFLOP/s)"  # nothing to compare with
    assert told["memory copies"] == "900 GB/s (800 to 950 GB/s), 90 % of 1 TB/s"
    assert told["to GPU, pinned"].endswith("80 % of 31.5 GB/s")
    assert told["launch"] == "2 µs (1.9 to 2.1 µs) to start an operator"
    assert "sync" not in told and "to CPU, pinned" not in told


@pytest.mark.parametrize(
    ("line", "for_gpus"),
    [
        ("cuda: Optional[str] = None\nhip: Optional[str] = None\n", False),
        ("cuda: Optional[str] = '13.0'\nhip: Optional[str] = None\n", True),
        ('cuda = None\nhip = "7.0.51831"\n', True),
        ("cuda = None\nxpu: str | None = '20250300'\n", True),
        (None, True),  # a torch of another shape is tried
    ],
)
def test_what_torch_was_built_for_is_known_before_it_is_imported(line, for_gpus, tmp_path, monkeypatch):
    if line is not None:
        (tmp_path / "version.py").write_text(f"__version__ = '2.13.0'\n{line}")
    spec = type("Spec", (), {"origin": str(tmp_path / "__init__.py")})
    monkeypatch.setattr(survey_parts, "find_spec", lambda name: spec)
    monkeypatch.setattr(survey_parts.sys, "platform", "linux")
    assert survey_parts.torch_is_for_gpus() is for_gpus


def test_a_torch_for_the_cpu_is_not_imported_again_to_find_that_out():
    found = survey_parts.health_here(60.0, TorchBuild("0.0.0+cpu", "3.12", "CPU only"))
    assert found.evidence.probe.torch.version == "0.0.0+cpu"  # what it was told, and did not look up
    assert found.evidence.probe.ended == "ok" and not found.sees_gpu
    assert found.findings
