"""A step is replayed in eager now and then; training under the plan native."""

import math
import shutil

import pytest
import torch
from cases import base, mlp, pairs
from hand_written import assert_same_run
from torch import nn
from torch.optim.lr_scheduler import LambdaLR

from flatout import NonFiniteLossError, TrainingInterrupted, fit
from flatout.plans.eager import EagerLoop
from flatout.plans.native import NativePlan
from flatout.training import spot_check
from flatout.training.python_state import python_state, set_python_state
from flatout.training.run_directory import read_document


class ChangesAt(nn.Module):
    """Does something else from one call on."""

    def __init__(self, at):
        super().__init__()
        self.at, self.calls = at, 0

    def forward(self, x):
        self.calls += 1
        return x * 1.5 if self.calls >= self.at else x


class Frozen(EagerLoop):
    """Like a traced step: what `forward` changes in Python stays as it was at the start."""

    def __init__(self, task, data):
        super().__init__(task, data)
        self.task = task

    def advance(self, order):
        before = python_state(self.task)
        losses = []
        for row in order:
            losses.append(super().advance(row.view(1, -1)))
            set_python_state(self.task, before)
        return torch.cat(losses)


@pytest.fixture
def frozen(monkeypatch):
    """The trace refuses what it sees a model change in Python; here it has seen nothing."""
    monkeypatch.setattr(NativePlan, "prepare", lambda self, task, data: Frozen(task, data))


@pytest.fixture
def every_chunk(monkeypatch):
    monkeypatch.setattr(spot_check, "SECONDS_BETWEEN", 0.0)
    monkeypatch.setattr(spot_check, "_SHARE", math.inf)


def changing(at=1000, optimizer=None, steps=2000):
    return base(mlp(ChangesAt(at)), optimizer, epochs=None, steps=steps)


@pytest.mark.parametrize("optimizer", [None, lambda p: torch.optim.Adam(p, lr=1e-3)])
def test_a_model_that_changes_at_its_thousandth_call_is_caught(tmp_path, frozen, optimizer):
    with pytest.warns(RuntimeWarning, match=r"plan native computes something else.*differs by"):
        run = fit(**changing(optimizer=optimizer), plan="native", run_dir=tmp_path)
    case = changing(optimizer=optimizer)
    expected = fit(**case, plan="eager")
    assert run.plan == "eager"
    torch.testing.assert_close(run.losses, expected.losses, rtol=2e-3, atol=1e-4)
    document = read_document(run.directory)
    assert document["plan"] == "eager"
    assert document["fell_back_from"] == "native"
    assert "went back to step" in document["fell_back_reason"]


class Switched(nn.Module):
    """Does what its attribute says, which is not changed by calling it, so that it can be traced."""

    factor = 1.0

    def forward(self, x):
        return x * self.factor


def switching():
    """From the thousandth step on the layer does something else."""
    layer = Switched()
    case = base(mlp(layer), epochs=None, steps=2000, batch_size=None)

    def rate(step):
        layer.factor = 1.0 if step < 1000 else 1.5
        return 1.0

    return case | {"scheduler": LambdaLR(case["optimizer"], rate), "scheduler_per": "step"}


@pytest.mark.parametrize("plan", ["native", "compiled"])
@pytest.mark.skipif(shutil.which("g++") is None, reason="there is no compiler")
def test_a_model_that_is_changed_at_the_thousandth_step_is_caught(plan, tmp_path):
    """Nothing stands in for the plan here: its step is traced before the change and knows nothing of it."""
    unchecked = fit(**switching(), plan=plan, check=False)
    expected = fit(**switching(), plan="eager")
    torch.testing.assert_close(unchecked.losses[:1000], expected.losses[:1000], rtol=1e-4, atol=1e-5)
    assert not torch.allclose(unchecked.losses[1001:], expected.losses[1001:], rtol=1e-2)
    said = rf"the plan {plan} computes something else than eager at step 1,999: (the loss|\d\S+) differs by "
    said += r"[\d.e-]+ from eager \(allowed: [\d.e-]+\)\. Training went back to step 1 and goes on in eager"
    with pytest.warns(RuntimeWarning, match=said):
        run = fit(**switching(), plan=plan, run_dir=tmp_path)
    assert run.plan == "eager"
    torch.testing.assert_close(run.losses, expected.losses, rtol=1e-4, atol=1e-5)
    document = read_document(run.directory)
    assert (document["fell_back_from"], document["fell_back_at"]) == (plan, 1999)


def test_auto_gives_what_eager_gives_for_such_a_model():
    case, other = changing(steps=5000), changing(steps=5000)
    run = fit(**case)
    assert run.plan == "eager"
    assert_same_run(run, fit(**other, plan="eager"))


def test_the_count_of_calls_goes_on_where_eager_would_have_it(frozen):
    case, other = changing(), changing()
    with pytest.warns(RuntimeWarning):
        fit(**case, plan="native")
    fit(**other, plan="eager")
    assert case["model"][1].calls == other["model"][1].calls


def test_without_the_check_it_is_not_caught_and_the_record_says_so(tmp_path, frozen):
    run = fit(**changing(), plan="native", run_dir=tmp_path, check=False)
    assert run.plan == "native"
    assert read_document(run.directory)["check"] is False


def test_a_plan_that_goes_wrong_late_goes_back_to_the_last_agreed_step(monkeypatch, every_chunk):
    class Late(EagerLoop):
        done = 0

        def advance(self, order):
            losses = super().advance(order)
            self.done += len(order)
            if self.done > 100:
                with torch.no_grad():
                    self._parameters[0].add_(0.1)
            return losses

    monkeypatch.setattr(NativePlan, "prepare", lambda self, task, data: Late(task, data))
    with pytest.warns(RuntimeWarning, match="goes on in eager"):
        run = fit(**base(epochs=60), plan="native")
    assert_same_run(run, fit(**base(epochs=60), plan="eager"))


def test_checks_change_nothing(every_chunk):
    for optimizer in (None, lambda p: torch.optim.Adam(p, lr=1e-3)):
        case, other = base(optimizer=optimizer, epochs=10), base(optimizer=optimizer, epochs=10)
        assert_same_run(fit(**case, plan="native"), fit(**other, plan="native", check=False))


@pytest.mark.parametrize("optimizer", [None, lambda p: torch.optim.Adam(p, lr=1e-3)])
def test_a_resumed_run_is_bit_for_bit_the_whole_one(tmp_path, stop_at, optimizer):
    with pytest.raises(TrainingInterrupted) as stop:
        fit(**base(optimizer=optimizer, epochs=4000), plan="native", run_dir=tmp_path, progress=stop_at(50))
    assert stop.value.run.steps < 20_000
    rest = fit(**base(optimizer=optimizer, epochs=4000), resume=stop.value.run.directory)
    assert rest.plan == "native"
    assert_same_run(rest, fit(**base(optimizer=optimizer, epochs=4000), plan="native"))


def test_nan_stops(tmp_path):
    case = base(optimizer=lambda p: torch.optim.SGD(p, lr=1e38), epochs=50)
    with pytest.raises(NonFiniteLossError) as stop:
        fit(**case, plan="native", run_dir=tmp_path)
    assert stop.value.run.plan == "native"
    assert 0 < stop.value.step < 20


def test_early_stopping_gives_the_best_weights():
    def case():
        validation = (pairs(seed=8)[0], torch.zeros(22, dtype=torch.long))
        return base(epochs=300, validation=validation, validate_every=2, patience=3, monitor="loss")

    one, other = case(), case()
    run, expected = fit(**one, plan="native"), fit(**other, plan="eager")
    assert run.status == expected.status == "stopped early"
    assert run.best_step == expected.best_step
    for mine, its in zip(one["model"].parameters(), other["model"].parameters(), strict=True):
        torch.testing.assert_close(mine, its, rtol=1e-4, atol=1e-5)


def with_dropout(**changes):
    validation = {"validation": pairs(9, 1), "validate_every": 1000}
    return base(mlp(nn.Dropout(0.3)), lambda p: torch.optim.Adam(p, lr=1e-3), **validation, **changes)


def test_a_checked_step_has_the_masks_of_the_plan(every_chunk):
    case, other, seeded = with_dropout(epochs=60), with_dropout(epochs=60), with_dropout(epochs=60, seed=1)
    before = torch.get_rng_state()
    run = fit(**case, plan="native")  # a mismatch would warn, and go on in eager
    assert run.plan == "native"
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(9)
    assert_same_run(run, fit(**other, plan="native", check=False))
    assert not torch.equal(run.losses, fit(**seeded, plan="native").losses)


def test_a_resumed_run_draws_on_where_the_stopped_one_was(tmp_path, stop_at):
    with pytest.raises(TrainingInterrupted) as stop:
        fit(**with_dropout(epochs=4000), plan="native", run_dir=tmp_path, progress=stop_at(50))
    assert stop.value.run.steps < 20_000
    torch.manual_seed(9)
    rest = fit(**with_dropout(epochs=4000), resume=stop.value.run.directory)
    assert rest.plan == "native"
    assert_same_run(rest, fit(**with_dropout(epochs=4000), plan="native"))
