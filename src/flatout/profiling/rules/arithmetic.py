"""A model that computes in float64, in float32 where less would do, or with its channels apart."""

from __future__ import annotations

from collections.abc import Iterator

from flatout.profiling.evidence import AbstainError, Evidence
from flatout.profiling.finding import Finding
from flatout.profiling.rules.measured import from_trial


def float64(evidence: Evidence) -> Iterator[Finding]:
    """Parameters in float64, as NumPy's arrays make them."""
    if evidence.trial("float64") is None or evidence.subject is None:
        return
    found = from_trial(
        evidence,
        "float64",
        "float64",
        evidence.subject.line,
        "a model in float64",
        "compute in float32, unless the problem needs more: the numbers change",
        "model.float(); x = x.float()",
    )
    if found:
        yield found


def channels_last(evidence: Evidence) -> Iterator[Finding]:
    """Convolutions whose channels lie apart in memory."""
    if evidence.trial("channels-last") is None or evidence.subject is None:
        return
    found = from_trial(
        evidence,
        "channels-last",
        "channels-last",
        evidence.subject.line,
        "pictures with their channels apart",
        "keep the channels side by side",
        "model.to(memory_format=torch.channels_last); x = x.to(memory_format=torch.channels_last)",
    )
    if found:
        yield found


_PRECISION = {
    "tf32": "let products round their inputs to TF32, with 10 bits after the point: the numbers change",
    "bf16": "compute products in bfloat16, with 7 bits after the point: the numbers change, and training may",
}


def precision(evidence: Evidence) -> Iterator[Finding]:
    """Products in float32 where this device is quicker with fewer digits; of two ways the better one."""
    found, missing = [], []
    for name, fix in _PRECISION.items():
        try:
            if evidence.trial(name) is None or evidence.subject is None:
                continue
            one = from_trial(
                evidence, name, "precision", evidence.subject.line, "products in full float32", fix
            )
            found += [one] if one else []
        except AbstainError as why:
            missing.append(why)
    if found:
        yield max(found, key=lambda one: one.gain_ms or 0.0)
    elif missing:
        raise missing[0]
