"""Noise is called noise as often as it is said, and what is there is found."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flatout.labs.paired import LEVEL, interval_of, least_rounds, slope_of

differences = st.lists(st.floats(-1e3, 1e3), min_size=8, max_size=30)


@pytest.mark.parametrize(("rounds", "level"), [(8, 0.99), (11, 0.99), (8, 0.95), (10, 0.9)])
def test_noise_is_called_real_as_rarely_as_the_level_says(rounds, level):
    """Exactly: with noise, each difference is as likely above zero as below, so all signs are tried."""
    sizes = np.random.default_rng(1).standard_cauchy(rounds)
    signs = itertools.product((-1, 1), repeat=rounds)
    alarms = sum(not interval_of(sizes * np.array(sign), level).has_zero for sign in signs)
    assert 0.4 * (1 - level) < alarms / 2**rounds <= 1 - level


def test_a_cost_below_the_noise_of_a_run_is_found_in_thirty_rounds():
    random = np.random.default_rng(2)
    found = [interval_of(1.0 + random.standard_t(3, 30)) for _ in range(100)]
    assert sum(not one.has_zero for one in found) > 85
    assert sum(one.low <= 1.0 <= one.high for one in found) >= 97


def test_a_slope_out_of_noise_that_only_slows_is_called_real_as_rarely_as_the_level_says():
    random = np.random.default_rng(4)
    labs = [slope_of([1000, 10, 1, 0], random.pareto(1.5, (10, 4)), 0.9) for _ in range(1000)]
    alarms = sum(not lab.has_zero for lab in labs)
    assert 0.05 * 1000 < alarms < 0.12 * 1000


def test_a_slope_is_found_and_held():
    random = np.random.default_rng(5)
    x = np.array([1000, 10, 1, 0])
    labs = [slope_of(x, 0.002 * x + random.pareto(1.5, (15, 4))) for _ in range(200)]
    assert sum(not lab.has_zero for lab in labs) > 190
    assert sum(lab.low <= 0.002 <= lab.high for lab in labs) >= 195


def test_a_disturbed_round_in_five_does_not_move_the_estimate_far():
    quiet = np.random.default_rng(3).normal(1.0, 0.1, 20)
    disturbed = np.concatenate([quiet[:16], quiet[16:] + 100])
    assert abs(interval_of(disturbed).estimate - 1.0) < 0.1
    assert abs(disturbed.mean() - 1.0) > 10


@settings(deadline=None)
@given(differences, st.floats(-100, 100))
def test_what_is_added_to_all_moves_the_interval_by_as_much(values, shift):
    before, after = interval_of(values), interval_of([value + shift for value in values])
    assert before.low <= before.estimate <= before.high
    for name in ("estimate", "low", "high"):
        assert getattr(after, name) == pytest.approx(getattr(before, name) + shift, abs=1e-9)


@settings(deadline=None)
@given(differences)
def test_the_other_way_round_is_the_mirror_image(values):
    there, back = interval_of(values), interval_of([-value for value in values])
    assert (back.low, back.high) == pytest.approx((-there.high, -there.low))
    assert there.has_zero == back.has_zero


def test_too_few_rounds_say_nothing():
    least = least_rounds(LEVEL)
    with pytest.raises(ValueError, match="needs 8 rounds, and there are 7"):
        interval_of([1.0] * (least - 1))
    assert not interval_of([1.0] * least).has_zero
