"""Samples of recorded machines: right values in right units, and a reading that fails costs only itself."""

import os
import subprocess
import sys

import psutil
import pytest
from fake_nvml import H200, FakeNvml

from flatout.hardware import sampling_cpu
from flatout.hardware.nvml import (
    DRIVER_NOT_LOADED,
    GPU_IS_LOST,
    LIBRARY_NOT_FOUND,
    Memory,
    NvmlError,
    open_nvml,
)
from flatout.hardware.sample import CpuSample, OnGpu
from flatout.hardware.sampling import Sampler
from flatout.hardware.sampling_amd import AmdGpus
from flatout.hardware.sampling_cpu import Cpu, Processes
from flatout.hardware.sampling_nvidia import NvidiaGpus

NOT_SUPPORTED = 3
NOT_HERE = 2**22 + 5  # above the highest process number of Linux


@pytest.fixture
def sampler_of(tmp_path):
    def make(*cards, drm=None, **options):
        library = FakeNvml(*cards, **options)
        return Sampler(nvidia=NvidiaGpus(library), amd=AmdGpus(drm or tmp_path / "none")), library

    return make


def test_a_card_tells_all_it_knows_in_the_units_promised():
    nvml = open_nvml(FakeNvml(H200))
    (card,) = nvml.cards()
    assert (nvml.driver(), nvml.cuda()) == ("580.65.06", (13, 2))
    assert (card.name(), card.bus_id()) == ("NVIDIA H200", "00000000:19:00.0")
    assert card.memory() == Memory(13_207_024_435, 150_754_820_096)
    assert (card.utilisation(), card.memory_utilisation()) == (0.37, 0.12)
    assert (card.temperature(), card.slowdown_temperature(), card.shutdown_temperature()) == (41, 87, 90)
    assert (card.power(), card.power_limit()) == (pytest.approx(118.3), 700)
    assert (card.clock(), card.max_memory_clock(), card.bus_bits()) == (1980, 3201, 6144)
    assert (card.compute_capability(), card.pcie(), card.max_pcie()) == ((9, 0), (5, 16), None)
    assert card.slowed_by() == ("power limit",)
    assert [(p.pid, p.memory, p.computes) for p in card.processes()] == [
        (4242, 12_000_000_000, True),
        (17, None, False),
    ]


def test_an_older_driver_is_asked_in_its_own_way():
    old = {name: value for name, value in H200.items() if not name.endswith(("_v3", "EventReasons"))}
    old |= {
        "CurrentClocksThrottleReasons": 0x40 | 0x20,
        "ComputeRunningProcesses_v2": H200["ComputeRunningProcesses_v3"],
    }
    (card,) = open_nvml(FakeNvml(old)).cards()
    assert card.slowed_by() == ("heat",)
    assert [process.pid for process in card.processes()] == [4242]


def test_a_call_that_fails_is_none_and_says_why():
    library = FakeNvml(H200)
    (card,) = open_nvml(library).cards()
    library.broken[0, "PowerUsage"] = NOT_SUPPORTED
    assert card.power() is None
    assert card.error == NvmlError(NOT_SUPPORTED, "Not Supported")
    assert card.get("NothingOfThisName") is None
    assert card.error.code is None
    assert card.temperature() == 41
    assert card.error is None


@pytest.mark.parametrize("code", [LIBRARY_NOT_FOUND, DRIVER_NOT_LOADED])
def test_nvml_that_does_not_open_is_a_reason_and_not_an_exception(code, sampler_of):
    error = open_nvml(FakeNvml(init_error=code))
    assert isinstance(error, NvmlError)
    assert error.code == code
    sampler, _ = sampler_of(init_error=code)
    first, second = sampler.sample(), sampler.sample()
    assert first.gpus == second.gpus == ()
    assert f"NVIDIA: {error.message}" in first.notes[0]
    assert second.notes == ()
    sampler.close()


def test_a_sample_holds_what_the_cards_tell(sampler_of):
    sampler, library = sampler_of(H200, {**H200, "UtilizationRates": type("R", (), {"gpu": 230})})
    sample = sampler.sample()
    first, second = sample.gpus
    assert (first.index, first.utilisation, first.memory_used) == (0, 0.37, 13_207_024_435)
    assert (first.power, first.power_limit, first.slowdown_temperature) == (pytest.approx(118.3), 700, 87)
    assert second.utilisation is None  # 230 % is no reading
    (training,) = (process for process in sample.processes if process.pid == 4242)
    assert training.gpu_memory == {0: 12_000_000_000, 1: 12_000_000_000}
    assert training.computes_on == {0, 1}
    assert sample.document()["gpus"][0]["power_w"] == 118.3
    sampler.close()
    assert not library.is_open


def test_a_reading_that_is_not_supported_is_unknown_and_said_once(sampler_of):
    sampler, library = sampler_of(H200)
    library.broken[0, "PowerUsage"] = library.broken[0, "Temperature"] = NOT_SUPPORTED
    first, second = sampler.sample(), sampler.sample()
    assert (first.gpus[0].power, first.gpus[0].temperature, first.gpus[0].error) == (None, None, None)
    assert first.gpus[0].utilisation == 0.37
    assert "GPU 0 does not tell: temperature, power (Not Supported)" in first.notes
    assert second.notes == ()


def test_a_card_lost_in_the_middle_leaves_the_others(sampler_of):
    sampler, library = sampler_of(H200, H200)
    assert sampler.sample().gpus[0].error is None
    library.broken[0, "*"] = GPU_IS_LOST
    later = sampler.sample()
    assert later.gpus[0].error == "GPU is lost"
    assert (later.gpus[0].name, later.gpus[0].utilisation, later.gpus[0].memory_used) == (
        "NVIDIA H200",
        None,
        None,
    )
    assert later.gpus[1].utilisation == 0.37
    assert later.cpu.memory_total is not None
    assert later.notes == ("GPU 0 gives no readings: GPU is lost",)
    assert sampler.sample().notes == ()


def test_a_card_that_gives_no_handle_is_told_and_the_others_are_watched():
    library = FakeNvml(H200, H200)
    library.broken[0, "Handle"] = GPU_IS_LOST
    reading = NvidiaGpus(library).read()
    assert len(reading.gpus) == 1
    assert reading.notes == ["NVIDIA GPU 0 cannot be read: GPU is lost"]


# The files of a Radeon RX 6800 XT (it has an "edge" sensor) and of an Instinct MI300X (it has none).
RX_6800 = {
    "vendor": "0x1002",
    "device": "0x73bf",
    "gpu_busy_percent": "97",
    "mem_info_vram_used": "4294967296",
    "mem_info_vram_total": "17163091968",
    "pp_dpm_sclk": "0: 500Mhz\n1: 2400Mhz *\n2: 2575Mhz",
    "hwmon/hwmon4/temp1_label": "edge",
    "hwmon/hwmon4/temp1_input": "61000",
    "hwmon/hwmon4/temp1_crit": "100000",
    "hwmon/hwmon4/temp2_label": "junction",
    "hwmon/hwmon4/temp2_input": "78000",
    "hwmon/hwmon4/power1_average": "251000000",
    "hwmon/hwmon4/power1_cap": "255000000",
    "hwmon/hwmon4/freq1_input": "2400000000",
}
MI300X = {
    "vendor": "0x1002",
    "device": "0x74a1",
    "product_name": "AMD Instinct MI300X OAM",
    "gpu_busy_percent": "3",
    "mem_info_vram_used": "297070592",
    "mem_info_vram_total": "206141652992",
    "hwmon/hwmon7/temp2_label": "junction",
    "hwmon/hwmon7/temp2_input": "43000",
    "hwmon/hwmon7/temp3_label": "mem",
    "hwmon/hwmon7/temp3_input": "35000",
    "hwmon/hwmon7/power1_input": "134000000",
    "hwmon/hwmon7/freq1_input": "133000000",
}


def drm_tree(root, **cards):
    for card, files in cards.items():
        for name, text in files.items():
            path = root / card / "device" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"{text}\n")
    return root


def test_amd_cards_are_read_from_the_files_of_their_driver(tmp_path):
    drm = drm_tree(
        tmp_path,
        card10=MI300X,
        card2=RX_6800,
        card0={"vendor": "0x8086"},
        **{"card2-HDMI-A-1": {"vendor": "0x1002"}},
    )
    radeon, instinct = AmdGpus(drm).read(first=1).gpus
    assert (radeon.index, radeon.name, radeon.utilisation) == (1, "AMD GPU 0x73bf", 0.97)
    assert (radeon.memory_used, radeon.memory_total) == (4294967296, 17163091968)
    assert (radeon.temperature, radeon.slowdown_temperature) == (61, 100)
    assert (radeon.power, radeon.power_limit) == (pytest.approx(251), pytest.approx(255))
    assert (radeon.clock, radeon.max_clock) == (pytest.approx(2400), 2575)
    assert (instinct.index, instinct.name) == (2, "AMD Instinct MI300X OAM")
    assert (instinct.temperature, instinct.power) == (43, pytest.approx(134))
    assert instinct.slowdown_temperature is None


def test_an_amd_card_that_sleeps_is_unknown_and_said_once(tmp_path, sampler_of):
    drm = drm_tree(tmp_path, card0={**RX_6800, "hwmon/hwmon4/power1_average": "busy"})
    (drm / "card0/device/gpu_busy_percent").unlink()
    (drm / "card0/device/gpu_busy_percent").mkdir()  # reading it fails, as with a card that sleeps
    sampler, _ = sampler_of(drm=drm, init_error=LIBRARY_NOT_FOUND)
    first, second = sampler.sample(), sampler.sample()
    assert (first.gpus[0].utilisation, first.gpus[0].power) == (None, None)
    assert first.gpus[0].temperature == 61
    assert any("GPU 0 does not tell: utilisation, power (" in note for note in first.notes)
    assert not any("no GPU" in note for note in first.notes)
    assert second.notes == ()


def test_cores_whose_counters_stand_still_are_unknown_and_not_at_rest(monkeypatch):
    cpu = Cpu()
    frozen = {percpu: psutil.cpu_times(percpu=percpu) for percpu in (False, True)}
    monkeypatch.setattr(psutil, "cpu_times", lambda percpu=False: frozen[percpu])
    cpu.read()
    assert cpu.read().cores is None


def test_a_machine_that_tells_nothing_gives_an_empty_sample(monkeypatch):
    def fails(*args, **options):
        raise NotImplementedError

    for name in ("cpu_percent", "virtual_memory", "cpu_freq", "sensors_temperatures", "pids"):
        monkeypatch.setattr(psutil, name, fails, raising=False)
    assert Cpu().read() == CpuSample()
    assert Processes().read({}) == ()


def test_the_temperature_of_the_cpu_is_that_of_its_own_sensor(monkeypatch):
    def entry(degrees):
        return type("Entry", (), {"current": degrees})

    sensors = {"nvme": [entry(70.0)], "k10temp": [entry(0.0), entry(55.5)], "acpitz": [entry(16.8)]}
    monkeypatch.setattr(psutil, "sensors_temperatures", lambda: sensors, raising=False)
    monkeypatch.setattr(sampling_cpu.sys, "platform", "linux")
    assert Cpu().read().temperature == 55.5
    del sensors["k10temp"]
    assert Cpu().read().temperature is None


def test_processes_on_a_gpu_are_found_though_they_are_not_ours():
    processes = Processes()
    on_gpus = {0: (OnGpu(os.getpid(), 5, True), OnGpu(NOT_HERE, None, False))}
    ours, elsewhere = processes.read(on_gpus)[:2]
    assert ours.name == sampling_cpu._what_runs(psutil.Process().name(), psutil.Process().cmdline())
    assert ours.memory > 0
    assert (ours.gpu_memory, ours.computes_on) == ({0: 5}, {0})
    assert (elsewhere.pid, elsewhere.name, elsewhere.cores, elsewhere.memory) == (NOT_HERE, None, None, None)
    assert elsewhere.gpu_memory == {0: None}


@pytest.mark.parametrize(
    ("name", "command", "shown"),
    [
        (
            "python3.12",
            ["/usr/bin/python3.12", "-u", "/home/me/train.py", "--token=secret"],
            "python train.py",
        ),
        ("python", ["python", "-X", "dev", "-m", "pytest", "-q"], "python -m pytest"),
        ("python", ["python", "-c", "print('secret')"], "python -c"),
        ("python", [], "python"),
        ("firefox", ["firefox", "https://example.org"], "firefox"),
    ],
)
def test_a_process_is_named_by_what_it_runs(name, command, shown):
    assert sampling_cpu._what_runs(name, command) == shown


def test_sampling_imports_neither_torch_nor_numpy():
    code = (
        "import sys, flatout.cli.app, flatout.report.watch\n"
        "from flatout.hardware.sampling import Sampler\n"
        "Sampler().sample()\n"
        "print([name for name in ('torch', 'numpy', 'matplotlib') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
