"""The reason is a sentence with the numbers that were measured, and no other."""

from flatout.racing.result import Candidate
from flatout.racing.split import Split
from flatout.racing.words import reason_for

EAGER = Candidate("cpu", "eager", "ok", "", 1e-4, 107.0, 2.14)
NATIVE = Candidate("cpu", "native", "ok", "", 0.49, 1.2, 0.514)


def split(device="cpu", compute=8.0, launch=92.0, transfer=0.0, waits=0.0):
    return Split(device, compute + launch + transfer + waits, compute, launch, transfer, waits, 0.0, "")


def test_an_eager_step_that_starts_work_more_than_it_does_it():
    assert reason_for(NATIVE, [EAGER, NATIVE], 20_000, [split()]) == (
        "92 % of an eager step (100 µs) starts work and 8 % does it; native starts nothing and takes 1.2 µs "
        "a step, so its set-up (490 ms) is made up for after 4,630 of 20,000 steps"
    )


def test_an_eager_step_that_is_arithmetic_is_not_called_overhead():
    said = reason_for(NATIVE, [EAGER, NATIVE], 20_000, [split(compute=80, launch=20)])
    assert said.startswith("80 % of an eager step (100 µs) does the work and 20 % starts it; native")


def test_a_step_that_is_all_launching_is_not_rounded_to_nothing():
    said = reason_for(NATIVE, [EAGER, NATIVE], 20_000, [split(compute=0.3, launch=99.7)])
    assert "99.7 %" in said and "0.3 % does it" in said


def test_waiting_and_moving_are_named():
    compiled = Candidate("cuda:0", "compiled", "ok", "", 5.0, 20.0, 6.0)
    eager = Candidate("cuda:0", "eager", "ok", "", 0.0, 200.0, 40.0)
    parts = split("cuda:0", compute=20, launch=120, transfer=20, waits=40)
    said = reason_for(compiled, [eager, compiled], 200_000, [parts])
    assert "60 % of an eager step (200 µs) starts work, 20 % waits, 10 % moves data and 10 % does it" in said
    assert "compiled starts the whole step with one call and takes 20 µs a step" in said


def test_without_a_split_no_share_is_made_up():
    said = reason_for(NATIVE, [EAGER, NATIVE], 20_000)
    assert said.startswith("an eager step takes 107 µs; native starts nothing and takes 1.2 µs a step")
    assert "%" not in said


def test_the_slower_device_is_said_with_its_share():
    gpu = Candidate("cuda:0", "eager", "ok", "", 0.0, 300.0, 6.0)
    said = reason_for(EAGER, [EAGER, gpu], 20_000, [split(), split("cuda:0", compute=15, launch=285)])
    assert said.startswith("a step takes 107 µs in eager on cpu and 300 µs on cuda:0, where 95 % of an eager")
