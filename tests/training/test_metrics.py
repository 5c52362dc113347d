"""Validation, and the figures a task is judged by."""

import pytest
import torch
from cases import Noisy, Stream, base, dict_objective, mlp, pairs
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, r2_score
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader

from flatout import DataError, fit
from flatout.training.metrics import accuracy, r2


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), min_size=1))
def test_accuracy_is_that_of_scikit_learn(pairs_of):
    said, true = (torch.tensor(part) for part in zip(*pairs_of, strict=True))
    assert float(accuracy(functional.one_hot(said, 3), true)) == pytest.approx(accuracy_score(true, said))


@given(st.lists(st.tuples(st.floats(-5, 5), st.floats(-5, 5)), min_size=2))
def test_r2_is_that_of_scikit_learn(pairs_of):
    said, true = (torch.tensor(part, dtype=torch.float64) for part in zip(*pairs_of, strict=True))
    if true.var() > 1e-6:
        assert float(r2(said, true)) == pytest.approx(r2_score(true, said), rel=1e-5, abs=1e-5)


def test_r2_of_several_outputs_weighs_them_by_their_variance():
    generator = torch.Generator().manual_seed(0)
    true, said = (torch.randn(20, 3, generator=generator) * torch.tensor([1, 5, 9]) for _ in range(2))
    assert float(r2(said, true)) == pytest.approx(r2_score(true, said, multioutput="variance_weighted"))


def regression():
    X, _ = pairs()
    torch.manual_seed(0)
    model = nn.Linear(4, 1)
    return base(model, data=(X, X.sum(1, keepdim=True)), loss=nn.MSELoss(), epochs=200)


def two_classes(loss, *last):
    X, y = pairs()
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 1), *last)
    return base(model, data=(X, (y > 0).float().unsqueeze(1)), loss=loss, epochs=100)


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (base, "train_accuracy"),
        (regression, "train_R²"),
        (lambda: two_classes(nn.BCEWithLogitsLoss()), "train_accuracy"),
        (lambda: two_classes(functional.binary_cross_entropy_with_logits), "train_accuracy"),
        (lambda: two_classes(nn.BCELoss(), nn.Sigmoid()), "train_accuracy"),
    ],
)
def test_the_metric_fits_the_task(make, name):
    run = fit(**make())
    assert list(run.metrics) == [name]
    assert 0.4 < run.metrics[name] <= 1


def test_validation_gives_loss_and_metrics_of_the_model_as_it_is():
    validation = pairs(30, 1)
    case = base(mlp(nn.Dropout(0.5)), validation=validation, validate_every=1)
    run = fit(**case)
    assert [entry["epoch"] for entry in run.history] == [1, 2, 3, 4]
    assert [entry["step"] for entry in run.history] == [5, 10, 15, 20]
    model = case["model"].eval()
    with torch.no_grad():
        output = model(validation[0])
    assert run.metrics == {
        "loss": float(functional.cross_entropy(output, validation[1])),
        "accuracy": pytest.approx(float((output.argmax(1) == validation[1]).float().mean())),
    }
    assert {"step": 20, "epoch": 4, **run.metrics} == run.history[-1]


@pytest.mark.parametrize("samples", [1, 9, 3000])
@pytest.mark.parametrize("form", ["resident", "dataset", "loader"])
def test_the_loss_is_the_mean_over_all_samples_in_whatever_parts(samples, form):
    X, y = pairs(samples, 1)
    rows = list(zip(X, y, strict=True))
    validation = {
        "resident": (X, y),
        "dataset": torch.utils.data.Subset(torch.utils.data.TensorDataset(X, y), range(samples)),
        "loader": DataLoader(rows, batch_size=7),
    }[form]
    case = base(validation=validation)
    run = fit(**case)
    expected = functional.cross_entropy(case["model"](X), y).item()
    assert run.metrics["loss"] == pytest.approx(expected, rel=1e-5)


def test_about_twenty_validations_unless_told():
    run = fit(**base(validation=pairs(9, 1), batch_size=None, epochs=1000))
    assert len(run.history) == 20
    run = fit(**base(validation=pairs(9, 1), epochs=7, validate_every=3))
    assert [entry["epoch"] for entry in run.history] == [3, 6, 7]
    run = fit(**base(validation=pairs(9, 1), data=Stream(), epochs=3))
    assert [entry["epoch"] for entry in run.history] == [1, 2, 3]
    run = fit(**base(validation=pairs(9, 1), epochs=None) | {"steps": 3})
    assert [entry["step"] for entry in run.history] == [3]


def test_metrics_of_an_objective_see_model_and_batch():
    def entropy(model, batch):
        assert not model.training
        return functional.cross_entropy(model(batch["x"]), batch["y"])

    case = dict_objective()
    run = fit(**case, metrics={"entropy": entropy}, validation=case["data"])
    batch = case["data"]
    assert run.metrics["entropy"] == pytest.approx(
        functional.cross_entropy(case["model"](batch["x"]), batch["y"]).item()
    )
    assert fit(**dict_objective()).metrics == {}


def test_an_objective_may_take_derivatives_in_validation():
    def slope(model, batch):
        x = batch[0].requires_grad_()
        (derivative,) = torch.autograd.grad(model(x).sum(), x, create_graph=True)
        return (derivative - 1).square().mean()

    X = torch.randn(8, 4)
    case = base(nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 1)), data=(X,), loss=None)
    run = fit(**case, objective=slope, validation=(X.clone(),))
    assert run.metrics["loss"] < run.losses[0]


def test_random_states_and_modes_are_untouched_by_validation():
    def draws(output, target):
        return torch.rand(())

    expected = fit(**base(mlp(nn.Dropout(0.5))))
    run = fit(
        **base(mlp(nn.Dropout(0.5))), validation=pairs(9, 1), validate_every=1, metrics={"draws": draws}
    )
    assert torch.equal(run.losses, expected.losses)


def test_outputs_of_any_nest_are_joined():
    class Both(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(4, 3)

        def forward(self, x):
            return {"scores": self.layer(x), "sum": x.sum()}

    def loss(output, target):
        return functional.cross_entropy(output["scores"], target)

    def shape(output, target):
        assert output["scores"].shape == (3000, 3)
        assert output["sum"].shape == (3,)
        return 1.0

    run = fit(**base(Both(), loss=loss), validation=pairs(3000), metrics={"shape": shape})
    assert run.metrics["shape"] == 1


def test_an_endless_stream_is_not_read_for_metrics():
    class Endless(Stream):
        def __iter__(self):
            while True:
                yield from super().__iter__()

    case = base(data=Endless(), epochs=None, metrics={"accuracy": accuracy})
    assert fit(**case | {"steps": 30}).metrics == {}


def test_validation_without_samples_is_an_error():
    class Nothing(torch.utils.data.IterableDataset):
        def __iter__(self):
            return iter(())

    with pytest.raises(DataError, match="the validation data gave no sample"):
        fit(**base(validation=Nothing()))


def test_metrics_on_training_data_that_streams():
    assert 0 <= fit(**base(data=Noisy())).metrics["train_accuracy"] <= 1
