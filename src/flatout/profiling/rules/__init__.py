"""What costs time in a script: where, how much, the fix, and what it would gain. One file a family of rules.

A gain that cannot be predicted is None, with the range it must lie in.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from flatout.profiling.evidence import AbstainError, Evidence
from flatout.profiling.finding import Finding
from flatout.profiling.rules import copies, data, direct, kept_graph, made, output, passes, reads, recompile


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
)
KINDS: Final = tuple(kind for rule in RULES for kind in rule.kinds)


def findings(evidence: Evidence) -> tuple[list[Finding], dict[str, str]]:
    """All that is found, the largest cost first; and why which rules abstain."""
    found: list[Finding] = []
    abstained: dict[str, str] = {}
    for rule in RULES:
        try:
            found += rule.find(evidence)
        except AbstainError as why:
            abstained[rule.name] = str(why)
    return sorted(found, key=lambda one: -(one.ms_per_step or 0.0)), abstained
