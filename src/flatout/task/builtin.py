"""The built-in tasks: five small data sets, ready to train.

Four come with scikit-learn. The irises (R. A. Fisher, 1936; UCI Machine Learning Repository, CC BY 4.0) lie
beside this file, so that the first run needs no scikit-learn and does not wait for its import.

`BUILTIN` maps a name to its builder. Each builder loads its data, keeps 20 % of the rows for validation
(the same rows every time), calls `torch.manual_seed(seed)` and then builds the model, so that the same
seed gives the same first weights.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from flatout.errors import TaskError
from flatout.task.task import Task


class IrisNet(nn.Module):
    """Linear(4, 10), ReLU, Linear(10, 3): the network of many first lessons."""

    def __init__(self) -> None:
        super().__init__()
        self.fc1 = nn.Linear(4, 10)
        self.relu = nn.ReLU()
        self.fc2 = nn.Linear(10, 3)

    def forward(self, x: Tensor) -> Tensor:
        """Class scores [n, 3] of measurements x [n, 4]."""
        return self.fc2(self.relu(self.fc1(x)))  # type: ignore[no-any-return]


class _Split(NamedTuple):
    """Rows to train on and rows held out, as NumPy arrays of 64-bit floats (X) and of targets (y)."""

    X_train: Any
    X_test: Any
    y_train: Any
    y_test: Any


def iris(seed: int = 0) -> Task:
    """150 irises, 4 measurements, 3 species: full batch, plain SGD, 20,000 epochs.

    Example:
        >>> task = iris()
        >>> [tuple(part.shape) for part in task.data]
        [(120, 4), (120,)]
    """
    split = _irises()
    torch.manual_seed(seed)
    model = IrisNet()
    return Task(
        model=model,
        data=_labelled(split.X_train, split.y_train),
        validation=_labelled(split.X_test, split.y_test),
        optimizer=torch.optim.SGD(model.parameters(), lr=0.01),
        loss=nn.CrossEntropyLoss(),
        epochs=20_000,
        seed=seed,
        name="iris",
        notes=[_SCALED_TO_ONE],
    )


def digits(seed: int = 0) -> Task:
    """1797 handwritten digits of 8 x 8 pixels, 10 classes: batches of 64, Adam, 20 epochs."""
    split = _split("load_digits")
    split = split._replace(X_train=split.X_train / 16, X_test=split.X_test / 16)
    note = "pixels were divided by 16, their largest value"
    return _classifier("digits", split, 64, lr=1e-3, batch_size=64, epochs=20, seed=seed, note=note)


def wine(seed: int = 0) -> Task:
    """178 wines, 13 measurements, 3 growers: batches of 32, Adam, 40 epochs."""
    split = _scaled(_split("load_wine"), "StandardScaler")
    return _classifier("wine", split, 32, lr=3e-3, batch_size=32, epochs=40, seed=seed, note=_STANDARDISED)


def breast_cancer(seed: int = 0) -> Task:
    """569 tumours, 30 measurements, malignant or benign: batches of 32, Adam, 30 epochs."""
    split = _scaled(_split("load_breast_cancer"), "StandardScaler")
    return _classifier(
        "breast-cancer", split, 32, lr=1e-3, batch_size=32, epochs=30, seed=seed, note=_STANDARDISED
    )


def diabetes(seed: int = 0) -> Task:
    """442 patients, 10 measurements, progression after a year: regression, batches of 32, Adam, 40 epochs.

    The target is standardised: one unit of the output is one standard deviation of the training rows.
    """
    split = _scaled(_split("load_diabetes"), "StandardScaler")
    mean, std = float(split.y_train.mean()), float(split.y_train.std())
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(10, 32), nn.ReLU(), nn.Linear(32, 1))
    return Task(
        model=model,
        data=_measured(split.X_train, (split.y_train - mean) / std),
        validation=_measured(split.X_test, (split.y_test - mean) / std),
        optimizer=torch.optim.Adam(model.parameters(), lr=1e-3),
        loss=nn.MSELoss(),
        epochs=40,
        batch_size=32,
        seed=seed,
        name="diabetes",
        notes=[
            _STANDARDISED,
            f"the target was standardised with the training rows: mean {mean:.6g}, standard deviation "
            f"{std:.6g}; multiply an output by {std:.6g} and add {mean:.6g} to get the original unit",
        ],
    )


BUILTIN: dict[str, Callable[..., Task]] = {
    "iris": iris,
    "digits": digits,
    "wine": wine,
    "breast-cancer": breast_cancer,
    "diabetes": diabetes,
}
"""Name of a built-in task to its builder, `build(seed=0) -> Task`."""

_SCALED_TO_ONE = "features were scaled to 0..1 with the smallest and largest value of the training rows"
_STANDARDISED = "features were standardised with mean and standard deviation of the training rows"


_HELD_OUT, _CHOICE = 0.2, 42  # the share of rows to validate with, and the seed they are chosen by


def _irises() -> _Split:
    """The irises, split as scikit-learn's `train_test_split` does it, and scaled as by its `MinMaxScaler`."""
    rows = np.loadtxt(Path(__file__).with_name("iris.csv"), delimiter=",", skiprows=1)
    X, y = rows[:, :4], rows[:, 4].astype(np.int64)
    held_out = math.ceil(_HELD_OUT * len(X))
    order = np.random.RandomState(_CHOICE).permutation(len(X))
    test, train = order[:held_out], order[held_out:]
    low, high = X[train].min(axis=0), X[train].max(axis=0)
    scaled = X * (1 / (high - low)) + (0 - low * (1 / (high - low)))
    return _Split(scaled[train], scaled[test], y[train], y[test])


def _split(loader: str) -> _Split:
    """The data set of `sklearn.datasets.<loader>`, 20 % of its rows held out, always the same ones."""
    try:
        from sklearn import datasets, model_selection
    except ImportError as error:
        raise TaskError(
            f"the built-in tasks need scikit-learn, and it cannot be imported ({error}). "
            'Install it: pip install "flatout[tasks]"'
        ) from error
    X, y = getattr(datasets, loader)(return_X_y=True)
    return _Split(*model_selection.train_test_split(X, y, test_size=_HELD_OUT, random_state=_CHOICE))


def _scaled(split: _Split, scaler_name: str) -> _Split:
    """The features scaled by a scaler of scikit-learn that has seen the training rows only."""
    from sklearn import preprocessing

    scaler = getattr(preprocessing, scaler_name)()
    return split._replace(X_train=scaler.fit_transform(split.X_train), X_test=scaler.transform(split.X_test))


def _labelled(X: Any, y: Any) -> tuple[Tensor, Tensor]:
    """Features float32 [n, features] and class labels int64 [n]."""
    return torch.FloatTensor(X), torch.LongTensor(y)


def _measured(X: Any, y: Any) -> tuple[Tensor, Tensor]:
    """Features float32 [n, features] and targets float32 [n, 1]."""
    return torch.FloatTensor(X), torch.FloatTensor(y).unsqueeze(1)


def _classifier(
    name: str, split: _Split, width: int, *, lr: float, batch_size: int, epochs: int, seed: int, note: str
) -> Task:
    """A classification of one hidden layer, trained with Adam on shuffled batches."""
    classes = int(split.y_train.max()) + 1
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(split.X_train.shape[1], width), nn.ReLU(), nn.Linear(width, classes))
    return Task(
        model=model,
        data=_labelled(split.X_train, split.y_train),
        validation=_labelled(split.X_test, split.y_test),
        optimizer=torch.optim.Adam(model.parameters(), lr=lr),
        loss=nn.CrossEntropyLoss(),
        epochs=epochs,
        batch_size=batch_size,
        seed=seed,
        name=name,
        notes=[note],
    )
