"""A model that computes in float64, in float32 where less would do, or with its channels apart."""

from __future__ import annotations

from collections.abc import Iterator

from flatout.profiling.evidence import Evidence
from flatout.profiling.finding import Finding
from flatout.profiling.rules.measured import best_of, from_trial


def float64(evidence: Evidence) -> Iterator[Finding]:
    """Parameters in float64, as NumPy's arrays make them."""
    return from_trial(
        evidence,
        "float64",
        "float64",
        "a model in float64",
        "compute in float32, unless the problem needs more: the numbers change",
        code="model.float(); x = x.float()",
    )


def channels_last(evidence: Evidence) -> Iterator[Finding]:
    """Convolutions whose channels lie apart in memory."""
    return from_trial(
        evidence,
        "channels-last",
        "channels-last",
        "pictures with their channels apart",
        "keep the channels side by side",
        code="model.to(memory_format=torch.channels_last); x = x.to(memory_format=torch.channels_last)",
    )


_PRECISION = {
    "tf32": "let products round their inputs to TF32, with 10 bits after the point: the numbers change",
    "bf16": "compute products in bfloat16, with 7 bits after the point: the numbers change, and training may",
}


def precision(evidence: Evidence) -> Iterator[Finding]:
    """Products in float32 where this device is quicker with fewer digits; of two ways the better one."""
    return best_of(
        from_trial(evidence, name, "precision", "products in full float32", fix)
        for name, fix in _PRECISION.items()
    )
