"""The lab on reading the loss: the loop itself, and what is made of its times."""

import copy

import numpy as np
import pytest
import torch

from flatout.errors import LabError
from flatout.labs.logging_lab import Timed, document, on_device, run_lab, train
from flatout.labs.logging_words import lessons, title, verdict
from flatout.labs.rounds import Effort
from flatout.task.builtin import iris

CPU, GPU = torch.device("cpu"), torch.device("cuda:0")


def measured(read_costs, *, seed=0, noise=0.1, epochs_cost=100e-6):
    """A machine: an epoch takes so long, a read costs so much, and both drift and jitter with long tails."""
    random = np.random.default_rng(seed)
    clock = [0]

    def measure(arm, epochs):
        reads = 0 if arm.every is None else sum(epoch % arm.every == 0 for epoch in epochs)
        clock[0] += 1
        drift = 1 + 0.1 * np.sin(clock[0] / 700)
        jitter = 1 + noise * abs(random.standard_t(2))
        seconds = (len(epochs) * epochs_cost + reads * read_costs[arm.device]) * drift * jitter
        return Timed(float(seconds), (0.5,) * reads)

    return measure


def lab(read_costs, rounds=12, **options):
    devices = [torch.device(name) for name in read_costs]
    return run_lab(devices, effort=Effort(rounds=rounds), measure=measured(read_costs, **options))


def test_reading_changes_nothing_that_is_computed():
    task = iris()

    def losses(every):
        model = copy.deepcopy(task.model)
        return train(model, torch.optim.SGD(model.parameters(), lr=0.01), *task.data, range(1, 41), every)

    every, tenth, never = losses(1), losses(10), losses(41)
    assert (len(every), len(tenth), never) == (40, 4, [])
    assert tenth == every[9::10]
    assert every[-1] < every[0]


def test_the_real_loop_on_the_cpu():
    (found,) = run_lab([CPU], intervals=[3, 1], epochs=6, effort=Effort(rounds=8))
    assert [(row.every, row.reads) for row in found.rows] == [(1, 6), (3, 2), (None, 0)]
    assert all(len(row.runs) == 8 and min(row.runs) > 0 for row in found.rows)
    assert found.never.against_never is None


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA GPU")
def test_the_real_loop_on_a_gpu_costs_a_wait_a_read():
    (found,) = run_lab([GPU], intervals=[1, 100], epochs=300, effort=Effort(rounds=10))
    assert [row.reads for row in found.rows] == [300, 3, 0]
    assert found.a_read.high > 0


def test_noise_is_called_noise():
    """One table in a hundred may find a cost where there is none; five of 150 would be a surprise."""
    tables = [lab({"cpu": 0.0}, seed=seed)[0] for seed in range(150)]
    assert sum(any(row.only_noise is False for row in table.rows) for table in tables) < 5
    assert sum(not table.a_read.has_zero for table in tables) < 5
    alone = sum(row.against_never.has_zero is False for table in tables for row in table.rows[:-1])
    assert 0 < alone <= 15  # of 750: what is left to the intervals by themselves


def test_fewer_reads_cost_no_more_than_many():
    """A difference that is there by itself is noise where an arm that reads more often has none."""
    runs = {1: [1.0, 1.1] * 5, 100: [1.3, 1.5] * 5, None: [1.1, 1.0] * 5}
    reads = {1: 100, 100: 1, None: 0}
    timed = {every: [Timed(time, (0.0,) * reads[every]) for time in times] for every, times in runs.items()}
    rows = on_device("cpu", timed, 100).rows
    assert [row.against_never.has_zero for row in rows[:2]] == [True, False]
    assert [row.only_noise for row in rows] == [True, True, None]


def test_the_cost_of_a_read_is_found_where_there_is_one():
    tables = [lab({"cpu": 10e-6}, rounds=25, seed=seed)[0] for seed in range(40)]
    assert sum(table.rows[0].only_noise is False for table in tables) >= 38
    assert sum(table.rows[3].only_noise for table in tables) >= 38  # two reads in a run
    # The jitter makes a read, too, longer than its least: by a tenth at the most.
    assert sum(table.a_read.low <= 1.1 * 10e-6 and table.a_read.high >= 10e-6 for table in tables) >= 38


def test_the_verdict_says_which_device_waits():
    found = lab({"cpu": 0.0, "cuda:0": 50e-6}, rounds=20)
    cpu, gpu = verdict(found).split("; and ")
    assert cpu.startswith("On cpu how often the loss is read makes no difference beyond noise: a read costs")
    assert "on cuda:0 each read of the loss costs" in gpu
    assert gpu.endswith("read every epoch, the difference from never is more than noise.")
    assert "on cuda:0" in title(found)
    assert any("loss.detach()" in lesson for lesson in lessons(found))
    assert "beyond noise" in title(lab({"cpu": 0.0}))


def test_a_machine_that_is_too_busy_is_told():
    said = verdict(lab({"cpu": 0.0}, noise=2.0))
    assert said.startswith("On cpu too much else goes on to tell what reading the loss costs")


def test_the_document_has_counts_differences_and_the_cost_of_a_read():
    (one,) = document(lab({"cuda:0": 50e-6}, rounds=20), epochs=2000)["devices"]
    assert [row["reads"] for row in one["rows"]] == [2000, 20, 10, 2, 1, 0]
    assert [row["only_noise"] for row in one["rows"]] == [False, True, True, True, True, None]
    assert one["us_per_read"]["low"] < 55 and one["us_per_read"]["high"] > 50
    assert all(len(row["runs_us"]) == 20 for row in one["rows"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"intervals": [1, 200], "epochs": 100}, "give --epochs 200 or more"),
        ({"intervals": [0]}, "--every must be 1 epoch or more, but is 0"),
        ({"effort": Effort(rounds=7)}, "give --rounds 8 or more"),
    ],
)
def test_what_cannot_say_anything_is_refused(options, message):
    with pytest.raises(LabError, match=message):
        run_lab([CPU], **options)
