"""Resume, early stopping, validation and NaN under the plans that are not eager.

All trainings but one are of one task, because each step that `compiled` has not seen costs seconds.
"""

import math
import shutil

import pytest
import torch
from cases import BATCH, base, pairs
from hand_written import assert_same_run, assert_same_weights
from test_early_stopping import scripted

from flatout import NonFiniteLossError, TrainingInterrupted, fit
from flatout.training.checkpoint import load_checkpoint
from flatout.training.run_directory import read_document
from flatout.training.spot_check import SpotCheck

NEEDS = {"native": ("cc", "gcc", "clang"), "compiled": ("g++", "clang++")}
PLANS = [
    pytest.param(
        plan, marks=pytest.mark.skipif(not any(map(shutil.which, names)), reason=f"{plan} needs a compiler")
    )
    for plan, names in NEEDS.items()
]
pytestmark = pytest.mark.parametrize("plan", PLANS)


def case(lr=0.05, **options):
    """Batches that do not fill the last epoch's end, and an optimizer with state."""
    changes = {"drop_last": True, "validation": pairs(9, 1), "validate_every": 1, "epochs": 12} | options
    return base(optimizer=lambda p: torch.optim.Adam(p, lr=lr), batch_size=BATCH, **changes)


@pytest.mark.usefixtures("single_steps")
def test_stopped_and_resumed_is_never_stopped(plan, tmp_path, stop_at):
    whole = case()
    expected = fit(**whole, plan=plan)
    where = {"run_dir": tmp_path, "plan": plan}
    for stop in (1, 7, 30):
        with pytest.raises(TrainingInterrupted) as caught:
            fit(**case(), **where, progress=stop_at(stop))
        assert caught.value.run.steps in (stop, stop + 1)  # one more, where that one is checked
        where = {"resume": caught.value.run.directory}
        torch.manual_seed(99)
    rest = case()
    run = fit(**rest, **where)
    assert run.plan == expected.plan == plan
    assert_same_run(run, expected)
    assert_same_weights(rest["model"], whole["model"])


def test_chunks_change_nothing(plan, monkeypatch):
    expected = fit(**case(), plan=plan)
    monkeypatch.setattr("flatout.training.chunk.TARGET_SECONDS", 0.0)
    assert_same_run(fit(**case(), plan=plan), expected)


def test_early_stopping_keeps_the_weights_of_the_best_validation(plan):
    def stopped(plan):
        made = case() | {"metrics": {"score": scripted([1, 3, 2, 3, 9])}, "patience": 2}
        return fit(**made, plan=plan), made["model"]

    (run, model), (expected, its) = stopped(plan), stopped("eager")
    assert (run.plan, run.status, run.steps, run.best_step) == (plan, "stopped early", 16, 8)
    assert run.best_step == expected.best_step
    for mine, other in zip(model.parameters(), its.parameters(), strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-4, atol=1e-5)
    for mine, other in zip(run.history, expected.history, strict=True):
        assert mine == pytest.approx(other, rel=1e-4)


def test_the_step_before_an_early_stop_is_checked(plan, monkeypatch):
    """What a plan does wrong after its last check would be kept otherwise."""
    checked = []
    after = SpotCheck.after_step

    def noted(self, order, losses):
        checked.append(self._record.step)
        return after(self, order, losses)

    monkeypatch.setattr(SpotCheck, "after_step", noted)
    run = fit(**case() | {"metrics": {"score": scripted([1, 3, 2, 1, 9])}, "patience": 2}, plan=plan)
    assert run.status == "stopped early"
    assert checked[0] == 0
    assert checked[-1] == run.steps - 1


def test_ctrl_c_keeps_a_state_that_was_checked(plan, tmp_path, stop_at, monkeypatch):
    """The check at the end of the training is out of reach, and two seconds never pass."""
    agreed = []
    keep = SpotCheck.agreed
    monkeypatch.setattr(SpotCheck, "agreed", lambda self: (keep(self), agreed.append(self.agreed_step)))
    with pytest.raises(TrainingInterrupted) as caught:
        fit(
            **case(epochs=10**6, validation=None, validate_every=None),
            plan=plan,
            run_dir=tmp_path,
            progress=stop_at(9),
        )
    assert caught.value.run.steps == agreed[-1] > 9


def test_nan_stops_at_the_step_of_eager(plan, tmp_path):
    def stop(plan):
        with pytest.raises(NonFiniteLossError) as caught:
            fit(**case(lr=1e30), plan=plan, run_dir=tmp_path)
        return caught.value

    error, expected = stop(plan), stop("eager")
    assert error.run.plan == plan
    assert error.step == expected.step > 0
    step, state, _ = load_checkpoint(error.checkpoint.parent)
    assert step <= error.step
    assert all(torch.isfinite(tensor).all() for tensor in state["model"].values())
    document = read_document(error.run.directory)
    assert (document["plan"], document["status"]) == (plan, "not finite")


def test_keep_going_records_on(plan):
    run = fit(**case(lr=1e30), plan=plan, keep_going=True)
    assert (run.plan, run.status, run.steps) == (plan, "finished", 48)
    assert math.isnan(run.losses[-1])
