"""Ctrl-C."""

import os
import signal
import threading

import pytest
import torch
from cases import Noisy, base, mlp
from hand_written import assert_same_run
from torch import nn

from flatout import TrainingInterrupted, fit
from flatout.training.interrupt import interrupts
from flatout.training.run_directory import read_document


class PressesCtrlC(nn.Module):
    """A layer in whose forward Ctrl-C is pressed, at one call."""

    def __init__(self, at, times=1):
        super().__init__()
        self.at, self.times, self.calls = at, times, 0

    def forward(self, x):
        self.calls += 1
        if self.calls == self.at:
            for _ in range(self.times):
                signal.raise_signal(signal.SIGINT)
        return x


def test_the_chunk_is_finished_and_kept(tmp_path):
    before = signal.getsignal(signal.SIGINT)
    case = base(mlp(PressesCtrlC(3)), epochs=None) | {"steps": 10**9}
    with pytest.raises(
        TrainingInterrupted, match=r"interrupted after step \d+: go on with fit\(\.\.\., resume='"
    ):
        fit(**case, run_dir=tmp_path, plan="eager")
    assert signal.getsignal(signal.SIGINT) is before
    (directory,) = tmp_path.iterdir()
    assert read_document(directory)["status"] == "interrupted"
    steps = read_document(directory)["steps"]
    assert 3 <= steps < 100
    rest = base(mlp(PressesCtrlC(-1)), epochs=None) | {"steps": 200}
    whole = base(mlp(PressesCtrlC(-1)), epochs=None) | {"steps": 200}
    assert_same_run(fit(**rest, resume=directory), fit(**whole, plan="eager"))


def test_the_command_line_is_named_where_it_can_resume(tmp_path, stop_at):
    with pytest.raises(TrainingInterrupted) as caught:
        fit(
            **base(epochs=10**6), plan="eager", run_dir=tmp_path, progress=stop_at(5), source={"spec": "iris"}
        )
    directory = caught.value.run.directory
    assert str(caught.value).endswith(f"go on with flatout train --resume {directory}")


def test_without_a_run_directory_the_record_is_in_the_exception(stop_at):
    with pytest.raises(TrainingInterrupted, match="nothing was kept on disk") as caught:
        fit(**base(epochs=10**6), plan="eager", progress=stop_at(5))
    assert caught.value.run.steps >= 5
    assert isinstance(caught.value, KeyboardInterrupt)


def test_a_second_one_stops_at_once(tmp_path):
    before = signal.getsignal(signal.SIGINT)
    layer = PressesCtrlC(3, times=2)
    with pytest.raises(KeyboardInterrupt) as caught:
        fit(**base(mlp(layer)), plan="eager", run_dir=tmp_path)
    assert not isinstance(caught.value, TrainingInterrupted)
    assert layer.calls <= 4
    assert signal.getsignal(signal.SIGINT) is before
    (directory,) = tmp_path.iterdir()
    assert read_document(directory)["status"] == "failed"
    assert fit(**base(mlp(PressesCtrlC(-1))), resume=directory).status == "finished"


def test_in_the_last_chunk_it_changes_nothing(stop_at):
    assert_same_run(fit(**base(), progress=stop_at(20)), fit(**base()))


def test_a_thread_trains_without_a_handler():
    runs, before = [], signal.getsignal(signal.SIGINT)
    thread = threading.Thread(target=lambda: runs.append(fit(**base())))
    thread.start()
    thread.join(30)
    assert signal.getsignal(signal.SIGINT) is before
    assert_same_run(runs[0], fit(**base()))


def test_where_ctrl_c_is_ignored_it_stays_so(stop_at):
    """As in a job that a shell started in the background."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        run = fit(**base(), progress=stop_at(3))
        with interrupts():
            assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)
    assert run.status == "finished"


def test_the_handler_is_restored_after_an_error():
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(ZeroDivisionError), interrupts():
        raise ZeroDivisionError
    assert signal.getsignal(signal.SIGINT) is before


class KillsAllOfTheTerminal(Noisy):
    """Ctrl-C in a terminal reaches the workers too; here one presses it for all."""

    def __getitem__(self, i):
        if i == 3:
            os.kill(os.getpid(), signal.SIGINT)
        return super().__getitem__(i)


@pytest.mark.usefixtures("single_steps")
def test_workers_leave_the_decision_to_the_training():
    torch.manual_seed(0)
    run = fit(**base(data=KillsAllOfTheTerminal(), workers=1, epochs=1))
    assert run.status == "finished"
    assert run.steps == 5
