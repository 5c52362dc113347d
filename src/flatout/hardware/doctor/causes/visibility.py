"""Environment variables that hide GPUs."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Literal

from flatout.hardware.doctor.evidence import Evidence
from flatout.hardware.doctor.finding import Finding, Layer, Rule

_NONE_LEFT = ("No CUDA GPUs are available", "No HIP GPUs are available")

How = Literal["empty", "negative", "out_of_range", "bad_uuid", "repeated"]


def hides(value: str, uuids: list[str], count: int | None) -> How | None:
    """How a list of visible devices hides every GPU; None where it leaves one.

    CUDA reads the list from the left and stops at the first entry that names no GPU.

    Args:
        value: of the variable.
        uuids: of the GPUs that are here, as far as they are known.
        count: of the GPUs that are here; None where that is unknown.

    >>> hides("", [], 2), hides("-1", [], 2), hides("2,0", [], 2), hides("0,5", [], 2)
    ('empty', 'negative', 'out_of_range', None)
    """
    entries = [entry.strip() for entry in value.split(",")]
    first = entries[0]
    if not value.strip():
        return "empty"
    if len(set(entries)) < len(entries):
        return "repeated"
    if first.startswith(("GPU-", "MIG-")):
        known = any(uuid.lower().startswith(first.lower()) for uuid in uuids)
        judged = bool(uuids) and first.startswith("GPU-")
        return "bad_uuid" if judged and not known else None
    number = re.match(r"[+-]?\d+", first)
    if number is None:
        return "bad_uuid"
    if int(number[0]) < 0:
        return "negative"
    return "out_of_range" if count is not None and int(number[0]) >= count else None


def _count(evidence: Evidence) -> int | None:
    """How many GPUs the variables choose among."""
    torch = evidence.probe.torch
    if torch is not None and torch.hip:
        return len(evidence.gpus("AMD")) or None
    return len(evidence.cards) or None


def _finding(evidence: Evidence, variable: str, cause: str, sentence: str) -> Finding:
    value = evidence.variables[variable]
    seen = [f"{variable}={value!r}"]
    seen += [f"GPU {card.index}: {card.name}, {card.uuid}" for card in evidence.cards]
    seen += [
        f"GPU on the bus: {gpu.vendor} at {gpu.address}" for gpu in evidence.gpus() if not evidence.cards
    ]
    if evidence.system.platform == "win32":
        command = (
            f"Remove-Item Env:{variable}    (PowerShell; and from the system's environment, if it is there)"
        )
    else:
        command = f"unset {variable}    (and out of ~/.bashrc, the notebook or the job that sets it)"
    fix = (f"$ {command}", f"or name a GPU that is there: {variable}=0")
    return Finding(cause, sentence, tuple(seen), fix)


def _cuda(how: How, sentence: str) -> Rule:
    """The rule for one way in which CUDA_VISIBLE_DEVICES hides every GPU."""
    cause = f"cuda_visible_devices_{how}"
    variable = "CUDA_VISIBLE_DEVICES"

    def check(evidence: Evidence) -> Finding | None:
        value = evidence.variables.get(variable)
        torch = evidence.probe.torch
        heeded = torch is None or torch.vendor in {None, "NVIDIA", "AMD"}
        if value is None or not heeded or not (evidence.here("NVIDIA") or evidence.here("AMD")):
            return None
        uuids = [card.uuid for card in evidence.cards if card.uuid]
        if hides(value, uuids, _count(evidence)) != how:
            return None
        return _finding(evidence, variable, cause, sentence)

    return Rule(cause, Layer.VISIBILITY, check, says=_NONE_LEFT)


def _amd(variable: str) -> Rule:
    """The rule for a variable of ROCm."""
    cause = variable.lower()

    def check(evidence: Evidence) -> Finding | None:
        value = evidence.variables.get(variable)
        if value is None or not evidence.here("AMD"):
            return None
        how = hides(value, [], _count(evidence))
        if how is None:
            return None
        words = {
            "empty": "is empty",
            "negative": "begins with a negative number",
            "out_of_range": "names a GPU that is not there",
            "bad_uuid": "names no GPU",
            "repeated": "names a GPU twice",
        }
        return _finding(evidence, variable, cause, f"{variable} {words[how]}, which hides every GPU.")

    return Rule(cause, Layer.VISIBILITY, check, says=_NONE_LEFT)


Check = Callable[[Evidence], Finding | None]

RULES = (
    _amd("ROCR_VISIBLE_DEVICES"),
    _amd("HIP_VISIBLE_DEVICES"),
    _cuda("empty", "CUDA_VISIBLE_DEVICES is empty, which hides every GPU."),
    _cuda("negative", "CUDA_VISIBLE_DEVICES begins with a negative number, which hides every GPU."),
    _cuda("out_of_range", "CUDA_VISIBLE_DEVICES begins with the number of a GPU that is not there."),
    _cuda("bad_uuid", "CUDA_VISIBLE_DEVICES begins with a name (UUID) that no GPU here has."),
    _cuda("repeated", "CUDA_VISIBLE_DEVICES names a GPU twice, which hides every GPU."),
)
