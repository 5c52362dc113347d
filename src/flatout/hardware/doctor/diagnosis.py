"""From the evidence to the diagnosis: which rule wins, and what else is independent of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from flatout.hardware.doctor.causes import RULES
from flatout.hardware.doctor.collect import PROBE_TIMEOUT, collect
from flatout.hardware.doctor.evidence import Evidence, Torch
from flatout.hardware.doctor.finding import EXPLAINS, Finding, Layer, Rule


@dataclass(frozen=True)
class Diagnosis:
    """Whether torch can use a GPU here at full speed, and if not, why.

    Attributes:
        findings: the causes, the root first. Empty where all is well.
        evidence: what they rest on.
    """

    findings: tuple[Finding, ...]
    evidence: Evidence

    @property
    def healthy(self) -> bool:
        """Whether torch uses a GPU and nothing holds it back."""
        return not self.findings

    @property
    def sees_gpu(self) -> bool:
        """Whether torch computed something on a GPU."""
        return self.evidence.probe.usable

    @property
    def cause(self) -> str | None:
        """The id of the root cause; None where all is well."""
        return self.findings[0].cause if self.findings else None

    @property
    def headline(self) -> str:
        """The diagnosis in a line."""
        if self.healthy:
            return "Healthy: torch uses " + self._devices()
        if self.sees_gpu and self.cause != "forked":
            return f"torch uses {self._devices()}, but {_uncapital(self.findings[0].sentence)}"
        return f"torch sees no GPU. {self.findings[0].sentence}"

    def _devices(self) -> str:
        devices, count = self.evidence.probe.devices, self.evidence.probe.device_count
        if not devices:
            return f"{count} GPU{'s' * (count != 1)}"
        names = [device.name for device in devices]
        counted = [f"{names.count(n)} × {n}" if names.count(n) > 1 else n for n in dict.fromkeys(names)]
        return ", ".join(counted)

    def document(self) -> dict[str, Any]:
        """The diagnosis as plain values, for JSON."""
        return {
            "healthy": self.healthy,
            "sees_gpu": self.sees_gpu,
            "cause": self.cause,
            "headline": self.headline,
            "findings": [asdict(finding) for finding in self.findings],
            "evidence": self.evidence.document(),
        }

    def __str__(self) -> str:
        lines = [self.headline]
        for number, finding in enumerate(self.findings):
            if number:
                lines += ["", f"Besides: {finding.sentence}"]
            lines += ["", "seen", *(f"  {line}" for line in finding.seen)]
            lines += ["", "what to do", *(f"  {line}" for line in finding.fix)]
        return "\n".join(lines)

    def __repr__(self) -> str:
        return str(self)


def _uncapital(sentence: str) -> str:
    return sentence[:1].lower() + sentence[1:]


def diagnose(evidence: Evidence, rules: Sequence[Rule] = RULES) -> Diagnosis:
    """Decide among the causes.

    Args:
        evidence: what was seen.
        rules: the causes, in the order they are asked.

    Example:
        >>> from flatout.hardware.doctor.evidence import Evidence, System
        >>> diagnose(Evidence(System("linux"), pci=())).cause
        'no_gpu'
    """
    blind = not evidence.probe.usable
    findings: list[Finding] = []
    explained: set[Layer] = set()
    for rule in rules:
        if rule.layer in explained or (rule.blind_only and not blind):
            continue
        finding = rule.check(evidence)
        if finding is None:
            continue
        findings.append(finding)
        explained |= EXPLAINS[rule.layer]
        if rule.layer != Layer.SPEED:  # a card can be hot and badly connected
            explained.add(rule.layer)
    return Diagnosis(tuple(findings), evidence)


def diagnose_machine(*, timeout: float = PROBE_TIMEOUT, torch: Torch | None = None) -> Diagnosis:
    """Why torch sees no GPU on this machine, or a slow one: `flatout doctor` in Python.

    The GPU is tried in a child process, which a broken driver may hang or bring down without harm here.

    Args:
        timeout: seconds the child process may take.
        torch: see `flatout.hardware.doctor.collect`.

    Returns:
        The diagnosis. Printed, it is the report: cause, evidence, fix.

    Example:
        >>> diagnosis = diagnose_machine()
        >>> diagnosis.healthy == (diagnosis.cause is None)
        True
    """
    return diagnose(collect(timeout=timeout, torch=torch))
