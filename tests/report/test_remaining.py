import pytest
from hypothesis import given
from hypothesis import strategies as st

from flatout.report.remaining import RemainingTime

chunk_steps = st.integers(1, 10_000)
step_times = st.floats(1e-7, 10.0)


@given(st.lists(chunk_steps, min_size=1, max_size=80), step_times, st.integers(1, 10**9))
def test_a_constant_speed_is_estimated_exactly(chunks, step_time, left):
    done = sum(chunks)
    remaining = RemainingTime(done + left)
    for steps in chunks:
        remaining.add(steps, steps * step_time)
    assert remaining.seconds(done) == pytest.approx(left * step_time)


@given(
    st.lists(st.tuples(chunk_steps, st.floats(0.98, 1.02)), min_size=2, max_size=80),
    step_times,
    st.data(),
)
def test_one_chunk_1000_times_slower_does_not_move_the_estimate(chunks, step_time, data):
    outlier = data.draw(st.integers(0, len(chunks) - 1))
    remaining = RemainingTime(10**6)
    for index, (steps, noise) in enumerate(chunks):
        slower = 1000 if index == outlier else 1
        remaining.add(steps, steps * step_time * noise * slower)
    assert remaining.seconds(0) == pytest.approx(10**6 * step_time, rel=0.03)


def test_the_warm_up_is_forgotten_with_the_second_chunk():
    remaining = RemainingTime(1000)
    remaining.add(100, 60.0)
    remaining.add(100, 0.1)
    assert remaining.seconds(200) == pytest.approx(0.8)


def test_a_lasting_change_of_speed_is_followed():
    remaining = RemainingTime(10_000)
    for _ in range(100):
        remaining.add(10, 0.1)
    for _ in range(26):
        remaining.add(10, 0.2)
    assert remaining.seconds(9_990) == pytest.approx(0.2)


def test_what_is_unknown_is_none():
    assert RemainingTime(100).seconds(0) is None
    unknown = RemainingTime(None)
    unknown.add(10, 0.1)
    assert unknown.seconds(10) is None
    assert unknown.step_seconds == pytest.approx(0.01)


def test_a_chunk_without_steps_is_ignored_and_nothing_is_left_at_the_end():
    remaining = RemainingTime(100)
    remaining.add(0, 0.1)
    assert remaining.step_seconds is None
    remaining.add(100, 0.1)
    assert remaining.seconds(100) == 0
    assert remaining.seconds(120) == 0
