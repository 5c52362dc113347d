"""A batch that is too small for the device: most of a step would take as long with fewer samples."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from flatout.profiling.evidence import AbstainError, Evidence
from flatout.profiling.finding import Finding
from flatout.report import text

_FIXED: Final = 0.5  # of a step


def find(evidence: Evidence) -> Iterator[Finding]:
    """Where the batch comes from; what a larger one gains is told by the sample, for training changes."""
    trials, subject = evidence.trials, evidence.subject
    why = trials.none or trials.impossible.get("batch")
    if why is not None:
        raise AbstainError(why)
    sizes = trials.sizes
    if sizes is None or subject is None or sizes.fixed_share <= _FIXED:
        return
    line = subject.data_line or subject.line
    largest = max(sizes.step_s)
    now, then = (text.seconds(sizes.step_s[size] / size) for size in (sizes.size, largest))
    half = "" if sizes.crossover is None else f"; from {sizes.crossover:,.0f} on most of a step is their work"
    yield Finding(
        kind="batch",
        file=line.file,
        line=line.line,
        what=f"a batch of {sizes.size:,}, small for this device",
        count=1.0,
        ms_per_step=1e3 * min(sizes.fixed_share * evidence.step_s, sizes.fixed_s),
        share=min(sizes.fixed_share, sizes.fixed_s / evidence.step_s),
        fix=f"larger batches: a sample takes {now}, and {then} in batches of {largest:,}{half}; "
        "training changes",
        code="",
        gain_ms=None,
        gain_low=None,
        gain_high=None,
    )
