"""A loss that leaves the numbers."""

import math

import numpy as np
import pytest
import torch
from cases import base, mlp
from hypothesis import given, settings
from hypothesis import strategies as st

from flatout import NonFiniteLossError, fit
from flatout.training.checkpoint import load_checkpoint
from flatout.training.run_directory import read_document


def bad_at(step, value=math.nan):
    """A task whose loss is NaN or infinite at that step and fine before."""
    calls = 0

    def objective(model, batch):
        nonlocal calls
        calls += 1
        x, y = batch
        loss = torch.nn.functional.cross_entropy(model(x), y)
        return loss * value if calls == step + 1 else loss

    return base(loss=None, objective=objective, epochs=None) | {"steps": 200}


@settings(max_examples=15, deadline=None)
@given(step=st.integers(0, 199), value=st.sampled_from([math.nan, math.inf, -math.inf]))
def test_the_step_is_told_exactly(step, value):
    with pytest.raises(NonFiniteLossError, match=f"at step {step:,} and training stopped") as caught:
        fit(**bad_at(step, value), plan="eager")
    error = caught.value
    assert error.step == step
    assert error.checkpoint is None
    assert error.run.status == "not finite"
    assert torch.isfinite(error.run.losses[:step]).all()
    assert not torch.isfinite(error.run.losses[step])


def test_the_last_good_checkpoint_is_named(tmp_path, single_steps):
    case = bad_at(30)
    with pytest.raises(NonFiniteLossError, match=r"smaller learning rate \(now 0\.1\)") as caught:
        fit(**case, run_dir=tmp_path, checkpoint_every=0, plan="eager")
    checkpoint = caught.value.checkpoint
    assert checkpoint.name == "000000000030"
    assert str(checkpoint) in str(caught.value)
    step, state, _ = load_checkpoint(checkpoint.parent)
    assert step == 30
    assert all(torch.isfinite(tensor).all() for tensor in state["model"].values())
    assert not torch.isfinite(case["model"][0].weight).all()
    document = read_document(caught.value.run.directory)
    assert document["status"] == "not finite"
    assert document["loss"] == {"first": pytest.approx(1.1, abs=0.4), "last": None}
    assert len(np.load(caught.value.run.directory / "losses.npy")) == 31


def test_weights_that_are_not_finite_are_not_kept(tmp_path, single_steps):
    """The loss shows them one step later only."""
    case = base(optimizer=lambda p: torch.optim.SGD(p, lr=1e38), epochs=50)
    with pytest.raises(NonFiniteLossError) as caught:
        fit(**case, run_dir=tmp_path, checkpoint_every=0)
    _, state, _ = load_checkpoint(caught.value.checkpoint.parent)
    assert all(torch.isfinite(tensor).all() for tensor in state["model"].values())


def test_keep_going_records_on(tmp_path):
    run = fit(**bad_at(7), plan="eager", keep_going=True, run_dir=tmp_path)
    assert run.status == "finished"
    assert run.steps == 200
    assert torch.isnan(run.losses[7:]).all()
    assert torch.isfinite(run.losses[:7]).all()
    assert read_document(run.directory)["first_nonfinite_step"] == 7
    again = fit(**bad_at(7), plan="eager", keep_going=True, resume=run.directory)
    assert torch.equal(again.losses.nan_to_num(-1), run.losses.nan_to_num(-1))


def test_every_learning_rate_is_named():
    def groups(parameters):
        first, *rest = parameters
        return torch.optim.SGD([{"params": [first], "lr": 0.5}, {"params": rest}], lr=0.25)

    model = mlp()
    with pytest.raises(NonFiniteLossError, match=r"\(now 0\.25, 0\.5\)"):
        fit(**bad_at(3) | {"model": model, "optimizer": groups(model.parameters())}, plan="eager")
