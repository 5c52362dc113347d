"""The order of samples is the one a DataLoader gives."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import DataLoader, TensorDataset

from flatout.data.order import SampleOrder

sizes = st.integers(1, 40).flatmap(lambda n: st.tuples(st.just(n), st.integers(1, n)))


def loader_order(samples, batch_size, shuffle, drop_last, seed, epochs):
    generator = torch.Generator().manual_seed(seed)
    loader = DataLoader(
        TensorDataset(torch.arange(samples)),
        batch_size=batch_size,
        shuffle=shuffle,
        drop_last=drop_last,
        generator=generator,
    )
    return [batch.tolist() for _ in range(epochs) for (batch,) in loader]


def take_steps(order, steps, sizes=(3,), **options):
    taken, turn = [], 0
    while len(taken) < steps:
        rows = order.take(min(sizes[turn % len(sizes)], steps - len(taken)), **options)
        assert len(rows) >= 1
        taken += rows.tolist()
        turn += 1
    return taken


@given(sizes, st.booleans(), st.booleans(), st.integers(0, 2**40), st.lists(st.integers(1, 50), min_size=1))
def test_order_is_that_of_a_data_loader(size, shuffle, drop_last, seed, chunks):
    samples, batch_size = size
    expected = loader_order(samples, batch_size, shuffle, drop_last, seed, epochs=4)
    order = SampleOrder(samples, batch_size=batch_size, shuffle=shuffle, drop_last=drop_last, seed=seed)
    assert order.steps_per_epoch * 4 == len(expected)
    assert take_steps(order, len(expected), chunks) == expected
    assert (order.epoch, order.position) == (4, 0)


@given(sizes, st.booleans(), st.integers(0, 100), st.integers(0, 60))
def test_order_goes_on_from_its_state(size, shuffle, seed, before):
    samples, batch_size = size

    def make():
        return SampleOrder(samples, batch_size=batch_size, shuffle=shuffle, drop_last=False, seed=seed)

    first = make()
    take_steps(first, before)
    state = first.state()
    rest = take_steps(first, 20)
    second = make()
    second.restore(state)
    assert take_steps(second, 20) == rest


@given(sizes, st.integers(1, 50))
def test_order_stays_within_an_epoch_when_asked(size, steps):
    samples, batch_size = size
    order = SampleOrder(samples, batch_size=batch_size, shuffle=True, drop_last=False, seed=0)
    for _ in range(5):
        epoch = order.epoch
        taken = order.take(steps, cross_epochs=False)
        assert order.epoch == epoch + (order.position == 0)
        assert len(taken) <= order.steps_per_epoch


def test_a_full_batch_in_order_is_one_row_seen_again_and_again():
    order = SampleOrder(1000, batch_size=1000, shuffle=False, drop_last=False, seed=0).take(100_000)
    assert order.shape == (100_000, 1000)
    assert order.stride(0) == 0


def test_a_long_order_of_a_large_batch_comes_in_parts():
    order = SampleOrder(1 << 21, batch_size=1 << 21, shuffle=True, drop_last=False, seed=0)
    assert len(order.take(1000)) == 2


@pytest.mark.parametrize("drop_last", [True, False])
def test_the_remainder_has_a_row_of_its_own(drop_last):
    order = SampleOrder(10, batch_size=4, shuffle=False, drop_last=drop_last, seed=0)
    assert order.take(5, cross_epochs=False).tolist() == [[0, 1, 2, 3], [4, 5, 6, 7]]
    assert order.take(1).tolist() == ([[0, 1, 2, 3]] if drop_last else [[8, 9]])
