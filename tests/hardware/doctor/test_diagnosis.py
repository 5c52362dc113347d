"""How causes stand beside each other, and what to type on which system."""

import sys
from types import SimpleNamespace

import pytest
from broken_machines import CASES
from recorded_machines import (
    ARCH,
    CPU_TORCH,
    DEBIAN,
    FEDORA,
    PROCESSES,
    QUERY,
    card_row,
    fails,
    rtx3090,
    rx7900,
)

from flatout.hardware.doctor import collect, diagnose
from flatout.hardware.doctor.machine import Answer


def machine_of(cause, note=""):
    return next(machine for name, n, machine in CASES if (name, n) == (cause, note))


def causes(machine):
    return [finding.cause for finding in diagnose(collect(machine)).findings]


def fix(machine):
    return "\n".join(diagnose(collect(machine)).findings[0].fix)


def test_causes_that_do_not_explain_each_other_are_both_told_the_lower_first():
    cpu_only = {"torch": CPU_TORCH, "gpu": fails("Torch not compiled with CUDA enabled")}
    assert causes(machine_of("no_driver").changed(probe_steps=cpu_only)) == ["no_driver", "cpu_build"]
    hidden = rtx3090().changed(environment={"CUDA_VISIBLE_DEVICES": "-1"}, probe_steps=cpu_only)
    assert causes(hidden) == ["cpu_build", "cuda_visible_devices_negative"]


def test_everything_that_slows_a_card_is_told():
    row = card_row(reasons="0x0000000000000040", width="1", limit="100.00")
    process = "GPU-8f6d1a7e-41c0-6c3b-2d5e-0c6b6d6f7a01, 4711, 21000, python\n"
    slow = rtx3090().changed(commands={QUERY: Answer(0, row), PROCESSES: Answer(0, process)})
    assert causes(slow) == ["thermal", "power_cap", "narrow_pcie", "busy"]
    assert str(diagnose(collect(slow))).count("Besides: ") == 3


def test_the_graphics_inside_an_amd_processor_does_not_distract():
    """Its render node is closed to this user and its bus is narrow; the GPU is NVIDIA's and hidden."""
    beside = {
        path.replace("03:00.0", "11:00.0"): text for path, text in rx7900().files.items() if "03:00.0" in path
    }
    machine = machine_of("cuda_visible_devices_empty").changed(
        files=beside, devices={"/dev/dri/renderD129": ("crw-rw----", "render", "EACCES")}
    )
    assert causes(machine) == ["cuda_visible_devices_empty"]


def test_a_bus_that_cannot_be_read_is_not_an_empty_one():
    unread = machine_of("no_gpu").without("/sys/")
    assert causes(unread) == ["unexplained"]
    no_pci = unread.changed(files={"/sys/bus/usb/x": ""})
    assert causes(no_pci) == ["no_gpu"]


def test_a_jetson_has_a_gpu_without_a_bus():
    jetson = machine_of("no_gpu").changed(
        files={"/proc/device-tree/model": "NVIDIA Jetson Orin Nano Developer Kit"}
    )
    assert causes(jetson) == ["cpu_build"]


def test_a_forked_process_is_told_apart(monkeypatch):
    torch = SimpleNamespace(cuda=SimpleNamespace(_is_in_bad_fork=lambda: True))
    monkeypatch.setitem(sys.modules, "torch", torch)
    diagnosis = diagnose(collect(rtx3090()))
    assert diagnosis.cause == "forked"
    assert "uses the GPU without trouble" in str(diagnosis)
    assert not diagnosis.healthy


def test_an_older_nvidia_smi_is_asked_by_the_names_it_knows():
    class Older:
        """Refuses the new name of a field, and does not know compute_cap."""

        def __init__(self, machine):
            self.machine = machine

        def __getattr__(self, name):
            return getattr(self.machine, name)

        def run(self, *command, timeout=0.0):
            if command[0] != "nvidia-smi" or "--query-gpu" not in command[1]:
                return self.machine.run(*command)
            for field in ("compute_cap", "clocks_event_reasons.active"):
                if field in command[1]:
                    return Answer(2, f'Field "{field}" is not a valid field to query.\n')
            row = card_row(reasons="0x0000000000000040").replace("8.6, ", "")
            return Answer(0, row + "\n")

    evidence = collect(Older(rtx3090()))
    assert evidence.cards[0].compute_capability is None
    assert evidence.cards[0].throttle == 0x40
    assert diagnose(evidence).cause == "thermal"


def test_what_nvidia_smi_does_not_tell_is_unknown_and_nobodys_fault():
    told = card_row(limit="[N/A]", width="[Not Supported]", reasons="[Unknown Error]", temperature="[N/A]")
    evidence = collect(rtx3090().changed(commands={QUERY: Answer(0, told)}))
    card = evidence.cards[0]
    assert (card.power_limit, card.throttle, card.temperature) == (None, None, None)
    assert card.pcie_width == (None, 16)
    assert diagnose(evidence).healthy


@pytest.mark.parametrize(
    ("release", "command"),
    [(DEBIAN, "sudo apt-get"), (FEDORA, "sudo dnf"), (ARCH, "sudo pacman"), ("ID=plan9", "nvidia.com")],
)
def test_the_driver_is_installed_by_the_systems_own_means(release, command):
    assert command in fix(machine_of("no_driver").changed(files={"/etc/os-release": release}))


@pytest.mark.parametrize(
    ("config", "command"),
    [
        ("home = /usr/bin\nuv = 0.9.2\n", "$ uv pip install --python /home/ada/.venv/bin/python "),
        ("home = /usr/bin\n", "$ /home/ada/.venv/bin/python -m pip install "),
    ],
)
def test_torch_is_installed_by_what_made_the_environment(config, command):
    machine = machine_of("cpu_build").changed(files={"/home/ada/.venv/pyvenv.cfg": config})
    assert fix(machine).startswith(command)


def test_torch_is_chosen_for_driver_and_card():
    def chosen(cuda, **row):
        cpu_build = machine_of("cpu_build")
        driver = cpu_build.probe_steps["driver"] | {"cuda": cuda}
        return fix(
            cpu_build.changed(probe_steps={"driver": driver}, commands={QUERY: Answer(0, card_row(**row))})
        )

    assert chosen([12, 4]).endswith("/cu126")
    assert chosen([13, 1]).endswith("/cu130")
    assert chosen([13, 1], compute_cap="6.1").endswith("/cu126")  # a Pascal card
    assert "version 580 or newer" in chosen([12, 8], compute_cap="12.0")  # a Blackwell card
