"""The CPU: recorded descriptions of many machines are read rightly, and this machine's own is."""

import os
import subprocess
import sys

import archspec.cpu
import pytest
from cpu_recordings import FOLDER, NAMES, answers_of, recorded

from flatout.hardware import cpu_amd, cpu_arm, cpu_intel
from flatout.hardware.cpu import Cache, Cpu, Limits, cpu, describe
from flatout.hardware.machine import Recorded, ThisMachine

KIB, MIB = 1 << 10, 1 << 20

# microarchitecture, generation, level, cores, (performance, efficiency), threads
EXPECTED = {
    "colab-broadwell-vm": ("Broadwell", None, "x86-64-v3", 1, None, 2),
    "epyc-9654": ("Zen 4", "EPYC 4th Gen (Genoa)", "x86-64-v4", 192, None, 192),
    "granite-rapids-vm": ("Granite Rapids", "Xeon 6 (P-cores)", "x86-64-v4", 2, None, 2),
    "graviton3": ("Neoverse V1", "AWS Graviton3", "armv8.4-a", 4, None, 4),
    "i7-1255u": ("Alder Lake", "12th Gen Intel Core", "x86-64-v3", 10, (2, 8), 12),
    "i7-12700k-wsl": ("Alder Lake", "12th Gen Intel Core", "x86-64-v3", 8, None, 16),
    "i9-12900kf": ("Alder Lake", "12th Gen Intel Core", "x86-64-v3", 16, (8, 8), 24),
    "ice-lake-hyper-v": ("Ice Lake-SP", "Xeon Scalable 3rd Gen", "x86-64-v4", 1, None, 2),
    "m1-pro": ("Apple M1", None, "armv8.5-a", 8, (6, 2), 8),
    "m1-rosetta": ("Apple M1", None, "x86-64", 8, (4, 4), 8),
    "m1-unnamed": (None, None, "armv8-a", 8, None, 8),
    "m3-max": ("Apple M3", None, "armv8.6-a", 14, (10, 4), 14),
    "m4-max": ("Apple M4", None, "armv8.6-a", 16, (12, 4), 16),
    "macbook-i5-3230m": ("Ivy Bridge", "3rd Gen Intel Core", "x86-64-v2", 2, None, 4),
    "macbook-i7-9750h": ("Coffee Lake", "9th Gen Intel Core", "x86-64-v3", 6, None, 12),
    "raspberry-pi-5": ("Cortex-A76", None, "armv8.2-a", 4, None, 4),
    "rk3588": ("Cortex-A76 + Cortex-A55", None, "armv8.2-a", 8, (4, 4), 8),
    "ryzen-5600x-container": ("Zen 3", "Ryzen 5000 (Vermeer)", "x86-64-v3", 6, None, 12),
    "ryzen-5800h": ("Zen 3", "Ryzen 5000 (Cezanne)", "x86-64-v3", 8, None, 16),
    "ryzen-9950x": ("Zen 5", "Ryzen 9000 (Granite Ridge)", "x86-64-v4", 16, None, 32),
    "sapphire-rapids-vm": ("Sapphire Rapids", "Xeon Scalable 4th Gen", "x86-64-v4", 4, None, 8),
    "skylake-sp-vm-cgroup-v1": ("Skylake-SP", "Xeon Scalable 1st Gen", "x86-64-v4", 2, None, 4),
}


@pytest.mark.parametrize("name", NAMES)
def test_a_recorded_machine(name):
    found = cpu(recorded(name))
    kinds = (found.performance_cores, found.efficiency_cores)
    seen = (found.microarchitecture, found.generation, found.isa_level, found.physical_cores)
    assert (*seen, None if kinds == (None, None) else kinds, found.threads) == EXPECTED[name]
    assert all(text and "None" not in text for _, text in describe(found))


X86 = [name for name in NAMES if "\nflags : " in answers_of(name)[1].get("/proc/cpuinfo", "")]


@pytest.mark.parametrize("name", X86)
def test_archspec_finds_the_same_level(name):
    cpuinfo = answers_of(name)[1]["/proc/cpuinfo"]
    flags = next(line for line in cpuinfo.splitlines() if line.startswith("flags")).split(":")[1].split()
    seen = archspec.cpu.Microarchitecture("seen", [], "generic", set(flags), {}, 0)
    levels = ("x86_64", "x86_64_v2", "x86_64_v3", "x86_64_v4")
    targets = [archspec.cpu.TARGETS[level] for level in levels]
    reached = [target.name for target in targets if all(feature in seen for feature in target.features)]
    assert cpu(recorded(name)).isa_level == reached[-1].replace("x86_64", "x86-64").replace("_", "-")


@pytest.mark.parametrize(
    ("name", "caches"),
    [
        (
            "i9-12900kf",
            "L1 data 8 × 48 KiB; L1 data 8 × 32 KiB; L1 instruction 8 × 64 KiB; L1 instruction 8 × 32 KiB; "
            "L2 2 × 2 MiB; L2 8 × 1.25 MiB; L3 30 MiB",
        ),
        ("epyc-9654", "L1 data 192 × 32 KiB; L1 instruction 192 × 32 KiB; L2 192 × 1 MiB; L3 24 × 32 MiB"),
        ("ryzen-9950x", "L1 data 16 × 48 KiB; L1 instruction 16 × 32 KiB; L2 16 × 1 MiB; L3 2 × 32 MiB"),
        (
            "m3-max",
            "L1 data 10 × 128 KiB; L1 data 4 × 64 KiB; L1 instruction 10 × 192 KiB; "
            "L1 instruction 4 × 128 KiB; L2 2 × 16 MiB; L2 4 MiB",
        ),
        ("macbook-i7-9750h", "L1 data 6 × 32 KiB; L1 instruction 6 × 32 KiB; L2 6 × 256 KiB; L3 12 MiB"),
        (
            "i7-1255u",
            "L1 data 2 × 48 KiB; L1 data 8 × 32 KiB; L1 instruction 8 × 64 KiB; L1 instruction 2 × 32 KiB; "
            "L2 2 × 2 MiB; L2 2 × 1.25 MiB; L3 12 MiB",
        ),
        ("m1-unnamed", "unknown"),
    ],
)
def test_caches(name, caches):
    assert dict(describe(cpu(recorded(name))))["caches"] == caches


@pytest.mark.parametrize(
    ("name", "widest", "bits"),
    [
        ("granite-rapids-vm", "AMX INT8", 512),
        ("ryzen-9950x", "AVX-512 BF16", 512),
        ("i9-12900kf", "AVX-VNNI", 256),
        ("macbook-i5-3230m", "AVX", 256),
        ("m1-rosetta", "SSE4.2", 128),
        ("graviton3", "SVE", 256),
        ("m4-max", "SME2", 128),
        ("ice-lake-hyper-v", "AVX-512", 512),
    ],
)
def test_vectors(name, widest, bits):
    found = cpu(recorded(name))
    assert (found.vectors[-1], found.vector_bits) == (widest, bits)


@pytest.mark.parametrize(
    ("name", "base", "now"),
    [
        ("granite-rapids-vm", 2599.998, None),  # a virtual machine shows the time stamp counter's rate
        ("i9-12900kf", 3200, 4900),
        ("ryzen-9950x", 4300, 600),
        ("rk3588", None, 2256),
        ("macbook-i7-9750h", 2600, None),
        ("m1-rosetta", None, None),  # Rosetta makes one up
        ("ryzen-5800h", 3194, None),
    ],
)
def test_clocks(name, base, now):
    found = cpu(recorded(name))
    assert (found.base_mhz, found.now_mhz) == (base, now)


@pytest.mark.parametrize(
    ("name", "virtual", "hypervisor"),
    [
        ("granite-rapids-vm", True, "KVM"),
        ("colab-broadwell-vm", True, "Google Compute Engine (KVM)"),
        ("i7-12700k-wsl", True, "Hyper-V (WSL 2)"),
        ("graviton3", True, "Amazon EC2 (Nitro)"),
        ("ice-lake-hyper-v", True, "Hyper-V"),
        ("epyc-9654", False, None),
        ("raspberry-pi-5", False, None),
        ("macbook-i7-9750h", False, None),
        ("ryzen-5800h", False, None),
        ("m1-unnamed", None, None),
    ],
)
def test_virtual_machines(name, virtual, hypervisor):
    found = cpu(recorded(name))
    assert (found.virtual, found.hypervisor) == (virtual, hypervisor)


def test_a_model_that_cannot_have_these_instructions_is_not_believed():
    """The recording reports Rocket Lake's model with instructions of Granite Rapids."""
    found = cpu(recorded("granite-rapids-vm"))
    assert found.model == 0xA7
    assert "Rocket Lake" in found.evidence
    small = [Cache(1, "instruction", 32 * KIB, 2), Cache(3, "unified", 260 * MIB, 1)]
    flags = {"amx_tile", "avx512f"}
    assert cpu_intel.microarchitecture(6, 0xA7, 1, flags, small)[0] == "Emerald Rapids"
    assert cpu_intel.microarchitecture(6, 0xA7, 1, flags, [])[0] == "Sapphire Rapids or later"
    assert cpu_intel.microarchitecture(6, 0x3A, 9, {"avx2"}, [])[0] is None
    assert cpu_intel.microarchitecture(6, 0xFF, 0, flags, small) == (None, None)


@pytest.mark.parametrize(
    ("model", "stepping", "expected"),
    [
        (0x1A, 5, "Nehalem"),
        (0x3F, 2, "Haswell"),
        (0x55, 4, "Skylake-SP"),
        (0x55, 7, "Cascade Lake"),
        (0x55, 11, "Cooper Lake"),
        (0x8E, 9, "Kaby Lake"),
        (0x8E, 12, "Whiskey Lake"),
        (0x9E, 13, "Coffee Lake"),
        (0xAD, 1, "Granite Rapids"),
        (0xAF, 3, "Sierra Forest"),
        (0xBD, 1, "Lunar Lake"),
        (0xBE, 0, "Gracemont"),
        (0xC6, 2, "Arrow Lake"),
        (0xCC, 1, "Panther Lake"),
        (0xCF, 2, "Emerald Rapids"),
    ],
)
def test_intel_models(model, stepping, expected):
    assert cpu_intel.microarchitecture(6, model, stepping, set(), [])[0] == expected


@pytest.mark.parametrize(
    ("name", "microarchitecture", "expected"),
    [
        ("Intel(R) Core(TM) i7 CPU         920  @ 2.67GHz", "Nehalem", None),
        ("Intel(R) Core(TM) i7-920 CPU", "Nehalem", "1st Gen Intel Core"),
        ("Intel(R) Core(TM) i7-4770K CPU @ 3.50GHz", "Haswell", "4th Gen Intel Core"),
        ("Intel(R) Core(TM) i7-1065G7 CPU @ 1.30GHz", "Ice Lake", "10th Gen Intel Core"),
        ("Intel(R) Core(TM) i9-10900K CPU @ 3.70GHz", "Comet Lake", "10th Gen Intel Core"),
        ("Intel(R) Core(TM) Ultra 9 285K", "Arrow Lake", "Core Ultra Series 2"),
        ("Intel(R) Core(TM) Ultra X9 388H", "Panther Lake", "Core Ultra Series 3"),
        ("Intel(R) Core(TM) 7 150U", "Raptor Lake", "Core Series 1"),
        ("Intel(R) Xeon(R) W-2295 CPU @ 3.00GHz", "Cascade Lake", None),
        ("Intel(R) Xeon(R) w9-3495X", "Sapphire Rapids", None),
        ("INTEL(R) XEON(R) GOLD 6542Y", "Emerald Rapids", "Xeon Scalable 5th Gen"),
    ],
)
def test_how_intel_counts(name, microarchitecture, expected):
    assert cpu_intel.generation(name, microarchitecture) == expected


@pytest.mark.parametrize(
    ("family", "model", "name", "expected"),
    [
        (0x17, 0x01, "AMD Ryzen 7 1700 Eight-Core Processor", ("Zen", "Ryzen 1000 (Summit Ridge)")),
        (0x17, 0x31, "AMD EPYC 7742 64-Core Processor", ("Zen 2", "EPYC 2nd Gen (Rome)")),
        (0x17, 0x68, "AMD Ryzen 7 5700U with Radeon Graphics", ("Zen 2", "Ryzen 5000 (Lucienne)")),
        (0x19, 0x01, "AMD EPYC Processor", ("Zen 3", "EPYC 3rd Gen (Milan)")),
        (0x19, 0x44, "AMD Ryzen 7 PRO 6850U", ("Zen 3+", "Ryzen 6000 (Rembrandt)")),
        (0x19, 0x18, "AMD Ryzen Threadripper 7970X", ("Zen 4", "Ryzen Threadripper 7000 (Storm Peak)")),
        (0x19, 0xA0, "AMD EPYC 9754 128-Core Processor", ("Zen 4c", "EPYC 4th Gen (Bergamo)")),
        (0x1A, 0x24, "AMD Ryzen AI 9 HX 370 w/ Radeon 890M", ("Zen 5", "Ryzen AI 300 (Strix Point)")),
        (0x1A, 0x70, "AMD RYZEN AI MAX+ 395 w/ Radeon 8060S", ("Zen 5", "Ryzen AI Max 300 (Strix Halo)")),
        (0x1A, 0x11, "AMD EPYC 9965 192-Core Processor", ("Zen 5c", "EPYC 5th Gen (Turin Dense)")),
    ],
)
def test_amd_models_and_how_amd_counts(family, model, name, expected):
    microarchitecture, code = cpu_amd.microarchitecture(family, model)
    assert (microarchitecture, cpu_amd.generation(name, code)) == expected


def test_ranges_of_amd_models_do_not_overlap():
    for ranges in cpu_amd._MODELS.values():
        models = [model for first, last, *_ in ranges for model in range(first, last + 1)]
        assert len(models) == len(set(models))


def test_an_apple_that_only_its_family_names():
    assert cpu_arm.apple("Apple processor", 0x1B588BB3)[0] == "Apple M1"
    assert (
        cpu_arm.apple("Apple processor", 0x72015832 - (1 << 32))[0] == "Apple M3"
    )  # sysctl's numbers are signed
    assert cpu_arm.apple("Apple processor", None) == (None, None)


def test_what_a_container_leaves():
    inside = cpu(recorded("ryzen-5600x-container"))
    assert inside.limits == Limits(cpus=2.5, affinity=4, memory_bytes=8 << 30)
    assert (inside.usable_cpus, inside.usable_memory_bytes) == (2.5, 8 << 30)
    first_version = cpu(recorded("skylake-sp-vm-cgroup-v1"))
    assert first_version.limits == Limits(cpus=1.5, affinity=4, memory_bytes=4 << 30)


def test_the_tightest_group_on_the_way_up_decides():
    groups = {
        "/proc/self/cgroup": "0::/user.slice/job.scope",
        "/proc/self/mountinfo": "35 24 0:30 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw",
        "/sys/fs/cgroup/user.slice/cpu.max": "150000 100000",
        "/sys/fs/cgroup/user.slice/job.scope/cpu.max": "400000 100000",
        "/sys/fs/cgroup/user.slice/memory.max": "max",
        "/sys/fs/cgroup/user.slice/job.scope/memory.max": "1073741824",
    }
    limits = cpu(Recorded("linux", groups)).limits
    assert (limits.cpus, limits.memory_bytes) == (1.5, 1 << 30)


@pytest.mark.parametrize("path", ["/", "/../../host", "/elsewhere", "/docker/9f2d/inner"])
def test_a_group_outside_of_what_is_mounted_is_limited_by_the_mounted_part(path):
    changes = {"/proc/self/cgroup": f"4:cpu,cpuacct:{path}\n11:memory:{path}"}
    limits = cpu(recorded("skylake-sp-vm-cgroup-v1", **changes)).limits
    assert (limits.cpus, limits.memory_bytes) == (1.5, 4 << 30)


def test_low_power_cores_are_efficiency_cores():
    low_power = {"/sys/devices/cpu_atom/cpus": "16-21", "/sys/devices/cpu_lowpower/cpus": "22-23"}
    assert cpu(recorded("i9-12900kf", **low_power)).efficiency_cores == 8


@pytest.mark.parametrize("quota", ["-1", "0", "", "not a number"])
def test_no_quota_is_none(quota):
    changes = {"/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": quota}
    changes["/sys/fs/cgroup/memory/memory.limit_in_bytes"] = "9223372036854771712"
    found = cpu(recorded("skylake-sp-vm-cgroup-v1", **changes))
    assert (found.limits.cpus, found.limits.memory_bytes) == (None, None)
    assert (found.usable_cpus, found.usable_memory_bytes) == (4, found.memory_bytes)


@pytest.mark.parametrize("system", ["linux", "darwin", "win32", "plan9"])
def test_a_machine_that_says_nothing_is_unknown(system):
    found = cpu(Recorded(system, {}))
    assert found == Cpu(vendor="Apple" if found.vendor else None, virtual=found.virtual)
    assert (found.usable_cpus, found.usable_memory_bytes) == (None, None)
    texts = [text for _, text in describe(found)]
    assert all("unknown" in text for text in texts)
    assert not any("0" in text for text in texts)


@pytest.mark.parametrize("name", NAMES)
def test_a_damaged_answer_is_unknown(name):
    system, answers = answers_of(name)
    for damage in ("", "?", "0", "-1", "\0", ":\n::\n\nprocessor : x\ncpu MHz : x"):
        found = cpu(Recorded(system, {**dict.fromkeys(answers, damage), "/proc/cpuinfo": damage}))
        counted = (found.physical_cores, found.threads, found.memory_bytes, found.numa_nodes, found.base_mhz)
        counted += (found.now_mhz, found.usable_cpus, found.vector_bits, found.usable_memory_bytes)
        assert all(count is None or count > 0 for count in counted)
        assert describe(found)


def test_the_readme_says_where_each_description_comes_from():
    rows = (FOLDER / "README.md").read_text(encoding="utf-8").splitlines()
    named = {row.split("|")[1].strip() for row in rows if row.startswith("| ")}
    assert named == {"file", *NAMES}


def test_this_machine():
    found = cpu()
    assert found.threads == os.cpu_count()
    assert found.name
    assert found.memory_bytes > 0
    if ThisMachine().system == "linux":
        assert found.limits.affinity == len(os.sched_getaffinity(0))


def test_it_needs_no_torch():
    code = "import sys; from flatout.hardware.cpu import cpu; cpu(); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
