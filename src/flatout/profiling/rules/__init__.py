"""What costs time in a script: where, how much, the fix, and what it would gain. One file a family of rules.

A gain that cannot be predicted is None, with the range it must lie in.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from flatout.profiling.evidence import AbstainError, Evidence
from flatout.profiling.finding import Finding
from flatout.profiling.rules import (
    arithmetic,
    batch,
    copies,
    data,
    direct,
    kept_graph,
    launch,
    made,
    optimizer,
    output,
    passes,
    places,
    reads,
    recompile,
    zero_grad,
)


@dataclass(frozen=True)
class Rule:
    """How some kinds of findings are found.

    Attributes:
        name: of the rule.
        kinds: what it may find.
        find: finds them; raises AbstainError where it cannot judge.
    """

    name: str
    kinds: tuple[str, ...]
    find: Callable[[Evidence], Iterable[Finding]]


RULES: Final = (
    Rule("reads", tuple(reads.READS), reads.find),
    Rule("copies", tuple(copies.COPIES), copies.find),
    Rule("made in forward", ("made-in-forward",), made.find),
    Rule("output", tuple(output.OUTPUT), output.find),
    Rule("data", ("data",), data.find),
    Rule("kept graph", ("kept-graph",), kept_graph.find),
    Rule("training mode", ("train-mode",), passes.find_train_mode),
    Rule("graph without backward", ("no-grad",), passes.find_no_grad),
    Rule("forward", ("direct-forward",), direct.find),
    Rule("recompilation", ("recompile",), recompile.find),
    Rule("float64", ("float64",), arithmetic.float64),
    Rule("optimizer", ("optimizer",), optimizer.find),
    Rule("zero grad", ("zero-grad",), zero_grad.find),
    Rule("threads", ("threads",), places.threads),
    Rule("channels last", ("channels-last",), arithmetic.channels_last),
    Rule("precision", ("precision",), arithmetic.precision),
    Rule("device", ("device",), places.device),
    Rule("batch", ("batch",), batch.find),
    Rule("launch", ("launch-bound",), launch.find),
)
_KNOWN: Final = 2  # times as much as a gain that is not known
KINDS: Final = tuple(kind for rule in RULES for kind in rule.kinds)


def findings(evidence: Evidence) -> tuple[list[Finding], dict[str, str]]:
    """All that is found, and why which rules abstain.

    Wrong results come first, then what may gain most. A gain that is known counts for more than one that is
    not: it need only be half as large as what the other may be at most.
    """
    found: list[Finding] = []
    abstained: dict[str, str] = {}
    for rule in RULES:
        try:
            found += rule.find(evidence)
        except AbstainError as why:
            abstained[rule.name] = str(why)
    return sorted(found, key=_rank), abstained


def _rank(one: Finding) -> tuple[bool, float, float]:
    gain = one.gain_high if one.gain_ms is None else _KNOWN * one.gain_ms
    return one.kind != "train-mode", -(gain or 0.0), -(one.ms_per_step or 0.0)
