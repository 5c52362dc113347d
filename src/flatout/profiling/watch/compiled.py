"""What torch.compile compiled again while steps were measured."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from flatout.profiling.user_lines import Line


@dataclass(frozen=True)
class Recompiled:
    """A function that was compiled again.

    Attributes:
        line: where it begins.
        name: of it.
        reason: the guard that failed, or "" where torch does not say.
        seconds: it took.
    """

    line: Line
    name: str
    reason: str
    seconds: float


def recompiled(since: float, until: float) -> list[Recompiled]:
    """What was compiled again between two moments (`time.time`); nothing where no script loaded Dynamo.

    Torch keeps the last 64 compilations; what came before them is not known.
    """
    if "torch._dynamo" not in sys.modules:
        return []
    from torch._dynamo.utils import get_compilation_metrics

    return list(again(get_compilation_metrics(), since, until))


def again(metrics: Iterable[Any], since: float, until: float) -> Iterable[Recompiled]:
    """Those of Dynamo's records that tell of a function compiled again in this time."""
    for one in metrics:
        start = one.start_time or 0.0
        if one.co_filename is None or one.co_firstlineno is None or not since <= start <= until:
            continue  # a backward, which goes with its forward
        if one.recompile_reason:
            seconds = one.entire_frame_compile_time_s or 0.0
            line = Line(one.co_filename, one.co_firstlineno)
            yield Recompiled(line, one.co_name or "", one.recompile_reason, seconds)
