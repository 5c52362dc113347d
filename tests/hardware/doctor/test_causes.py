"""Every cause has a recorded machine that shows it, and nothing but its own rule finds it."""

import pytest
from broken_machines import CASES, HEALTHY

from flatout.hardware.doctor import collect, diagnose
from flatout.hardware.doctor.causes import RULES

CAUSES = [rule.cause for rule in RULES]


def named(case):
    return f"{case[0]} ({case[1]})" if case[1] else case[0]


@pytest.mark.parametrize("machine", HEALTHY.values(), ids=HEALTHY.keys())
def test_a_healthy_machine_is_healthy(machine):
    diagnosis = diagnose(collect(machine))
    assert diagnosis.findings == ()
    assert diagnosis.healthy
    assert diagnosis.headline.startswith("Healthy: torch uses ")


@pytest.mark.parametrize(("cause", "_", "machine"), CASES, ids=map(named, CASES))
def test_the_cause_is_found(cause, _, machine):
    diagnosis = diagnose(collect(machine))
    assert [finding.cause for finding in diagnosis.findings] == [cause]
    finding = diagnosis.findings[0]
    assert finding.sentence.endswith(".")
    assert all(finding.seen)
    assert finding.seen
    assert finding.fix
    assert finding.sentence.lower().rstrip(".") in diagnosis.headline.lower()
    assert not any("None" in line for line in finding.fix + finding.seen if "are None" not in line)


@pytest.mark.parametrize("cause", CAUSES)
def test_without_its_rule_the_cause_is_not_found(cause):
    machine = next(machine for name, _, machine in CASES if name == cause)
    others = [rule for rule in RULES if rule.cause != cause]
    evidence = collect(machine)
    assert diagnose(evidence).cause == cause
    assert diagnose(evidence, others).cause != cause


def test_every_cause_has_a_machine_and_one_rule():
    assert {cause for cause, _, _ in CASES} == set(CAUSES)
    assert len(set(CAUSES)) == len(CAUSES)
