"""A step is timed on a clock of its own: nothing here depends on how fast the machine is."""

import pytest
import torch

from flatout.data.load import load_data
from flatout.racing import timing
from flatout.racing.timing import Stopwatch


class Clock:
    def __init__(self):
        self.now = 0.0

    def perf_counter(self):
        return self.now


class TickingLoop:
    """Steps of a known length, the first of them slow."""

    def __init__(self, clock, step):
        self.clock, self.step, self.done = clock, step, 0

    def advance(self, order):
        self.clock.now += len(order) * self.step + (0.5 if not self.done else 0.0)
        self.done += len(order)
        return torch.zeros(len(order))


@pytest.fixture
def timed(make_task, monkeypatch):
    def time(step, steps=10**6, **options):
        clock = Clock()
        monkeypatch.setattr(timing, "time", clock)
        task = make_task()
        loop = TickingLoop(clock, step)
        watch = Stopwatch(task, load_data(task, torch.device("cpu")), loop, steps)
        return watch.seconds_per_step(**options), loop.done

    return time


def test_the_first_step_does_not_count(timed):
    assert timed(1e-3, budget=2.0)[0] == pytest.approx(1e-3)


def test_what_cannot_win_is_given_up_early(timed):
    _, whole = timed(2e-2, budget=2.0, hopeless_above=1.0)
    seconds, given_up = timed(2e-2, budget=2.0, hopeless_above=1e-3)
    assert given_up < whole
    assert seconds == pytest.approx(2e-2)


def test_no_more_steps_run_in_a_row_than_the_training_has(timed):
    assert timed(1e-6, steps=3, budget=2.0)[1] <= 1 + 3 * 6


def test_the_budget_ends_it(timed):
    assert timed(0.4, budget=1.0)[1] <= 4
