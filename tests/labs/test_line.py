"""The line through times, and where two curves cross."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flatout.labs.line import crossing_of, line_of

SIZES = [4.0**power for power in range(8)]


def noisy(curve, rounds, seed, noise=0.1):
    """Times that other programs only ever make longer: [rounds, sizes]."""
    random = np.random.default_rng(seed)
    return np.asarray(curve) * (1 + noise * np.abs(random.standard_t(3, (rounds, len(curve)))))


@settings(max_examples=30, deadline=None)
@given(st.floats(1e-6, 1e-2), st.floats(1, 1e4))
def test_a_line_without_noise_is_found_as_it_is(fixed, balance):
    times = np.array([[fixed * (1 + size / balance) for size in SIZES]] * 5)
    line = line_of(SIZES, times)
    assert line.fixed.estimate == pytest.approx(fixed, rel=1e-3)
    assert line.balance.estimate == pytest.approx(balance, rel=1e-3)
    assert line.off == pytest.approx(1.0, abs=1e-3)


def test_one_size_that_goes_wrong_does_not_bend_the_line():
    curve = np.array([1e-4 * (1 + size / 100) for size in SIZES])
    curve[5] *= 8
    line = line_of(SIZES, np.array([curve] * 5))
    assert line.balance.estimate == pytest.approx(100, rel=0.1)
    assert line.off > 6  # and it is told


def test_the_bounds_of_the_balance_hold_it():
    curve = [1e-4 * (1 + size / 300) for size in SIZES]
    lines = [line_of(SIZES, noisy(curve, 15, seed), seed) for seed in range(60)]
    assert sum(line.balance.low <= 300 <= line.balance.high for line in lines) >= 51


def test_the_bounds_of_a_crossing_hold_it():
    sizes = np.array(SIZES)
    cpu, gpu = 1e-4 + 1e-6 * sizes, 6e-4 + 1e-8 * sizes  # cross at 505
    found = [crossing_of(SIZES, noisy(cpu, 15, seed), noisy(gpu, 15, 999 - seed), seed) for seed in range(50)]
    assert sum(one.low <= 505 <= one.high for one in found) >= 44
    assert all(250 < one.estimate < 1000 for one in found)
    assert np.median([one.high / one.low for one in found]) < 1.6


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 7), st.floats(0.1, 0.9))
def test_the_crossing_lies_where_the_curves_meet(index, share):
    place = 4.0 ** min(index + share, 6.99)
    first, second = np.array([SIZES] * 5), np.full((5, 8), place)
    assert crossing_of(SIZES, first, second).estimate == pytest.approx(place, rel=0.01)


def test_curves_that_do_not_cross():
    slow, fast = noisy([2.0] * 8, 9, 1, 0.01), noisy([1.0] * 8, 9, 2, 0.01)
    assert crossing_of(SIZES, slow, fast).high == 0
    never = crossing_of(SIZES, fast, slow)
    assert math.isinf(never.estimate) and math.isinf(never.low)


def test_it_counts_who_wins_for_good():
    """A second curve that is faster at small sizes, slower at some, and faster beyond."""
    first, second = np.array([[1.0] * 8] * 5), np.array([[0.5, 0.5, 2.0, 2.0, 0.5, 0.5, 0.5, 0.5]] * 5)
    assert SIZES[3] < crossing_of(SIZES, first, second).estimate < SIZES[4]
