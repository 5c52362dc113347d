"""Stopping when validation no longer gets better, and keeping the best weights."""

import math

import pytest
import torch
from cases import base, mlp, pairs
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.optim.lr_scheduler import ReduceLROnPlateau

from flatout import TaskError, fit
from flatout.training.stopping import EarlyStopping


def scripted(values):
    """A metric that says these values, one a validation."""
    told = iter(values)
    return lambda output, target: next(told)


def stopped_by(values, **options):
    case = base(validation=pairs(9, 1), validate_every=1, epochs=len(values))
    case |= {"metrics": {"score": scripted(values)}, "patience": 2}
    return fit(**case | options), case["model"]


def test_patience_counts_validations_and_the_best_weights_are_kept():
    run, model = stopped_by([1, 3, 2, 3, 9])
    assert run.status == "stopped early"
    assert [entry["score"] for entry in run.history] == [1, 3, 2, 3]
    assert run.best_step == run.history[1]["step"] == 10
    assert run.metrics["score"] == 3
    best = base(epochs=2)
    fit(**best)
    assert torch.equal(model[0].weight, best["model"][0].weight)


def test_validations_between_epochs_do_not_count():
    run, _ = stopped_by([1, 0, 0, 0, 0, 0, 0, 0, 0], validate_every=2, epochs=18)
    assert [entry["epoch"] for entry in run.history] == [2, 4, 6]


def test_smaller_may_be_better():
    run, _ = stopped_by([5, 3, 4, 4, 1], monitor_mode="min")
    assert run.metrics["score"] == 3
    assert len(run.history) == 4


def test_the_loss_is_watched_where_it_is_asked_for():
    case = base(validation=pairs(9, 1), validate_every=1, epochs=60, patience=2, monitor="loss")
    case["optimizer"].param_groups[0]["lr"] = 0.5
    run = fit(**case)
    losses = [entry["loss"] for entry in run.history]
    assert run.metrics["loss"] == min(losses)
    if run.status == "stopped early":
        assert losses.index(min(losses)) == len(losses) - 3


def test_the_best_weights_are_kept_at_the_end_too():
    run, _ = stopped_by([1, 5, 4], patience=9)
    assert run.status == "finished"
    assert run.best_step == 10
    assert run.metrics["score"] == 5


def test_nan_is_never_best():
    run, _ = stopped_by([math.nan, 2, math.nan, 1, 1])
    assert run.metrics["score"] == 2
    assert len(run.history) == 4


def test_an_unknown_monitor_is_named(tmp_path):
    for patience in (3, None):
        case = base(validation=pairs(9, 1), patience=patience, monitor="f1")
        with pytest.raises(TaskError, match="monitor is 'f1', but validation gives loss, accuracy"):
            fit(**case, run_dir=tmp_path)
    assert list(tmp_path.iterdir()) == []


def with_plateau(mode, **options):
    case = base(validation=pairs(9, 1), validate_every=1, **options)
    case["scheduler"] = ReduceLROnPlateau(case["optimizer"], mode=mode, patience=0, factor=0.5)
    return case


def test_a_plateau_is_one_of_the_loss_whatever_patience_watches():
    case = with_plateau("min", patience=50)
    fit(**case)
    assert case["optimizer"].param_groups[0]["lr"] == 0.1
    case = with_plateau("max", monitor="score", metrics={"score": scripted([1, 2, 2, 3])})
    fit(**case)
    assert case["optimizer"].param_groups[0]["lr"] == 0.05


def test_a_plateau_in_the_wrong_direction_is_refused():
    with pytest.raises(TaskError, match="mode 'max', but loss is better at its minimum"):
        fit(**with_plateau("max"))
    with pytest.raises(TaskError, match="mode 'min', but accuracy is better at its maximum"):
        fit(**with_plateau("min", monitor="accuracy"))


def test_batch_norm_statistics_belong_to_the_best_weights():
    case = base(mlp(nn.BatchNorm1d(6)), drop_last=True, validation=pairs(9, 1), validate_every=1, epochs=6)
    case |= {"metrics": {"score": scripted([3, 2, 1, 0, 0, 0])}, "patience": 2}
    run = fit(**case)
    assert run.best_step == 4
    assert case["model"][1].num_batches_tracked == 4


@given(st.lists(st.integers(0, 5) | st.just(math.nan), min_size=1), st.integers(1, 4), st.booleans())
def test_any_row_of_figures(values, patience, smaller):
    model = nn.Linear(1, 1)
    stopping = EarlyStopping("loss", smaller, patience)
    seen = []
    for step, value in enumerate(values):
        stopping.saw({"loss": value}, step, model)
        seen.append(value)
        if stopping.exhausted:
            break
    numbers = [value for value in seen if not math.isnan(value)]
    if numbers:
        best = min(numbers) if smaller else max(numbers)
        assert stopping.best == best
        assert stopping.best_step == seen.index(best)
        assert stopping.waited == len(seen) - 1 - seen.index(best)
    else:
        assert stopping.best_step is None
        assert stopping.waited == len(seen)
