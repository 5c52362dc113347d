"""Plans are timed on the task itself, and the best of those that agree with eager wins."""

import random

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import flatout
from flatout import PlanRefusedError, fit
from flatout.codegen import native_step
from flatout.codegen.build import build, foreseen_seconds
from flatout.hardware.peaks import Peaks
from flatout.plans.base import Plan
from flatout.plans.eager import EagerLoop, EagerPlan
from flatout.plans.native import NativePlan
from flatout.plans.registry import PLANS
from flatout.racing import race as racing
from flatout.racing.kept import kept_decision
from flatout.racing.race import CopyError, decide, race
from flatout.report.progress import Silent

PEAKS = Peaks("a processor", 1e11, 1e10, 1e11, 1, "2026-01-01", "")


class WrongLoop(EagerLoop):
    def advance(self, order):
        losses = super().advance(order)
        with torch.no_grad():
            self._parameters[0].add_(1e-2)
        return losses


class WrongPlan(Plan):
    name = "wrong"
    least_setup_s = 0.0

    def prepare(self, task, data):
        return WrongLoop(task, data)


class RefusingPlan(Plan):
    name = "refusing"
    least_setup_s = 0.0

    def prepare(self, task, data):
        raise PlanRefusedError("the operator aten.foo of layer 0 has no lowering")


class FailingPlan(RefusingPlan):
    name = "failing"

    def prepare(self, task, data):
        raise RuntimeError("boom")


class Notes(Silent):
    def __init__(self):
        super().__init__()
        self.notes = []

    def note(self, message):
        self.notes.append(message)


@pytest.fixture
def plan(monkeypatch):
    def enter(made):
        monkeypatch.setitem(PLANS, made.name, made)

    return enter


def by_plan(result):
    return {candidate.plan: candidate for candidate in result.candidates}


def test_native_wins_a_long_training_of_a_small_model(make_task):
    result = race(make_task(steps=10**6), plans=["native"], devices=["cpu"])
    found = by_plan(result)
    assert result.winner.plan == "native"
    assert found["native"].us_per_step < found["eager"].us_per_step
    assert found["native"].max_abs_diff < 1e-5
    assert found["native"].predicted_s == pytest.approx(
        found["native"].setup_s + found["native"].us_per_step, rel=1e-6
    )
    assert "of an eager step" in result.reason and "native starts nothing" in result.reason
    assert result.table.startswith("native on cpu wins: 1,000,000 steps take about")


def test_a_wrong_plan_is_thrown_out(make_task, plan):
    plan(WrongPlan)
    result = race(make_task(), plans=["wrong"], devices=["cpu"])
    wrong = by_plan(result)["wrong"]
    assert result.winner.plan == "eager"
    assert wrong.status == "wrong"
    assert "0.weight differs by" in wrong.reason or "loss" in wrong.reason
    assert wrong.max_abs_diff > 1e-3
    assert wrong.predicted_s is None


def test_a_plan_that_refuses_or_fails_says_why(make_task, plan):
    plan(RefusingPlan)
    plan(FailingPlan)
    found = by_plan(race(make_task(), plans=["refusing", "failing"], devices=["cpu"]))
    assert found["refusing"].status == "refused"
    assert "aten.foo of layer 0" in found["refusing"].reason
    assert found["failing"].reason == "it failed: RuntimeError: boom"


def test_twenty_steps_build_nothing(make_task, monkeypatch):
    def fails(*_, **__):
        pytest.fail("something was set up")

    for other in PLANS.values():
        if other is not EagerPlan:
            monkeypatch.setattr(other, "prepare", fails)
    monkeypatch.setattr("flatout.codegen.native_step.build", fails)
    monkeypatch.setattr("flatout.plans.compiled._compiled", fails)
    result = race(make_task(steps=20))
    assert result.winner.plan == "eager"
    assert {c.status for c in result.candidates if c.plan != "eager"} == {"skipped"}
    assert "20 steps take about" in result.reason
    assert fit(make_task(steps=20)).plan == "eager"


def test_the_task_and_the_generators_are_left_alone(make_task):
    task = make_task(optimizer=torch.optim.Adam, batch_size=5)
    before = {name: tensor.clone() for name, tensor in task.model.state_dict().items()}
    torch.manual_seed(3)
    np.random.seed(3)
    random.seed(3)
    expected = (torch.get_rng_state(), np.random.random(), random.random())
    torch.manual_seed(3)
    np.random.seed(3)
    random.seed(3)
    race(task, plans=["native"])
    assert torch.equal(torch.get_rng_state(), expected[0])
    assert (np.random.random(), random.random()) == expected[1:]
    assert not task.optimizer.state
    assert all(torch.equal(tensor, before[name]) for name, tensor in task.model.state_dict().items())


def test_a_scheduler_with_a_last_step_is_not_moved_beyond_it(make_task):
    task = make_task(steps=50)
    task.scheduler = torch.optim.lr_scheduler.OneCycleLR(task.optimizer, 0.1, total_steps=50)
    task.scheduler_per = "step"
    assert race(task).winner.plan == "eager"


def test_the_decision_is_kept_and_used_again(make_task, own_cache, monkeypatch):
    first = decide(make_task(steps=10**6), ["cpu"])
    assert not first.kept
    monkeypatch.setattr(racing, "race", lambda *_, **__: pytest.fail("raced again"))
    again = decide(make_task(steps=10**6), ["cpu"])
    assert again.kept
    assert (again.winner, again.reason, again.candidates) == (first.winner, first.reason, first.candidates)
    with pytest.raises(pytest.fail.Exception):
        decide(make_task(steps=10**6, batch_size=5), ["cpu"])


def test_the_decision_of_a_race_that_was_shown_is_trained_with(make_task, own_cache, monkeypatch):
    shown = race(make_task(steps=10**5), devices=["cpu"])
    monkeypatch.setattr(racing, "race", lambda *_, **__: pytest.fail("raced again"))
    notes = Notes()
    run = fit(make_task(steps=10**5), device="cpu", progress=notes)
    assert run.plan == shown.winner.plan
    assert notes.notes == [f"plan {run.plan}: {shown.reason}"]


def test_a_corrupt_decision_is_as_if_it_were_not_there(make_task, own_cache):
    task = make_task(steps=10**6)
    places = [torch.device("cpu")]
    first = decide(task, ["cpu"])
    (path,) = (own_cache / "decisions").iterdir()
    assert kept_decision(task, 10**6, places).winner == first.winner
    for content in ("", "{", "[]", '{"candidates": [], "winner": 0}', "\0", '{"candidates": [{"plan": 1}]}'):
        path.write_text(content)
        assert kept_decision(task, 10**6, places) is None
    path.write_bytes(b"\xff\xfe")
    assert not decide(task, ["cpu"]).kept


def test_auto_trains_with_the_winner_and_says_why(make_task):
    result = race(make_task(steps=10**5), devices=["cpu"])
    notes = Notes()
    run = fit(make_task(steps=10**5), device="cpu", progress=notes)
    assert run.plan == result.winner.plan == "native"
    assert notes.notes == [f"plan native: {result.reason}"]


def test_data_that_streams_stays_in_eager_and_is_not_used_up(make_task):
    task = make_task(steps=None, epochs=2)
    task.data = DataLoader(TensorDataset(*task.data), batch_size=5)
    result = race(task)
    assert result.winner.plan == "eager"
    assert result.winner.us_per_step is None
    assert "streams in" in result.reason
    assert fit(task).steps == 10


class NoCopy(nn.Linear):
    def __deepcopy__(self, memo):
        raise TypeError("not to be copied")


def test_a_task_that_cannot_be_copied_says_so_and_trains_in_eager(make_task):
    model = NoCopy(4, 2)
    changes = {"model": model, "optimizer": torch.optim.SGD(model.parameters(), lr=0.01)}
    task = flatout.Task(**{**vars(make_task(steps=50)), **changes})
    with pytest.raises(CopyError, match="not to be copied"):
        race(task)
    notes = Notes()
    assert fit(task, progress=notes).plan == "eager"
    assert "cannot be copied" in notes.notes[0]


def test_every_candidate_has_the_floor_of_its_device(make_task, monkeypatch):
    monkeypatch.setattr("flatout.racing.floors.peaks_of", lambda device: PEAKS)
    task = make_task()
    result = race(task, plans=["native"], devices=["cpu"])
    graph = flatout.trace(task)
    expected = pytest.approx(1e6 * max(graph.flops / PEAKS.flops, graph.bytes / PEAKS.cache_bandwidth))
    assert [c.floor_us for c in result.candidates] == [expected, expected]
    assert result.winner in result.candidates


def test_training_measures_no_peaks_and_takes_those_that_are_known(make_task, monkeypatch):
    monkeypatch.setattr("flatout.hardware.peaks.measure", lambda device: pytest.fail("measured"))
    monkeypatch.setattr("flatout.racing.floors.traced", lambda task: pytest.fail("traced once more"))
    monkeypatch.setattr("flatout.racing.floors.kept_peaks", lambda device: None)
    assert {c.floor_us for c in decide(make_task(steps=10**6), ["cpu"]).candidates} == {None}
    monkeypatch.setattr("flatout.racing.floors.kept_peaks", lambda device: PEAKS)
    assert all(c.floor_us > 0 for c in decide(make_task(steps=10**6, batch_size=11), ["cpu"]).candidates)


def test_a_step_that_cannot_be_traced_has_no_floor(make_task):
    class Looks(nn.Linear):
        def forward(self, x):
            return super().forward(x) * (2 if x.sum() > 100 else 1)

    model = Looks(4, 2)
    changes = {"model": model, "optimizer": torch.optim.SGD(model.parameters(), lr=0.01)}
    task = flatout.Task(**{**vars(make_task()), **changes})
    result = race(task, plans=["native"], devices=["cpu"])
    assert by_plan(result)["native"].status == "refused"
    assert [c.floor_us for c in result.candidates] == [None, None]


def test_the_split_of_an_eager_step_adds_up_to_what_was_timed(make_task):
    result = race(make_task(), plans=["eager"], devices=["cpu"])
    (split,) = result.splits
    parts = (split.compute_us, split.launch_us, split.transfer_us, split.sync_us, split.idle_us)
    assert sum(parts) == pytest.approx(result.winner.us_per_step)
    assert min(parts) >= 0
    assert "launch and Python" in result.table and "How that was measured" in result.table


def test_a_model_too_large_to_copy_says_so_and_trains_in_eager(make_task, monkeypatch):
    monkeypatch.setattr("flatout.racing.room.free_memory", lambda device: 100)
    with pytest.raises(CopyError, match=r"small.* is not raced: the copies of a race need about .* 100 B"):
        race(make_task(name="small"))
    notes = Notes()
    assert fit(make_task(steps=60), progress=notes).plan == "eager"
    assert "too little to race there" in notes.notes[0]


def test_memory_that_runs_out_is_said_too(make_task, monkeypatch):
    def full(*_):
        raise torch.OutOfMemoryError("tried to allocate 3 GiB")

    monkeypatch.setattr(EagerPlan, "prepare", full)
    with pytest.raises(CopyError, match=r"the memory of cpu is too small .* tried to allocate 3 GiB"):
        race(make_task())


def test_a_device_without_room_takes_no_part(make_task, monkeypatch):
    monkeypatch.setattr(racing, "find_device", torch.device)
    monkeypatch.setattr("flatout.racing.room.free_memory", lambda d: None if d.type == "cpu" else 100)
    monkeypatch.setattr("flatout.racing.floors.peaks_of", lambda device: PEAKS)
    result = race(make_task(), plans=["eager"], devices=["meta", "cpu"])
    assert (result.winner.device, result.winner.status) == ("cpu", "ok")
    assert result.candidates[0].status == "skipped"
    assert "100 B of memory are free on meta" in result.candidates[0].reason


def test_it_is_said_what_is_tried(make_task, plan):
    plan(RefusingPlan)
    said = []
    race(
        make_task(),
        plans=["refusing"],
        devices=["cpu"],
        watch=lambda found, now: said.append((len(found), now)),
    )
    assert said == [
        (0, "eager on cpu"), (1, ""), (1, "refusing on cpu"), (2, ""), (2, "the floor")
    ]  # fmt: skip


def test_an_unknown_plan_is_refused(make_task):
    with pytest.raises(PlanRefusedError, match="did you mean 'native'"):
        race(make_task(), plans=["natve"])


def test_a_build_that_would_outlast_the_training_is_not_begun(make_task, monkeypatch):
    monkeypatch.setattr(NativePlan, "least_setup", lambda self, task: 0.0)
    monkeypatch.setattr(native_step, "foreseen_seconds", lambda source: 1e9)
    monkeypatch.setattr(native_step, "build", None)
    result = race(make_task(steps=2000), plans=["eager", "native"], devices=["cpu"])
    native = result.candidates[1]
    assert native.status == "skipped"
    assert "building the C of its step would take about" in native.reason
    assert result.winner.plan == "eager"


def test_a_kept_library_is_foreseen_to_cost_nothing():
    source = '#include "flatout_kernels.h"\nint flatout_nothing(void) { return 0; }\n'
    assert foreseen_seconds(source) > 0
    build(source)
    assert foreseen_seconds(source) == 0
