"""A training that was stopped and resumed is, bit for bit, the one that was never stopped."""

import json

import pytest
import torch
from cases import BATCH, CASES, EPOCHS, Plain, base, loaded, mlp, pairs
from conftest import StopAt, quick_folder
from hand_written import assert_same_run, assert_same_weights, hand_written
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from flatout import TrainingInterrupted, fit


def early_stopping():
    return base(
        mlp(nn.Dropout(0.5)), validation=pairs(9, 1), validate_every=1, patience=2, monitor="loss", epochs=12
    )


RESUMED = {**CASES, "early stopping": early_stopping}
del RESUMED["own loader of single samples"]


@pytest.mark.usefixtures("single_steps")
@pytest.mark.parametrize("name", RESUMED)
def test_stopped_and_resumed_is_never_stopped(name, tmp_path, stop_at):
    whole = RESUMED[name]()
    expected = fit(**whole)
    for turn, stop in enumerate((1, 5, 13)):
        with pytest.raises(TrainingInterrupted) as caught:
            fit(**RESUMED[name](), run_dir=tmp_path / str(turn), progress=stop_at(stop))
        assert caught.value.run.status == "interrupted"
        assert caught.value.run.steps == stop
        case = RESUMED[name]()
        torch.manual_seed(99)
        run = fit(**case, resume=caught.value.run.directory)
        assert_same_run(run, expected)
        assert_same_weights(case["model"], whole["model"])
        assert case["optimizer"].param_groups[0]["lr"] == whole["optimizer"].param_groups[0]["lr"]


def test_single_samples_resume(tmp_path, stop_at, single_steps):
    make = CASES["own loader of single samples"]
    expected = fit(**make())
    with pytest.raises(TrainingInterrupted) as caught:
        fit(**make(), run_dir=tmp_path, progress=stop_at(9))
    assert_same_run(fit(**make(), resume=caught.value.run.directory), expected)


def test_workers_that_persist_get_their_seed_once(tmp_path, stop_at, single_steps):
    """A resumed run starts them anew, and must not draw a second seed from the generator of the order."""
    made = []

    def make():
        options = {"shuffle": True, "num_workers": 1, "persistent_workers": True}
        made.append(loaded(Plain(), batch_size=BATCH, **options))
        return made[-1]

    by_hand = make()
    expected = hand_written(**by_hand)
    whole = make()
    assert torch.equal(fit(**whole).losses, expected)
    for turn, stop in enumerate((5, 8)):
        with pytest.raises(TrainingInterrupted) as caught:
            fit(**make(), run_dir=tmp_path / str(turn), progress=stop_at(stop))
        case = make()
        assert torch.equal(fit(**case, resume=caught.value.run.directory).losses, expected)
        assert_same_weights(case["model"], by_hand["model"])
    for case in made:
        if case["data"]._iterator is not None:
            case["data"]._iterator._shutdown_workers()  # left to the garbage collector they hang for seconds


@settings(max_examples=8, deadline=None)
@given(
    stops=st.lists(st.integers(1, 60), min_size=1, max_size=3),
    name=st.sampled_from(["dropout", "one cycle", "stream", "own loader", "iterable", "early stopping"]),
)
def test_stopped_any_number_of_times(stops, name):
    with pytest.MonkeyPatch.context() as patch, quick_folder() as folder:
        patch.setattr("flatout.training.chunk.TARGET_SECONDS", 0.0)
        whole = RESUMED[name]()
        expected = fit(**whole)
        where = {"run_dir": folder}
        for stop in sorted(stops):
            try:
                where = {"resume": fit(**RESUMED[name](), **where, progress=StopAt(stop)).directory}
            except TrainingInterrupted as stopped:
                where = {"resume": stopped.run.directory}
        case = RESUMED[name]()
        assert_same_run(fit(**case, **where), expected)
        assert_same_weights(case["model"], whole["model"])


def test_a_crash_loses_at_most_what_came_after_the_last_checkpoint(tmp_path, stop_at, single_steps):
    expected = fit(**CASES["dropout"]())
    with pytest.raises(ZeroDivisionError):
        fit(
            **CASES["dropout"](),
            run_dir=tmp_path,
            checkpoint_every=0,
            progress=stop_at(8, ZeroDivisionError("crash")),
        )
    (directory,) = tmp_path.iterdir()
    document = json.loads((directory / "run.json").read_text())
    assert document["status"] == "failed"
    assert document["error"] == "ZeroDivisionError: crash"
    assert [p.name for p in sorted((directory / "checkpoint").iterdir())] == ["000000000006", "000000000007"]
    assert_same_run(fit(**CASES["dropout"](), resume=directory), expected)
    document = json.loads((directory / "run.json").read_text())
    assert document["status"] == "finished"
    assert "error" not in document


@pytest.mark.parametrize("name", ["dropout", "early stopping", "stream"])
def test_resuming_a_finished_run_changes_nothing(name, tmp_path):
    whole = RESUMED[name]()
    expected = fit(**whole, run_dir=tmp_path)
    case = RESUMED[name]()
    run = fit(**case, resume=expected.directory)
    assert_same_run(run, expected)
    assert_same_weights(case["model"], whole["model"])
    assert run.directory == expected.directory
    assert run.seconds == expected.seconds


@pytest.mark.parametrize("name", ["dropout", "adam", "stream", "own loader", "iterable"])
def test_more_epochs_go_on_where_the_run_ended(name, tmp_path):
    longer = CASES[name]() | {"epochs": 2 * EPOCHS}
    expected = fit(**longer)
    first = fit(**CASES[name](), run_dir=tmp_path)
    assert first.steps < expected.steps
    case = CASES[name]() | {"epochs": 2 * EPOCHS}
    assert torch.equal(fit(**case, resume=first.directory).losses, expected.losses)
    assert_same_weights(case["model"], longer["model"])


def test_the_loss_may_have_weights_of_its_own(tmp_path, stop_at, single_steps):
    class Scaled(nn.Module):
        def __init__(self):
            super().__init__()
            self.scale = nn.Parameter(torch.tensor(0.5))
            self.register_buffer("calls", torch.zeros((), dtype=torch.int64))

        def forward(self, output, target):
            self.calls += 1
            error = nn.functional.cross_entropy(output, target)
            return error * torch.exp(-self.scale) + self.scale

    def make():
        model, loss = mlp(), Scaled()
        optimizer = torch.optim.Adam([*model.parameters(), *loss.parameters()], lr=0.05)
        return base(model) | {"loss": loss, "optimizer": optimizer, "clip_grad_norm": 0.1}

    whole = make()
    expected = fit(**whole)
    with pytest.raises(TrainingInterrupted) as caught:
        fit(**make(), run_dir=tmp_path, progress=stop_at(7))
    case = make()
    assert_same_run(fit(**case, resume=caught.value.run.directory), expected)
    assert_same_weights(case["loss"], whole["loss"])


def test_gradients_outside_the_optimizer_do_not_count(tmp_path, stop_at, single_steps):
    """They are never cleared, so they would grow, and a resumed run would not have them."""

    def make():
        model = mlp()
        optimizer = torch.optim.SGD(model[2].parameters(), lr=0.1)
        return base(model) | {"optimizer": optimizer, "clip_grad_norm": 0.05}

    whole = make()
    expected = fit(**whole)
    with pytest.raises(TrainingInterrupted) as caught:
        fit(**make(), run_dir=tmp_path, progress=stop_at(7))
    assert_same_run(fit(**make(), resume=caught.value.run.directory), expected)
