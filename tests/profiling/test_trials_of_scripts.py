"""Experiments after a script has ended, in a process of their own, as people run them."""

import json
import os
import subprocess
import sys

import pytest

# A forward that prints, draws from every stream of random numbers, and writes to a file.
NOISY = """\
import atexit, random, sys
import numpy
import torch

torch.manual_seed(0), numpy.random.seed(0), random.seed(0)
log = open("open.txt", "w")

class Model(torch.nn.Linear):
    def forward(self, x):
        noise = numpy.random.rand() + random.random()
        print("forward", noise)
        print("error", noise, file=sys.stderr)
        WRITE
        return torch.nn.functional.dropout(super().forward(x)) * noise

@atexit.register
def last():
    print(torch.rand(1), numpy.random.rand(), random.random(), torch.get_num_threads())
    log.write("the end")

model = Model(4, 1)
optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
for step in range(25):
    optimizer.zero_grad()
    loss = model(torch.ones(8, 4)).sum()
    loss.backward()
    optimizer.step()
    print(repr(loss.item()))
"""

# The sleep stands for arithmetic: it is far longer than what a busy machine adds.
DOUBLE = """\
import time
import torch

class Model(torch.nn.Linear):
    def forward(self, x):
        time.sleep(0.1 if x.dtype == torch.float64 else 0.0)
        return super().forward(x)

model = Model(4, 1, dtype=torch.float64)
optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
x = torch.ones(8, 4, dtype=torch.float64)
for step in range(25):
    optimizer.zero_grad()
    model(x).sum().backward()
    optimizer.step()
"""


def run(cwd, *arguments):
    return subprocess.run(
        [sys.executable, *arguments], cwd=cwd, env=os.environ, capture_output=True, text=True, check=True
    )


def profile(cwd, source, *options):
    (cwd / "train.py").write_text(source)
    done = run(cwd, "-m", "flatout", "profile", "--json", *options, "train.py")
    return done, next(json.loads(line) for line in done.stdout.splitlines() if line.startswith("{"))


@pytest.mark.parametrize(
    ("write", "reason"),
    [
        ("print('forward', noise, file=log)", None),
        (
            "with open('again.txt', 'a') as file: file.write('forward ')",
            "it opens 'again.txt' to write to it",
        ),
    ],
    ids=["open file", "file opened in forward"],
)
def test_experiments_leave_no_trace(tmp_path, write, reason):
    plain, profiled = tmp_path / "plain", tmp_path / "profiled"
    plain.mkdir(), profiled.mkdir()
    source = NOISY.replace("WRITE", write)
    (plain / "train.py").write_text(source)
    expected = run(plain, "train.py")
    done, seen = profile(profiled, source)
    assert expected.stdout.count("forward") == 25
    assert [line for line in done.stdout.splitlines() if not line.startswith("{")] == (
        expected.stdout.splitlines()
    )
    assert done.stderr.startswith(expected.stderr)
    assert done.stderr.count("error") == 25
    assert {file.name: file.read_bytes() for file in profiled.iterdir()} == {
        file.name: file.read_bytes() for file in plain.iterdir()
    }
    trials = seen["trials"]
    if reason is None:
        assert trials["none"] is None and trials["measured"]
    else:
        assert reason in trials["none"]
        assert reason in seen["abstained"]["threads"]


def test_a_model_in_float64_is_found_where_it_is_called(tmp_path):
    _, seen = profile(tmp_path, DOUBLE)
    found = next(one for one in seen["findings"] if one["kind"] == "float64")
    assert (found["file"], found["line"]) == ("train.py", 14)
    assert 50 < found["gain_low"] <= found["gain_ms"] <= found["gain_high"]
    assert seen["verdict"].startswith("A model in float64 (train.py:14) costs")


def test_without_trials_rules_abstain(tmp_path):
    _, seen = profile(tmp_path, DOUBLE, "--no-trials")
    assert not [one for one in seen["findings"] if one["kind"] == "float64"]
    assert seen["abstained"]["float64"] == seen["trials"]["none"] == "no experiments were made"
