"""Functions that torch.compile compiles again and again."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from flatout.profiling.evidence import Evidence
from flatout.profiling.finding import Finding
from flatout.profiling.user_lines import Line
from flatout.profiling.watch.compiled import Recompiled

_AGAIN: Final = 2  # for the same reason: once is a last batch that is smaller, or validation
_SHAPES: Final = "torch.compile(model, dynamic=True)"


def find(evidence: Evidence) -> Iterator[Finding]:
    """A finding for each function that was compiled twice or more for the same reason after the warm-up."""
    groups: dict[tuple[Line, str], list[Recompiled]] = {}
    for one in evidence.recompiled:
        groups.setdefault((one.line, _guard(one.reason)), []).append(one)
    steps = max(1, evidence.passes.steps)
    for (line, guard), group in groups.items():
        if len(group) < _AGAIN:
            continue
        cost = sum(one.seconds for one in group) / steps
        last = max(one.seconds for one in group) / steps  # a more general one may have to be compiled
        size = "size mismatch" in guard
        yield Finding(
            "recompile",
            line.file,
            line.line,
            f"torch.compile compiled {group[0].name} {len(group)} times anew",
            len(group) / steps,
            1e3 * cost,
            cost / evidence.mean_s,
            f"it was compiled for another value of {guard!r}; "
            + ("keep shapes the same, or let them vary" if size else "keep it the same, or make it a tensor"),
            _SHAPES if size else "",
            1e3 * cost,
            1e3 * (cost - last),
            1e3 * cost,
        )


def _guard(reason: str) -> str:
    """The guard that failed, without what differs from one time to the next.

    >>> _guard("0/1: tensor 'x' size mismatch at index 0. expected 16, actual 15\\nUser stack trace: ...")
    "tensor 'x' size mismatch at index _. expected _, actual _"
    >>> _guard("0/0: self.scale == 0.5         # return x * self.scale  # train.py:6 in forward")
    'self.scale == _'
    """
    first = reason.splitlines()[0].split("  #")[0].strip()
    return re.sub(r"\d+(\.\d+)?(e-?\d+)?", "_", re.sub(r"^\d+/\d+: ", "", first)).strip()
