"""Batches of resident and of streaming data, and where the next one begins."""

import random
from collections import namedtuple

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    Dataset,
    RandomSampler,
    SequentialSampler,
    TensorDataset,
)

from flatout import DataError, Task
from flatout.data.load import load_data
from flatout.data.random_state import random_state, random_state_kept, set_random_state
from flatout.data.resident import ResidentData
from flatout.data.streaming import StreamingData

CPU = torch.device("cpu")
Pair = namedtuple("Pair", "x y")


class Numbers(Dataset):
    def __init__(self, samples=11):
        self.samples, self.looked_at = samples, []

    def __len__(self):
        return self.samples

    def __getitem__(self, i):
        self.looked_at.append(i)
        return torch.tensor([float(i)]), i


def load(data, **options):
    model = nn.Linear(1, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    return load_data(Task(model=model, optimizer=optimizer, data=data, epochs=1, **options), CPU)


def drawn(data, steps):
    """The batches of so many steps, across epochs."""
    batches = []
    while len(batches) < steps:
        batches += data.batches(data.take(steps - len(batches)))
    return batches


@pytest.mark.parametrize(
    "nest",
    [
        torch.arange(11),
        (torch.arange(11), torch.arange(22).view(11, 2)),
        [torch.arange(11), torch.arange(11) * 2],
        {"a": torch.arange(11), "b": [torch.arange(11).float(), (torch.zeros(11, 0),)]},
        Pair(torch.arange(11), torch.arange(11)),
        torch.utils.data.TensorDataset(torch.arange(11)),
    ],
    ids=["tensor", "tuple", "list", "dict", "namedtuple", "TensorDataset"],
)
def test_a_batch_has_the_structure_of_the_data(nest):
    data = load(nest, batch_size=4, seed=3)
    assert isinstance(data, ResidentData)
    indices = torch.cat(
        [batch[0] if isinstance(batch, (tuple, list)) else batch for batch in drawn_leaves(data)]
    )
    expected = [
        batch for (batch,) in DataLoader(
            TensorDataset(torch.arange(11)), batch_size=4, shuffle=True,
            generator=torch.Generator().manual_seed(3),
        )
    ]  # fmt: skip
    assert torch.equal(indices, torch.cat(expected))
    whole = nest.tensors if isinstance(nest, TensorDataset) else nest
    for batch in [data.sample(), *data.all_batches(), *drawn(data, 2)]:
        assert type(batch) is type(whole)
    assert data.describe() == data.describe()


def drawn_leaves(data):
    from torch.utils import _pytree as pytree

    return [pytree.tree_leaves(batch)[0] for batch in drawn(data, 3)]


def test_a_full_batch_in_order_is_the_data_itself():
    X = torch.arange(11)
    data = load((X, X))
    assert all(batch[0] is X for batch in drawn(data, 5))
    assert (data.epoch, data.position) == (5, 0)


def test_all_batches_are_large_and_leave_the_order_alone():
    X = torch.arange(5000)
    data = load((X,), batch_size=3)
    order = data.take(2)
    state = data.state()["position"]
    assert torch.equal(torch.cat([x for (x,) in data.all_batches()]), X)
    assert len(list(data.all_batches())) == 5
    assert data.state()["position"] == state
    assert len(order) == 2


@pytest.mark.parametrize("dtype", [torch.bool, torch.bfloat16, torch.complex64, torch.float64, torch.uint8])
def test_the_checksum_sees_every_type(dtype):
    X = torch.arange(6).view(3, 2).to(dtype)
    descriptions = [load((tensor,)).describe() for tensor in (X, X.clone(), X.T.contiguous().T, X.flip(0))]
    assert descriptions[0] == descriptions[1] == descriptions[2]
    assert descriptions[0] != descriptions[3] or torch.equal(X, X.flip(0))


class Sampler(RandomSampler):
    """A sampler of the user."""


LOADERS = {
    "shuffled": lambda: DataLoader(Numbers(), batch_size=3, shuffle=True),
    "generator": lambda: DataLoader(
        Numbers(), batch_size=3, shuffle=True, generator=torch.Generator().manual_seed(1)
    ),
    "in order": lambda: DataLoader(Numbers(), batch_size=3),
    "drop last": lambda: DataLoader(Numbers(), batch_size=3, drop_last=True),
    "batch sampler": lambda: DataLoader(
        Numbers(), batch_sampler=BatchSampler(SequentialSampler(range(11)), 3, False)
    ),
    "own generator": lambda: DataLoader(
        Numbers(), batch_size=3, sampler=Sampler(Numbers(), generator=torch.Generator().manual_seed(2))
    ),
    "single": lambda: DataLoader(Numbers(), batch_size=None, shuffle=True),
}


@pytest.mark.parametrize("name", LOADERS)
@pytest.mark.parametrize("seen", [0, 1, 3, 4, 5, 9])
def test_a_stream_goes_on_from_its_state(name, seen):
    torch.manual_seed(0)
    data = StreamingData(LOADERS[name](), CPU)
    drawn(data, seen)
    state, around = data.state(), random_state()
    expected = [y for _, y in drawn(data, 13)]
    after = torch.get_rng_state()
    torch.manual_seed(1)
    other = StreamingData(LOADERS[name](), CPU)
    other.restore(state)
    set_random_state(around)
    assert [torch.as_tensor(y).tolist() for _, y in drawn(other, 13)] == [
        torch.as_tensor(y).tolist() for y in expected
    ]
    assert (other.epoch, other.position) == (data.epoch, data.position)
    assert torch.equal(torch.get_rng_state(), after)


def test_batches_that_were_seen_are_not_loaded_again():
    data = StreamingData(DataLoader(Numbers(), batch_size=3), CPU)
    drawn(data, 2)
    dataset = Numbers()
    other = StreamingData(DataLoader(dataset, batch_size=3), CPU)
    other.restore(data.state())
    drawn(other, 2)
    assert dataset.looked_at == [6, 7, 8, 9, 10]


def test_a_look_at_a_sample_leaves_no_trace():
    class Random(Numbers):
        def __getitem__(self, i):
            return torch.randn(2) + np.random.rand() + random.random(), i

    loader = DataLoader(Random(), batch_size=3, shuffle=True)
    data, before = StreamingData(loader, CPU), torch.get_rng_state()
    x, y = data.sample()
    assert (x.shape, y.shape) == ((1, 2), (1,))
    assert torch.equal(torch.get_rng_state(), before)


def test_a_sample_of_a_batch_sampler_is_a_batch():
    data = StreamingData(LOADERS["batch sampler"](), CPU)
    assert data.sample()[0].shape == (1, 1)
    assert StreamingData(LOADERS["single"](), CPU).sample()[0].shape == (1,)


def test_a_stream_counts_its_steps_and_epochs():
    data = StreamingData(LOADERS["in order"](), CPU)
    assert (data.steps_per_epoch, data.samples) == (4, 11)
    assert len(data.take(100)) == 4
    places = []
    for _ in range(9):
        list(data.batches(data.take(1)))
        places.append((data.epoch, data.position))
    assert places == [(0, 1), (0, 2), (0, 3), (1, 0), (1, 1), (1, 2), (1, 3), (2, 0), (2, 1)]


def test_an_exhausted_stream_is_told():
    class Nothing(torch.utils.data.IterableDataset):
        def __iter__(self):
            return iter(())

    data = load(Nothing(), batch_size=3)
    with pytest.raises(DataError, match="Nothing gave no batch in epoch 1"):
        list(data.batches(data.take(1)))


@given(st.integers(0, 2**32 - 1), st.integers(0, 5))
def test_random_states_come_back(seed, draws):
    def draw():
        return torch.rand(3).tolist(), np.random.randn(), random.random()

    torch.manual_seed(seed)
    np.random.seed(seed)
    random.seed(seed)
    for _ in range(draws):
        draw()
    with random_state_kept():
        inside = draw()
    assert draw() == inside
    state = random_state()
    expected = draw()
    set_random_state(state)
    assert draw() == expected
