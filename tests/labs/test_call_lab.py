"""The lab on calls: what it says is what it saw."""

import itertools

import numpy as np
import pytest
from torch import nn

from flatout.errors import LabError
from flatout.labs.call_lab import Nothing, document, frames_of, observed, timed
from flatout.labs.call_probes import PROBES, x
from flatout.labs.rounds import Effort

IN_THE_CALL = [probe.what for probe in PROBES[:14]]
ELSEWHERE = [probe.what for probe in PROBES[14:]]


@pytest.fixture(scope="module")
def seen():
    return observed()


def test_what_the_call_adds_and_what_sits_elsewhere(seen):
    assert [one.what for one in seen if one.by_call and not one.by_forward] == IN_THE_CALL
    assert [one.what for one in seen if one.by_call and one.by_forward] == ELSEWHERE


def test_a_torch_whose_call_only_calls_forward_would_be_seen(monkeypatch):
    quick = [probe for probe in PROBES if "symbolic_trace" not in probe.what]  # it puts a call in itself
    monkeypatch.setattr(nn.Module, "__call__", lambda self, *args: self.forward(*args))
    answers = observed(quick)
    assert [one.what for one in answers if one.by_call] == ELSEWHERE
    assert [one.what for one in answers if one.by_forward] == ELSEWHERE


def test_a_call_passes_more_frames_and_a_hook_more_still():
    layer, hooked = Nothing(), Nothing()
    hooked.register_forward_hook(lambda *_: None)
    plain, called, with_hook = (
        frames_of(work) for work in (lambda: layer.forward(x()), lambda: layer(x()), lambda: hooked(x()))
    )
    assert plain == ("x", "forward")
    assert called[0] == "x" and called[-1] == "forward" and len(called) > len(plain)
    assert len(with_hook) > len(called)


def machine(cost, seed=0):
    random = np.random.default_rng(seed)

    def clock(arm):
        seconds = 1e-6 + (cost if arm.against else 0.0)
        return seconds * (1 + 0.1 * abs(float(random.standard_t(3))))

    return clock


def test_the_cost_of_a_call_is_found_and_noise_is_called_noise():
    rows = timed(effort=Effort(rounds=30), clock=machine(0.5e-6))
    real = {row.what: row for row in rows}["fc1(x)"]
    assert not real.more.has_zero and real.more.estimate == pytest.approx(0.55e-6, rel=0.2)
    noisy = [timed(effort=Effort(rounds=12), clock=machine(0.0, seed)) for seed in range(40)]
    alarms = sum(not row.more.has_zero for rows in noisy for row in rows if row.more)
    assert alarms <= 5  # of 120


def test_the_document_names_frames_times_and_answers(seen):
    rows = timed(effort=Effort(rounds=8), clock=machine(0.5e-6))
    found = document(seen, rows)
    assert [row["what"] for row in found["timed"]] == [row.what for row in rows]
    frames = {row["what"]: row["frames"] for row in found["timed"]}
    for with_call, without in itertools.pairwise(("fc1(x) with a forward hook", "fc1(x)", "fc1.forward(x)")):
        assert len(frames[with_call]) > len(frames[without])
    assert "lets 14 things act that forward leaves out" in found["verdict"]


def test_too_few_rounds_are_refused():
    with pytest.raises(LabError, match="give --rounds 8 or more"):
        timed(effort=Effort(rounds=3))
