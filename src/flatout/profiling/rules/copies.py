"""Copies between devices. How long the host would have waited anyway is not known: it gains 0 to its cost."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from flatout.profiling.evidence import Evidence, quantile
from flatout.profiling.finding import Finding
from flatout.profiling.watch.seen import Copy

_SMALL: Final = 4096  # bytes: pinning such a copy costs more than it saves

# What is copied: (in words, the fix, its code).
COPIES: Final = {
    "unpinned": (
        "a copy to the GPU from memory that is not pinned",
        "the driver copies it twice and the host waits: pin the batches, and do not wait",
        "DataLoader(..., pin_memory=True); x = x.to(device, non_blocking=True)",
    ),
    "blocking-copy": (
        "a copy to the GPU that the host waits for",
        "it is pinned already: do not wait",
        "x = x.to(device, non_blocking=True)",
    ),
    "move": ("a copy between devices", "copy before the loop, or stay on one device", ""),
}


def find(evidence: Evidence) -> Iterator[Finding]:
    """A finding for each line that copies in often, and each kind of copy."""
    for line, copies in evidence.seen.copies.items():
        for kind, (what, fix, code) in COPIES.items():
            taken = [copy for copy in copies if _kind(copy) == kind]
            cost = evidence.cost([copy.seconds for copy in taken])
            if cost is None:
                continue
            size = quantile([float(copy.bytes) for copy in taken], 0.5)
            yield Finding(
                kind,
                line.file,
                line.line,
                f"{what} ({size / 1e6:,.2f} MB)" if size >= _SMALL else what,
                cost.count,
                1e3 * cost.seconds,
                cost.seconds / evidence.step_s,
                fix + (_unpinned(evidence) if kind == "unpinned" else ""),
                code,
                None,
                0.0,
                1e3 * cost.seconds,
            )


def _unpinned(evidence: Evidence) -> str:
    lines = sorted(at.line for at, loader in evidence.seen.loaders.items() if not loader.pinned)
    return f" (the DataLoader of line {lines[0]} does not pin)" if lines else ""


def _kind(copy: Copy) -> str | None:
    """Its kind, or None where nothing is wrong with it."""
    if copy.source != "cpu" or copy.target != "cuda" or copy.bytes < _SMALL:
        return "move"
    if not copy.pinned:
        return "unpinned"
    return None if copy.non_blocking else "blocking-copy"
