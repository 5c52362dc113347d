import sys

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from flatout.errors import TaskError
from flatout.task.builtin import BUILTIN, IrisNet


def train(task):
    """The plain loop of a lesson; returns the outputs on the validation rows and their targets."""
    generator = torch.Generator().manual_seed(task.seed)
    loader = DataLoader(TensorDataset(*task.data), task.batch_size, shuffle=True, generator=generator)
    for _ in range(task.epochs):
        for X, y in loader:
            task.optimizer.zero_grad()
            task.loss(task.model(X), y).backward()
            task.optimizer.step()
    X, y = task.validation
    with torch.no_grad():
        return task.model(X), y


def test_the_names():
    assert list(BUILTIN) == ["iris", "digits", "wine", "breast-cancer", "diabetes"]


@pytest.mark.parametrize("name", BUILTIN)
def test_the_shape_of_each_task(name):
    task = BUILTIN[name](seed=5)
    (X, y), (X_test, y_test) = task.data, task.validation
    assert task.name == name
    assert task.seed == 5
    assert task.notes
    assert X.dtype == X_test.dtype == torch.float32
    assert round(len(y_test) / (len(y) + len(y_test)), 2) == 0.2
    assert X.isfinite().all()
    assert task.model(X_test).shape == (len(y_test), 1 if name == "diabetes" else int(y.max()) + 1)
    if name == "diabetes":
        assert y.shape == (len(X), 1)
        assert y.dtype == torch.float32
    else:
        assert y.dtype == torch.int64
        assert y.ndim == 1


@pytest.mark.parametrize("name", BUILTIN)
def test_the_seed_fixes_the_first_weights(name):
    first, again, other = (BUILTIN[name](seed=s).model.state_dict() for s in (3, 3, 4))
    assert all(torch.equal(first[key], again[key]) for key in first)
    assert not all(torch.equal(first[key], other[key]) for key in first)


def test_iris_is_the_lesson():
    task = BUILTIN["iris"](seed=7)
    torch.manual_seed(7)
    fc1, fc2 = nn.Linear(4, 10), nn.Linear(10, 3)
    assert isinstance(task.model, IrisNet)
    for ours, theirs in zip(task.model.parameters(), [*fc1.parameters(), *fc2.parameters()], strict=True):
        assert torch.equal(ours, theirs)
    assert isinstance(task.optimizer, torch.optim.SGD)
    assert task.optimizer.param_groups[0]["lr"] == 0.01
    assert isinstance(task.loss, nn.CrossEntropyLoss)
    assert (task.batch_size, task.epochs, task.shuffled) == (None, 20_000, False)


def test_iris_data_is_that_of_scikit_learn():
    from sklearn.datasets import load_iris
    from sklearn.model_selection import train_test_split
    from sklearn.preprocessing import MinMaxScaler

    X, y = load_iris(return_X_y=True)
    X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=0.2, random_state=42)
    scaler = MinMaxScaler().fit(X_train)
    task = BUILTIN["iris"]()
    assert torch.equal(task.data[0], torch.FloatTensor(scaler.transform(X_train)))
    assert torch.equal(task.data[1], torch.LongTensor(y_train))
    assert torch.equal(task.validation[0], torch.FloatTensor(scaler.transform(X_test)))
    assert torch.equal(task.validation[1], torch.LongTensor(y_test))


def test_digits_are_divided_by_16():
    task = BUILTIN["digits"]()
    assert (task.data[0].min(), task.data[0].max()) == (0, 1)
    assert [tuple(p.shape) for p in task.model.parameters()] == [(64, 64), (64,), (10, 64), (10,)]
    assert (task.batch_size, task.epochs) == (64, 20)


def test_iris_learns():
    task = BUILTIN["iris"]()
    X, y = task.data
    for _ in range(4000):  # a fifth of the training is enough to see it
        task.optimizer.zero_grad()
        task.loss(task.model(X), y).backward()
        task.optimizer.step()
    X, y = task.validation
    assert (task.model(X).argmax(1) == y).float().mean() >= 0.9


@pytest.mark.parametrize(("name", "least"), [("digits", 0.93), ("wine", 0.94), ("breast-cancer", 0.94)])
@pytest.mark.parametrize("seed", [0, 1])
def test_classifiers_train_well(name, least, seed):
    output, y = train(BUILTIN[name](seed=seed))
    assert (output.argmax(1) == y).float().mean() >= least


@pytest.mark.parametrize("seed", [0, 1])
def test_diabetes_trains_well_and_says_its_unit(seed):
    task = BUILTIN["diabetes"](seed=seed)
    y = task.data[1]
    assert y.mean().abs() < 1e-5
    assert (y.std(correction=0) - 1).abs() < 1e-5
    assert any("target was standardised" in note for note in task.notes)
    output, y = train(task)
    assert 1 - (output - y).square().sum() / (y - y.mean()).square().sum() > 0.35


def test_missing_scikit_learn_says_how_to_install_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn", None)
    with pytest.raises(TaskError, match=r'pip install "flatout\[tasks\]"'):
        BUILTIN["wine"]()


def test_iris_needs_no_scikit_learn(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn", None)
    assert len(BUILTIN["iris"]().data[0]) == 120
