"""Helpers for trainings that are looked at step by step."""

import math
import os
import signal
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from flatout.report.progress import Silent


class StopAt(Silent):
    """Presses Ctrl-C, or raises, once so many steps are done."""

    def __init__(self, step, error=None):
        super().__init__()
        self.step, self.error = step, error

    def chunk(self, *, done, steps, seconds, loss):
        if done >= self.step:
            self.step = math.inf
            if self.error is not None:
                raise self.error
            signal.raise_signal(signal.SIGINT)


@pytest.fixture(scope="session", autouse=True)
def quick_disk():
    """Only a power cut could tell the difference; processes that are killed run without this."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("os.fsync", lambda handle: None)
        yield


def quick_folder():
    """A temporary folder, in memory where that is possible: on a busy disk a rename can take seconds."""
    memory = Path("/dev/shm")
    return TemporaryDirectory(dir=memory if os.access(memory, os.W_OK) else None)


@pytest.fixture
def tmp_path():
    with quick_folder() as folder:
        yield Path(folder)


@pytest.fixture
def stop_at():
    return StopAt


@pytest.fixture
def single_steps(monkeypatch):
    """Every chunk is one step, and every chunk is followed by a checkpoint where `checkpoint_every=0`."""
    monkeypatch.setattr("flatout.training.chunk.TARGET_SECONDS", 0.0)
    monkeypatch.setattr("flatout.training.session._CHECKPOINT_SHARE", math.inf)
