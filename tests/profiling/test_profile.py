"""`flatout profile`: scripts run in a process of their own, as people run them."""

import json
import os
import signal
import subprocess
import sys

import pytest
from launcher import launcher

from flatout.profiling.finding import Finding
from flatout.profiling.rules import _rank
from flatout.profiling.stamps import StepTime
from flatout.profiling.verdict import verdict

LOOP = """\
import sys
import torch

torch.manual_seed(0)
X = torch.randn(64, 4)
y = torch.randint(3, (64,))
model = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.Dropout(), torch.nn.Linear(8, 3))
optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
loss_function = torch.nn.CrossEntropyLoss()
for step in range(60):
    optimizer.zero_grad()
    loss = loss_function(model(X), y)
    loss.backward()
    optimizer.step()
    print(repr(loss.item()))
"""
ITEM_LINE = 15

LOADER = """\
import torch
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)
data = TensorDataset(torch.randn(4096, 4), torch.randn(4096, 1))
model = torch.nn.Linear(4, 1)
optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
for epoch in range(2):
    for x, y in DataLoader(data, batch_size=128, shuffle=True):
        optimizer.zero_grad()
        torch.nn.functional.mse_loss(model(x), y).backward()
        optimizer.step()
"""


def run(*arguments, cwd):
    environment = os.environ | {"COLUMNS": "110"}
    return subprocess.run(
        [sys.executable, *arguments], cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )


def profile(cwd, source, *options, arguments=()):
    (cwd / "train.py").write_text(source)
    return launcher().run("profile", "--no-trials", *options, "train.py", *arguments, cwd=cwd)


def document(done):
    return json.loads(done.stdout.splitlines()[-1])


def of_lines(seen):
    """The findings but the one that all of these small models are: much is started, little computed."""
    return [one for one in seen["findings"] if one["kind"] != "launch-bound"]


@pytest.fixture(scope="module")
def loop(tmp_path_factory):
    """The loop with `.item()`, profiled: the folder and what came of it."""
    folder = tmp_path_factory.mktemp("loop")
    return folder, profile(folder, LOOP, "--json", "--trace", "trace.json")


def test_the_script_computes_what_it_computes_without(loop):
    folder, done = loop
    plain = run("train.py", cwd=folder)
    assert plain.returncode == done.returncode == 0, done.stderr
    assert len(plain.stdout.splitlines()) == 60
    assert done.stdout.splitlines()[:-1] == plain.stdout.splitlines()


def test_the_line_that_reads_the_loss_is_found_and_counted(loop):
    seen = document(loop[1])
    found, printed = sorted(of_lines(seen), key=lambda one: one["kind"])
    assert (found["kind"], found["file"], found["line"]) == ("item", "train.py", ITEM_LINE)
    assert (printed["kind"], printed["line"], printed["count"]) == ("log", ITEM_LINE, 1)
    assert found["count"] == 1
    assert found["share"] == pytest.approx(1e3 * found["ms_per_step"] / seen["us_per_step"])
    assert 0 <= found["gain_low"] <= found["gain_ms"] <= found["gain_high"]
    assert "detach()" in found["code"]


def test_the_parts_add_up_to_the_step(loop):
    seen = document(loop[1])
    parts = seen["breakdown"]
    assert list(parts) == ["data", "forward", "backward", "optimizer", "rest"]
    assert sum(part["us"] for part in parts.values()) == pytest.approx(seen["us_per_step"])
    assert sum(part["share"] for part in parts.values()) == pytest.approx(1)
    assert parts["data"]["us"] == 0
    assert all(parts[name]["us"] > 0 for name in ("forward", "backward", "optimizer", "rest"))
    assert (seen["steps"], seen["device"], seen["outcome"]) == (60, "cpu", "finished")
    assert seen["distortion"] > 0


def test_the_split_and_the_trace(loop):
    folder, done = loop
    seen = document(done)
    assert "USDT" not in done.stderr  # torch's profiler says so when it starts
    if seen["split"] is None:  # a busy machine
        assert "times as long" in seen["split_reason"]
        assert seen["abstained"]["launch"].endswith(seen["split_reason"])
    else:
        assert sum(part["us"] for part in seen["split"]["parts"].values()) == pytest.approx(
            seen["us_per_step"]
        )
        assert {row["name"] for row in seen["layers"]} == {"Sequential", "0", "1", "2", "CrossEntropyLoss"}
        assert ("launch-bound", 12) in [(one["kind"], one["line"]) for one in seen["findings"]]
    names = {event["name"] for event in json.loads((folder / "trace.json").read_text())["traceEvents"]}
    assert {"step 1", "forward", "2 backward", "aten::addmm", f"train.py:{ITEM_LINE} .item()"} <= names


def test_a_trace_that_cannot_be_written_is_told_before_the_script_runs(tmp_path):
    done = profile(tmp_path, "print('ran')\n", "--trace", "missing/trace.json")
    assert (done.returncode, done.stdout) == (2, "")
    assert "--trace: the folder" in done.stderr
    assert "does not exist; make it first" in " ".join(done.stderr.split())
    (tmp_path / "kept.json").write_text("kept")
    done = profile(tmp_path, "print('ran')\n", "--trace", "kept.json")
    assert done.returncode == 0
    assert (tmp_path / "kept.json").read_text() == "kept"
    assert "kept.json was not written: the script ended before" in " ".join(done.stdout.split())


def test_the_report_begins_with_the_verdict_and_fits_a_screen(loop):
    seen = document(loop[1])
    lines = loop[1].stderr.splitlines()
    assert len(lines) <= 24
    assert lines[0] == seen["verdict"][: len(lines[0])]
    assert any(line.startswith(f"train.py:{ITEM_LINE}  .item(): ") for line in lines)
    assert any(line.startswith(f"train.py:{ITEM_LINE}  printing or logging: ") for line in lines)


def test_a_loader_over_tensors_is_found_at_its_loop(tmp_path):
    seen = document(profile(tmp_path, LOADER, "--json"))
    (found,) = of_lines(seen)
    assert (found["kind"], found["file"], found["line"]) == ("data", "train.py", 9)
    assert found["share"] == pytest.approx(seen["breakdown"]["data"]["share"])
    # Three tiny operators against 256 samples fetched one by one.
    assert found["share"] > 0.3
    assert found["gain_low"] <= found["gain_ms"] <= found["gain_high"]
    assert found["gain_ms"] < found["ms_per_step"]
    assert "TensorDataset" in seen["verdict"]


def test_the_verdict_claims_no_gain_that_is_not_known():
    parts = {"data": {"us": 900.0, "share": 0.9}, "forward": {"us": 100.0, "share": 0.1}}
    wait = {
        "kind": "data",
        "what": "waiting for a DataLoader",
        "file": "train.py",
        "line": 3,
        "share": 0.9,
        "gain_ms": None,
        "gain_high": 0.9,
    }
    seen = {
        "steps": 50,
        "us_per_step": 1000.0,
        "breakdown": parts,
        "windows": {"lines": 9},
        "findings": [wait],
    }
    assert verdict(seen).startswith("Waiting for a DataLoader (train.py:3) takes 90 % of the time")
    assert verdict(seen).endswith("how much of it can go is not known from here.")
    known = verdict(seen | {"findings": [wait | {"gain_ms": 0.5}]})
    assert "about 500 µs of it can go" in known
    assert "no line was found" in verdict(seen | {"findings": [wait | {"gain_ms": 0.01}]})
    starts = wait | {"kind": "launch-bound", "line": 8}
    seen["split"] = {"parts": {"compute": {"share": 0.04}}}
    assert verdict(seen | {"findings": [starts, wait]}).startswith(
        "90 % of a step starts work and 4 % does it (train.py:8)"
    )
    assert "(train.py:3)" in verdict(seen | {"findings": [wait, starts]})  # the first one listed


def test_what_stamps_take_is_measured_beside_plain_steps_and_taken_out(tmp_path):
    (tmp_path / "train.py").write_text(LOOP.replace("range(60)", "range(260)"))
    done = run("-m", "flatout", "profile", "--json", "--no-trials", "train.py", cwd=tmp_path)
    seen = json.loads(done.stdout.splitlines()[-1])
    assert seen["windows"]["plain"] == 3 * 17
    assert 1 <= seen["stamps"] < 3
    assert seen["backwards_per_step"] == 1  # those of the plain steps are not counted, nor are these
    parts = sum(part["us"] for part in seen["breakdown"].values())
    assert parts == pytest.approx(seen["us_per_step"])
    whole = StepTime(3.0, 0.5, 1.0, 0.5, 0.5, started=True)
    assert whole.without(2.0) == StepTime(1.5, 0.25, 0.5, 0.25, 0.25, started=True)


def test_a_known_gain_comes_before_one_that_may_be_up_to_twice_as_large():
    def one(kind, gain, high):
        return Finding(kind, "train.py", 1, kind, 1.0, high, 0.5, "", "", gain, 0.0, high)

    found = [one("data", 1.0, 1.0), one("item", None, 1.9), one("launch-bound", None, 2.1)]
    assert [each.kind for each in sorted(found, key=_rank)] == ["launch-bound", "data", "item"]
    wrong = one("train-mode", None, None)
    assert sorted([*found, wrong], key=_rank)[0] is wrong


def test_reads_of_every_kind_are_found_and_the_optimizers_own_are_not(tmp_path):
    source = LOOP.replace(
        "    print(repr(loss.item()))",
        "    shown = f'{loss:.3f}'\n"  # 15
        "    if loss > 100:\n"  # 16
        "        break\n"
        "    value = float(loss.detach())\n"  # 18
        "    values = loss.detach().tolist()\n"  # 19
        "    array = loss.detach().numpy()\n"  # 20
        "    ones = torch.tensor([1.0, 2.0]); more = torch.tensor(1.0)\n"  # 21
        "    text = str(loss)\n"  # 22
        "    kept.append(loss.detach())",
    ).replace("import sys\n", "kept = []\n")
    done = profile(tmp_path, source, "--json")
    seen = document(done)
    assert len(done.stderr.splitlines()) <= 24
    found = {one["line"]: (one["kind"], one["count"]) for one in of_lines(seen)}
    assert found == {
        15: ("format", 1),
        16: ("bool", 1),
        18: ("float", 1),
        19: ("tolist", 1),
        20: ("numpy", 1),
        21: ("tensor", 2),
        22: ("print", 1),
    }


def test_losses_kept_with_their_graph(tmp_path):
    kept = LOOP.replace("print(repr(loss.item()))", "losses.append(loss)")
    kept = kept.replace("import sys\n", "losses = []\n")
    (found,) = of_lines(document(profile(tmp_path, kept, "--json")))
    assert (found["kind"], found["line"], found["ms_per_step"]) == ("kept-graph", 15, None)


def test_a_script_that_fails_shows_its_own_traceback(tmp_path):
    source = LOOP.replace("print(repr(loss.item()))", "model(X, y) if step == 40 else None")
    done = profile(tmp_path, source, "--json")
    plain = run("train.py", cwd=tmp_path)
    assert done.returncode == plain.returncode == 1
    assert done.stderr.startswith(plain.stderr.rstrip())
    seen = document(done)
    assert (seen["outcome"], seen["status"], seen["steps"]) == ("failed", 1, 41)
    assert seen["us_per_step"] > 0


@pytest.mark.parametrize(("code", "status"), [("3", 3), ("None", 0), ("'no data'", 1)])
def test_the_exit_status_is_the_scripts(tmp_path, code, status):
    done = profile(tmp_path, f"import sys\nsys.exit({code})\n", "--json")
    assert done.returncode == status
    assert ("no data" in done.stderr) == (status == 1)
    seen = document(done)
    assert (seen["steps"], seen["breakdown"]) == (0, None)
    assert seen["verdict"] == (
        "No step was seen: the script never called an optimizer, backward or a module of torch."
    )


def test_ctrl_c_reports_what_was_measured(tmp_path):
    source = LOOP.replace("range(60)", "range(10**9)").replace(
        "    print(repr(loss.item()))", "    if step == 100: print('ready', flush=True)"
    )
    (tmp_path / "train.py").write_text(source)
    process = subprocess.Popen(
        [sys.executable, "-m", "flatout", "profile", "--json", "train.py"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "KeyboardInterrupt" in errors
    seen = json.loads(output.splitlines()[-1])
    assert seen["outcome"] == "interrupted"
    assert seen["us_per_step"] > 0


def test_too_few_steps_are_said(tmp_path):
    few = document(profile(tmp_path, LOOP.replace("range(60)", "range(3)"), "--json"))
    assert (few["steps"], few["us_per_step"], few["breakdown"], few["findings"]) == (3, None, None, [])
    assert few["verdict"].startswith("Too few steps to measure: 3")
    no_lines = document(profile(tmp_path, LOOP.replace("range(60)", "range(9)"), "--json"))
    assert no_lines["us_per_step"] > 0
    assert no_lines["distortion"] is None
    assert "the script ended before its lines were looked at" in no_lines["verdict"]


def test_stop_ends_the_script_and_steps_end_the_measuring(tmp_path):
    done = profile(tmp_path, LOOP, "--steps", "25", "--stop", "--json")
    assert done.returncode == 0
    assert len(done.stdout.splitlines()) == 24 + 1  # the last step ends before its line
    assert (document(done)["steps"], document(done)["outcome"]) == (25, "stopped")
    on = profile(tmp_path, LOOP, "--steps", "25", "--json")
    assert len(on.stdout.splitlines()) == 60 + 1
    assert document(on)["steps"] == 25


SURROUNDINGS = """\
import os, sys
print(sys.argv, sys.path[0], __name__, __file__, os.getcwd(), __spec__ and __spec__.name, __package__)
print(sys.modules["__main__"].__dict__ is globals(), "torch" in sys.modules, "numpy" in sys.modules)
"""


@pytest.mark.parametrize("how", [("package/train.py",), ("-m", "package.train")])
def test_the_script_sees_what_python_would_show_it(tmp_path, how):
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "train.py").write_text(SURROUNDINGS)
    own = ("--lr", "0.1", "--steps", "7", "-h")
    plain = run(*how, *own, cwd=tmp_path)
    done = run("-m", "flatout", "profile", *how[:-1], "--", how[-1], *own, cwd=tmp_path)
    assert plain.stdout.count("\n") == 2
    assert done.stdout.startswith(plain.stdout)


def test_several_optimizers_make_one_step(tmp_path):
    source = LOOP.replace(
        "loss_function =", "second = torch.optim.SGD(model.parameters(), lr=0.01)\nloss_function ="
    ).replace("    print(repr(loss.item()))", "    second.step()")
    seen = document(profile(tmp_path, source, "--json"))
    assert seen["steps"] == 60
    assert any("2 optimizers (Adam, SGD)" in note for note in seen["notes"])


def test_a_closure_is_not_the_optimizers_time(tmp_path):
    source = """\
import time, torch
class Slow(torch.nn.Linear):
    def forward(self, x):
        time.sleep(0.01)
        return super().forward(x)
model = Slow(2, 1)
optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
def closure():
    optimizer.zero_grad()
    loss = model(torch.ones(3, 2)).sum()
    loss.backward()
    return loss
for step in range(8):
    optimizer.step(closure)
"""
    seen = document(profile(tmp_path, source, "--json"))
    assert seen["breakdown"]["forward"]["us"] >= 10_000
    assert seen["breakdown"]["optimizer"]["us"] < seen["breakdown"]["forward"]["us"]


def test_torch_is_afterwards_what_it_was(tmp_path):
    (tmp_path / "train.py").write_text(LOOP)
    done = run("-c", RESTORED, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "restored"


RESTORED = """\
import builtins, json, logging
import torch, torch._dynamo, torch._inductor, torch.onnx  # as the first optimizer does
from torch.optim import optimizer
from torch.utils.data import dataloader
loaders = (dataloader.DataLoader, dataloader._BaseDataLoaderIter)
profilers = (torch.autograd.profiler, torch.autograd.profiler.record_function)
owners = (torch.Tensor, torch.nn.Module, torch.autograd, torch, logging.Logger, builtins, json)
owners += (*loaders, *profilers)
first = torch.optim.SGD([torch.zeros(1)])
first.step()  # with the first step of an optimizer torch loads more of itself
before = [dict(vars(owner)) for owner in owners]
hooks = (len(optimizer._global_optimizer_pre_hooks), len(optimizer._global_optimizer_post_hooks))
from flatout.profiling.profile import profile_script
for steps, window in ((15, "lines"), (22, "trace")):
    outcome, seen = profile_script(["train.py"], steps=steps)  # ends within this window
    assert outcome.status == 0 and seen["windows"][window] > 0
    assert [dict(vars(owner)) for owner in owners] == before
    assert hooks == (len(optimizer._global_optimizer_pre_hooks), len(optimizer._global_optimizer_post_hooks))
    assert not torch._C._autograd._profiler_enabled()
print("restored")
"""


BY_NAME = """\
import torch
from torch.autograd import grad

torch.manual_seed(0)
model, x = torch.nn.Linear(1, 8), torch.linspace(0, 1, 20)[:, None]
for step in range(80):
    parameters = list(model.parameters())
    for parameter, slope in zip(parameters, grad(model(x).square().mean(), parameters)):
        parameter.data -= 0.1 * slope
print(grad.__module__, grad is torch.autograd.grad)
"""


def test_backward_that_the_script_has_imported_by_name_is_seen(tmp_path):
    (tmp_path / "train.py").write_text(BY_NAME)
    done = run("-m", "flatout", "profile", "--json", "--steps", "40", "--no-trials", "train.py", cwd=tmp_path)
    said, document = done.stdout.splitlines()
    assert said == "torch.autograd True"
    seen = json.loads(document)
    assert seen["step_ends_with"] == "backward"
    assert seen["breakdown"]["backward"]["share"] > 0.05


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("missing.py",), "the script must be a Python file, but 'missing.py' is not a file"),
        (
            ("-m", "no.such"),
            "-m takes the name of a module that can be imported from here, but got 'no.such'",
        ),
    ],
)
def test_no_script_is_one_message_and_status_2(tmp_path, arguments, message):
    done = run("-m", "flatout", "profile", *arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert message in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr
