"""A model on too many threads, or too few; on a GPU that a CPU beats, or on a CPU beside a quicker GPU."""

from __future__ import annotations

from collections.abc import Iterator

from flatout.profiling.evidence import Evidence
from flatout.profiling.finding import Finding
from flatout.profiling.rules.measured import from_trial


def threads(evidence: Evidence) -> Iterator[Finding]:
    """Another number of threads that is quicker."""
    trial, subject = evidence.trial("threads"), evidence.subject
    if trial is None or subject is None:
        return
    few = (trial.threads or 0) > subject.threads
    yield from from_trial(
        evidence,
        "threads",
        "threads",
        f"a model on {subject.threads} thread{'s'[: subject.threads != 1]}, too {'few' if few else 'many'}",
        "share the work among more" if few else "let fewer threads wait for each other",
    )


def device(evidence: Evidence) -> Iterator[Finding]:
    """Another device that is quicker."""
    subject = evidence.subject
    on_cpu = subject is not None and subject.device.type == "cpu"
    what = "a model on the CPU beside a GPU" if on_cpu else "a model that is too small for its GPU"
    fix = (
        "train on the GPU, with the data there, too"
        if on_cpu
        else "train on the CPU, which is quicker at this size, or use larger batches"
    )
    return from_trial(evidence, "device", "device", what, fix)
