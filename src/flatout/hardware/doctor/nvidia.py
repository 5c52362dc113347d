"""What NVIDIA's driver says of itself and its cards, read from `nvidia-smi` and the files of the driver."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from flatout.hardware.doctor.evidence import Card, NvidiaDriver, Process
from flatout.hardware.doctor.machine import Answer, Machine

_FIELDS = (
    "index",
    "name",
    "uuid",
    "compute_cap",
    "pcie.link.gen.current",
    "pcie.link.gen.max",
    "pcie.link.width.current",
    "pcie.link.width.max",
    "power.limit",
    "power.default_limit",
    "temperature.gpu",
    "utilization.gpu",
    "clocks_event_reasons.active",
    "memory.total",
    "pci.bus_id",
    "driver_version",
)
# Older drivers know a field by another name, or not at all.
_OLDER = {"clocks_event_reasons.active": "clocks_throttle_reasons.active"}
_NOT_A_FIELD = re.compile(r'Field "([^"]+)" is not a valid field')
_VERSION = re.compile(r"\b(\d{3,}\.\d+(?:\.\d+)?)\b")
# What nvidia-smi says of a GPU in place of a value, or of the whole driver, exits 0 or not.
_FAILED = re.compile(
    r"failed because|failed to initialize nvml|unable to determine the device handle|"
    r"gpu is lost|no devices were found|unknown error",
    re.IGNORECASE,
)
_LIBRARIES = (
    "/usr/lib/wsl/lib/libcuda.so.1",
    "/usr/lib/x86_64-linux-gnu/libcuda.so.1",
    "/usr/lib/aarch64-linux-gnu/libcuda.so.1",
    "/usr/lib64/libcuda.so.1",
    "/usr/lib/libcuda.so.1",
)
_MEBIBYTE = 1024 * 1024

Row = dict[str, str]


def ask_smi(machine: Machine) -> tuple[list[Row], str | None, bool]:
    """The rows of `nvidia-smi --query-gpu`, what went wrong, and whether there is such a command."""
    fields = list(_FIELDS)
    while True:
        answer = machine.run("nvidia-smi", f"--query-gpu={','.join(fields)}", "--format=csv,noheader,nounits")
        if answer is None:
            return [], None, False
        unknown = _NOT_A_FIELD.search(answer.text)
        if unknown is None or unknown[1] not in fields:
            break
        older = _OLDER.get(unknown[1])
        fields = [older if f == unknown[1] and older else f for f in fields if f != unknown[1] or older]
    return _rows(answer, fields), _complaint(answer), True


def _rows(answer: Answer, fields: Sequence[str]) -> list[Row]:
    named = [{v: k for k, v in _OLDER.items()}.get(field, field) for field in fields]
    rows = []
    for line in answer.out.splitlines():
        values = [value.strip() for value in line.split(",")]
        if len(values) == len(named) and values[0].isdigit():
            rows.append(dict(zip(named, values, strict=True)))
    return rows


def _complaint(answer: Answer) -> str | None:
    if answer.status is None:
        return "nvidia-smi did not answer"
    if answer.status == 0 and not _FAILED.search(answer.text):
        return None
    told = [line.strip() for line in answer.text.splitlines() if _FAILED.search(line)]
    return " ".join(told or answer.text.split("\n")) or f"nvidia-smi ended with status {answer.status}"


def card_of(row: Row) -> Card:
    """A card from its row; what the driver does not tell is None."""

    def number(key: str) -> float | None:
        try:
            return float(row.get(key, ""))
        except ValueError:
            return None

    def whole(key: str) -> int | None:
        value = number(key)
        return None if value is None else int(value)

    memory = number("memory.total")
    throttle = row.get("clocks_event_reasons.active", "")
    uuid = row.get("uuid", "")
    return Card(
        index=int(row["index"]),
        name=row["name"],
        uuid=uuid if uuid.startswith(("GPU-", "MIG-")) else None,
        compute_capability=_pair(row.get("compute_cap")),
        pcie_generation=(whole("pcie.link.gen.current"), whole("pcie.link.gen.max")),
        pcie_width=(whole("pcie.link.width.current"), whole("pcie.link.width.max")),
        power_limit=number("power.limit"),
        default_power_limit=number("power.default_limit"),
        temperature=number("temperature.gpu"),
        utilization=number("utilization.gpu"),
        throttle=int(throttle, 16) if re.fullmatch(r"0x[0-9a-fA-F]+", throttle) else None,
        memory=None if memory is None else int(memory * _MEBIBYTE),
        address=row["pci.bus_id"].lower()[-12:] if ":" in row.get("pci.bus_id", "") else None,
        needs_reset=any("requires reset" in value for value in row.values()),
    )


def processes_of(machine: Machine) -> tuple[Process, ...]:
    """The other programs that compute on the cards, as far as they are told."""
    answer = machine.run(
        "nvidia-smi",
        "--query-compute-apps=gpu_uuid,pid,used_memory,process_name",
        "--format=csv,noheader,nounits",
    )
    found = []
    for line in (answer.out if answer else "").splitlines():
        values = [value.strip() for value in line.split(",", 3)]
        if len(values) == 4 and values[1].isdigit() and int(values[1]) != machine.process_id:
            uuid, pid, memory, name = values
            used = int(memory) * _MEBIBYTE if memory.isdigit() else None
            found.append(Process(uuid, int(pid), name, used))
    return tuple(found)


def driver_of(
    machine: Machine, rows: Sequence[Row], complaint: str | None, has_smi: bool, probed: dict[str, Any]
) -> NvidiaDriver:
    """The parts of the driver and their versions.

    Args:
        machine: where to read.
        rows, complaint, has_smi: what `ask_smi` gave.
        probed: what the probe's step "driver" gave.
    """
    loaded = _first_version(machine.read("/proc/driver/nvidia/version")) or _first_version(
        machine.read("/sys/module/nvidia/version")
    )
    if loaded is None and rows:
        loaded = _first_version(rows[0].get("driver_version"))
    on_disk = machine.run("modinfo", "-F", "version", "nvidia")
    path = probed.get("path") or next((p for p in _LIBRARIES if machine.exists(p)), None)
    cuda = probed.get("cuda")
    return NvidiaDriver(
        loaded=loaded,
        on_disk=_first_version(on_disk.out) if on_disk and on_disk.status == 0 else None,
        library=_first_version(machine.resolve(path).rpartition("/")[2]) if path else None,
        library_path=path,
        uvm_loaded=machine.exists("/sys/module/nvidia_uvm"),
        smi=has_smi,
        smi_error=complaint,
        cuda=(int(cuda[0]), int(cuda[1])) if cuda else None,
    )


def _first_version(text: str | None) -> str | None:
    found = _VERSION.search(text or "")
    return found[1] if found else None


def _pair(text: str | None) -> tuple[int, int] | None:
    found = re.fullmatch(r"(\d+)\.(\d+)", text or "")
    return (int(found[1]), int(found[2])) if found else None
