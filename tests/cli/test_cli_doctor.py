"""`flatout doctor`."""

import json
import os
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from flatout.cli.app import app
from flatout.hardware import doctor
from flatout.hardware.doctor.evidence import Evidence, PciDevice, Probe, System, Torch, TorchDevice


def flatout(*arguments):
    command = [sys.executable, "-m", "flatout", *arguments]
    environment = os.environ | {"COLUMNS": "70"}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def test_on_this_machine_the_exit_status_is_the_health():
    told = flatout("doctor", "--json")
    document = json.loads(told.stdout)
    assert told.stdout.count("\n") == 1
    assert told.returncode == (0 if document["healthy"] else 1)
    assert document["healthy"] == (document["cause"] is None) == (document["findings"] == [])
    assert document["evidence"]["probe"]["ended"] == "ok"
    assert told.stderr == ""


@pytest.fixture
def machine(monkeypatch):
    """Makes the command see a machine."""

    def see(evidence):
        monkeypatch.setattr(doctor.diagnosis, "collect", lambda timeout, **_: evidence)

    return see


def test_the_report_of_a_machine_without_a_gpu(machine):
    machine(Evidence(System("linux"), pci=(), probe=Probe("ok", torch=Torch("2.13.0+cpu"))))
    done = CliRunner().invoke(app, ["doctor"])
    assert done.exit_code == 1
    assert done.stdout.startswith("torch sees no GPU. There is no GPU in this machine.\n\nseen\n")
    assert "training works on the CPU" in done.stdout


def test_a_healthy_machine_is_a_line_and_status_0(machine):
    torch = Torch("2.13.0+cu130", cuda="13.0", architectures=("sm_90",))
    probe = Probe(
        "ok", torch=torch, available=True, device_count=2, devices=(TorchDevice("H200", "9.0"),) * 2
    )
    machine(Evidence(System("linux"), pci=(), probe=probe))
    done = CliRunner().invoke(app, ["doctor"])
    assert (done.exit_code, done.stdout) == (0, "Healthy: torch uses 2 × H200\n")


def test_a_command_is_never_broken_at_the_edge(machine):
    gpu = PciDevice("0000:01:00.0", "NVIDIA", "10de:2204", driver="nvidia")
    system = System("linux", python="/a/very/long/way/to/an/environment/of/somebody/bin/python")
    probe = Probe("ok", torch=Torch("2.13.0+cpu"), error="Torch not compiled with CUDA enabled")
    machine(Evidence(system, pci=(gpu,), modules=frozenset({"nvidia"}), probe=probe))
    shown = CliRunner(env={"COLUMNS": "60"}).invoke(app, ["doctor"]).stdout.splitlines()
    (command,) = [line for line in shown if line.startswith("  $ ")]
    assert command.endswith("--index-url https://download.pytorch.org/whl/cu126")


def test_a_timeout_that_is_none_is_bad_input():
    assert CliRunner().invoke(app, ["doctor", "--timeout", "0"]).exit_code == 2
