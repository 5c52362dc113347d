"""`fit` gives, bit for bit, what the hand-written loop gives."""

import pytest
import torch
from cases import CASES, base, mlp, pairs
from hand_written import assert_same_weights, hand_written
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from flatout import fit, load_task


def test_iris_is_the_hand_written_loop():
    from sklearn.datasets import load_iris
    from sklearn.model_selection import train_test_split
    from sklearn.preprocessing import MinMaxScaler

    X, y = load_iris(return_X_y=True)
    X_train, _, y_train, _ = train_test_split(X, y, test_size=0.2, random_state=42)
    X_train = torch.tensor(MinMaxScaler().fit_transform(X_train), dtype=torch.float32)
    y_train = torch.tensor(y_train, dtype=torch.long)
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 10), nn.ReLU(), nn.Linear(10, 3))
    criterion = nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    losses = []
    for _ in range(20_000):
        optimizer.zero_grad()
        loss = criterion(model(X_train), y_train)
        loss.backward()
        optimizer.step()
        losses.append(loss.detach())

    task = load_task("iris", seed=0)
    run = fit(task, plan="eager")
    assert run.steps == 20_000
    assert torch.equal(run.losses, torch.stack(losses))
    for mine, other in zip(task.model.parameters(), model.parameters(), strict=True):
        assert torch.equal(mine, other)


def test_digits_is_the_data_loader_loop():
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    X, y = load_digits(return_X_y=True)
    X_train, _, y_train, _ = train_test_split(X, y, test_size=0.2, random_state=42)
    X_train = torch.tensor(X_train / 16, dtype=torch.float32)
    dataset = TensorDataset(X_train, torch.tensor(y_train, dtype=torch.long))
    generator = torch.Generator().manual_seed(0)
    loader = DataLoader(dataset, batch_size=64, shuffle=True, generator=generator)
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    criterion = nn.CrossEntropyLoss()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    losses = []
    for _ in range(5):
        for x, target in loader:
            optimizer.zero_grad()
            loss = criterion(model(x), target)
            loss.backward()
            optimizer.step()
            losses.append(loss.detach())

    task = load_task("digits", seed=0)
    task.epochs = 5
    run = fit(task)
    assert len(dataset) % 64  # there is a smaller last batch
    assert torch.equal(run.losses, torch.stack(losses))
    for mine, other in zip(task.model.parameters(), model.parameters(), strict=True):
        assert torch.equal(mine, other)


@pytest.mark.parametrize("name", CASES)
def test_every_kind_of_training_is_the_hand_written_loop(name):
    by_hand = CASES[name]()
    expected = hand_written(**by_hand)
    case = CASES[name]()
    run = fit(**case)
    assert torch.equal(run.losses, expected)
    assert_same_weights(case["model"], by_hand["model"])


@pytest.mark.parametrize("name", ["dropout", "stream", "own loader"])
def test_checkpoints_metrics_and_validation_do_not_disturb(name, tmp_path, single_steps):
    by_hand = CASES[name]()
    expected = hand_written(**by_hand)
    case = CASES[name]()
    run = fit(**case, validation=pairs(9, 1), validate_every=1, run_dir=tmp_path, checkpoint_every=0)
    assert torch.equal(run.losses, expected)
    assert_same_weights(case["model"], by_hand["model"])


OPTIMIZERS = {
    "sgd": lambda p, lr: torch.optim.SGD(p, lr=lr),
    "momentum": lambda p, lr: torch.optim.SGD(p, lr=lr, momentum=0.9),
    "adam": lambda p, lr: torch.optim.Adam(p, lr=lr),
    "adamw": lambda p, lr: torch.optim.AdamW(p, lr=lr),
}


@settings(max_examples=30, deadline=None)
@given(
    samples=st.integers(1, 40),
    batch=st.integers(1, 40),
    full=st.booleans(),
    shuffle=st.sampled_from([None, True, False]),
    drop_last=st.booleans(),
    epochs=st.integers(1, 4),
    optimizer=st.sampled_from(sorted(OPTIMIZERS)),
    lr=st.floats(1e-4, 0.2),
    clip=st.sampled_from([None, 0.1, 10.0]),
    dropout=st.sampled_from([0.0, 0.4]),
    seed=st.integers(0, 2**32),
)
def test_any_small_training_is_the_hand_written_loop(
    samples, batch, full, shuffle, drop_last, epochs, optimizer, lr, clip, dropout, seed
):
    def make():
        return base(
            mlp(nn.Dropout(dropout), seed=seed),
            lambda p: OPTIMIZERS[optimizer](p, lr),
            data=pairs(samples, seed),
            batch_size=None if full else min(batch, samples),
            shuffle=shuffle,
            drop_last=drop_last,
            epochs=epochs,
            clip_grad_norm=clip,
            seed=seed,
        )

    by_hand, case = make(), make()
    torch.manual_seed(seed)
    expected = hand_written(**by_hand)
    torch.manual_seed(seed)
    run = fit(**case)
    assert torch.equal(run.losses, expected)
    assert_same_weights(case["model"], by_hand["model"])


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_other_precisions_keep_their_losses(dtype, tmp_path):
    X, y = pairs()
    by_hand, case = (base(mlp().to(dtype), data=(X.to(dtype), y)) for _ in range(2))
    expected = hand_written(**by_hand)
    run = fit(**case, run_dir=tmp_path)
    assert torch.equal(run.losses, expected.to(run.losses.dtype))
    assert_same_weights(case["model"], by_hand["model"])


def test_steps_may_end_within_an_epoch():
    expected = hand_written(**base())[:13]
    case = base() | {"epochs": None, "steps": 13}
    assert torch.equal(fit(**case).losses, expected)


def test_the_modes_of_the_modules_are_as_they_were():
    case = base(mlp(nn.Dropout(0.5)))
    case["model"].eval()
    fit(**case)
    assert not any(module.training for module in case["model"].modules())
