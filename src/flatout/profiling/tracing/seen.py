"""What the trace tells the rules and the document."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import fmean
from typing import Any

from flatout.profiling.stamps import PARTS, StepTime
from flatout.profiling.tracing.layers import LayerTime
from flatout.profiling.tracing.split import Split, WithheldError, lower_quartile, split_of
from flatout.profiling.tracing.window import Trace
from flatout.profiling.user_lines import Line


@dataclass(frozen=True)
class Traced:
    """What the trace tells.

    Attributes:
        split: what a step does, or None.
        reason: why there is no split, or None.
        layers: the time by layer, the largest first.
        line: where the user's script calls the model, or else `backward`; None where it was not seen.
    """

    split: Split | None = None
    reason: str | None = "no step was traced"
    layers: Sequence[LayerTime] = ()
    line: Line | None = None


def traced(trace: Trace, bare: Sequence[StepTime], device: str | None) -> Traced:
    """What a trace tells.

    Args:
        trace: what the profiler saw.
        bare: the ordinary steps that nobody watched.
        device: the type of the device where the model lies.
    """
    if not bare:
        return Traced(None, "there is no step that nobody watched")
    parts = {name: 1e6 * fmean(getattr(time, name) for time in bare) for name in PARTS}
    try:
        split, layers = split_of(trace, parts, 1e6 * lower_quartile([time.total for time in bare]), device)
    except WithheldError as why:
        return Traced(None, str(why))
    return Traced(split, None, layers, _line(trace, layers))


def in_document(seen: Traced) -> dict[str, Any]:
    """ "split", "split_reason" and "layers" of the document."""
    split = seen.split
    if split is None:
        return {"split": None, "split_reason": seen.reason, "layers": []}
    whole = split.step_us
    entry = asdict(split) | {
        "parts": {name: {"us": us, "share": us / whole} for name, us in split.parts.items()}
    }
    layers = [
        {
            "name": layer.name,
            "class": layer.kind,
            "forward_us": layer.forward_us,
            "backward_us": layer.backward_us,
            "self_us": layer.self_us,
            "share": layer.share,
        }
        for layer in seen.layers
    ]
    return {"split": entry, "split_reason": None, "layers": layers}


def _line(trace: Trace, layers: Sequence[LayerTime]) -> Line | None:
    """The line that calls the outermost module that takes the longest."""
    most: dict[str, float] = {layer.kind: layer.forward_us + layer.backward_us for layer in layers}
    roots = [layer for number, layer in enumerate(trace.marks.layers) if layer.root == number]
    if not roots:
        return trace.marks.backward_line
    return max(roots, key=lambda root: most.get(root.kind, 0.0)).line
