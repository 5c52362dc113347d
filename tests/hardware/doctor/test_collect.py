"""Reading a real machine: files, commands, and a child process that hangs, comes down, or is broken."""

import os
import subprocess
import sys
import time

import pytest
import torch

from flatout.hardware.doctor import collect, diagnose
from flatout.hardware.doctor.machine import Machine


def test_this_machine_as_torch_sees_it():
    evidence = collect()
    assert evidence.probe.ended == "ok"
    assert evidence.probe.torch.version == torch.__version__
    assert evidence.probe.torch.cuda == torch.version.cuda
    assert evidence.probe.usable == (torch.cuda.is_available() or torch.backends.mps.is_available())
    if evidence.pci == () and not evidence.probe.usable:
        assert diagnose(evidence).cause == "no_gpu"


@pytest.fixture
def torch_that(tmp_path, monkeypatch):
    """Puts a torch of our own before the real one."""

    def put(code):
        (tmp_path / "torch.py").write_text(code)
        monkeypatch.setenv("PYTHONPATH", str(tmp_path))

    return put


def test_a_torch_that_hangs_costs_no_more_than_the_timeout(torch_that):
    torch_that("import time; time.sleep(60)")
    begin = time.monotonic()
    evidence = collect(timeout=1.0)
    assert time.monotonic() - begin < 30
    assert (evidence.probe.ended, evidence.probe.last_step) == ("timeout", "torch")
    assert not evidence.probe.usable


@pytest.mark.skipif(sys.platform == "win32", reason="no signals")
def test_a_torch_that_comes_down_brings_nobody_else_down(torch_that):
    torch_that("import os, sys; print('bad library', file=sys.stderr); os.kill(os.getpid(), 9)")
    evidence = collect()
    assert (evidence.probe.ended, evidence.probe.last_step) == ("crashed", "torch")
    assert evidence.probe.detail == "status -9: bad library"
    assert (
        "torch_crashes" in [finding.cause for finding in diagnose(evidence).findings] or not evidence.gpus()
    )


def test_a_torch_that_cannot_be_imported_is_reported(torch_that):
    torch_that("raise ImportError('libtorch_cpu.so: cannot open shared object file')")
    probe = collect().probe
    assert probe.ended == "ok"
    assert probe.torch is None
    assert "libtorch_cpu.so" in probe.torch_error


def test_files_are_read_under_a_root(tmp_path):
    gpu = tmp_path / "sys/bus/pci/devices/0000:01:00.0"
    gpu.mkdir(parents=True)
    for name, text in {
        "class": "0x030000",
        "vendor": "0x10de",
        "device": "0x2204",
        "revision": "0xa1",
    }.items():
        (gpu / name).write_text(text + "\n")
    (tmp_path / "sys/bus/pci/drivers/nouveau").mkdir(parents=True)
    (gpu / "driver").symlink_to("../../drivers/nouveau")
    library = tmp_path / "usr/lib64/libcuda.so.570.158.01"
    library.parent.mkdir(parents=True)
    library.write_bytes(b"")
    (library.parent / "libcuda.so.1").symlink_to(library.name)
    (tmp_path / "dev").mkdir()
    (tmp_path / "dev/nvidia0").touch(mode=0o600)

    evidence = collect(Machine(tmp_path))
    assert [(d.vendor, d.ids, d.driver, d.revision) for d in evidence.pci] == [
        ("NVIDIA", "10de:2204", "nouveau", 0xA1)
    ]
    assert (evidence.nvidia.library, evidence.nvidia.loaded) == ("570.158.01", None)
    assert [(f.path, f.mode) for f in evidence.files] == [("/dev/nvidia0", "-rw-------")]


def test_commands_that_are_absent_fail_or_take_too_long():
    machine = Machine()
    assert machine.run("no-such-command-anywhere") is None
    assert machine.run(sys.executable, "-c", "print(1); raise SystemExit(3)").status == 3
    late = machine.run(sys.executable, "-u", "-c", "print('begun'); import time; time.sleep(60)", timeout=1.0)
    assert late.status is None


def test_the_doctor_itself_imports_no_torch():
    code = (
        "import sys, flatout; d = flatout.doctor(); assert isinstance(d, flatout.Diagnosis); print(d)\n"
        "assert 'torch' not in sys.modules"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True, env=os.environ
    )
    assert done.stdout.strip()
