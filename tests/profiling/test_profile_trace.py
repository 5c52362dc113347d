"""The window of the trace: torch's own profiler over a few steps of a loop, in this process."""

import json
from pathlib import Path
from threading import get_ident
from time import perf_counter

import pytest
import torch
from torch.profiler import ProfilerActivity, profile, record_function, schedule

import flatout
from flatout.profiling.evidence import AbstainError, Evidence
from flatout.profiling.rules import launch
from flatout.profiling.stamps import Stamps, StepTime
from flatout.profiling.tracing.file import TraceFile, chrome_trace
from flatout.profiling.tracing.seen import Traced, in_document, traced
from flatout.profiling.tracing.window import STEPS, Trace
from flatout.profiling.watch.passes import Passes


class Net(torch.nn.Module):
    def __init__(self, width=8):
        super().__init__()
        self.block = torch.nn.Sequential(torch.nn.Linear(width, width), torch.nn.ReLU())
        self.head = torch.nn.Linear(width, 3)

    def forward(self, x):
        return self.head(self.block(x))


def loop(width=8, rows=16):
    """A step of training."""
    torch.manual_seed(0)
    model, loss_function = Net(width), torch.nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    x, y = torch.randn(rows, width), torch.randint(3, (rows,))

    def step():
        optimizer.zero_grad()
        loss_function(model(x), y).backward()
        optimizer.step()

    return step


def watched(step, *, trace=None, steps=STEPS):
    """The window over some steps, as the recorder opens it; torch is what it was afterwards."""
    trace = trace or Trace()
    before = dict(vars(torch.nn.Module)), dict(vars(torch.autograd)), dict(vars(torch.autograd.profiler))
    enter, enabled = record_function.__enter__, torch._C._autograd._profiler_enabled()
    trace.watch()
    trace.install(get_ident())
    for number in range(steps):
        trace.begin()
        began = perf_counter()
        step()
        trace.end(perf_counter() - began, settled=number >= 2)
    trace.remove()
    trace.unwatch()
    assert torch._C._autograd._profiler_enabled() == enabled
    assert before == (
        dict(vars(torch.nn.Module)),
        dict(vars(torch.autograd)),
        dict(vars(torch.autograd.profiler)),
    )
    assert record_function.__enter__ is enter
    return trace


def bare(step, steps=15):
    """Steps that nobody watches; what the optimizer takes is in the rest."""
    stamps = Stamps(Passes())
    stamps.install(get_ident())
    for _ in range(steps):
        stamps.begin()
        began = perf_counter()
        step()
        stamps.end(perf_counter() - began, settled=True)
    stamps.remove()
    return stamps.steps


@pytest.fixture(scope="module")
def small():
    step = loop()
    times = bare(step)
    return watched(step), times


@pytest.fixture(scope="module")
def seen(small):
    trace, _ = small
    # However much slower the profiler is on this machine now, there is a split to look at.
    return traced(trace, [StepTime(s, 0.0, 0.5 * s, 0.3 * s, 0.1 * s) for s in trace.times], "cpu")


def test_the_shares_of_the_split_add_up_to_the_bare_step(small, seen):
    entry = in_document(seen)["split"]
    parts = entry["parts"]
    assert set(parts) == {"compute", "dispatch", "python", "data"}
    assert sum(part["us"] for part in parts.values()) == pytest.approx(1e6 * sum(small[0].times) / 5)
    assert sum(part["share"] for part in parts.values()) == pytest.approx(1)
    assert min(part["us"] for part in parts.values()) >= 0
    assert parts["data"]["us"] == 0
    assert parts["dispatch"]["us"] > parts["compute"]["us"]  # 16 rows of 8 numbers
    assert "single element" in entry["how"]
    assert entry["distortion"] == pytest.approx(1)
    json.dumps(entry)


def test_the_operators_of_a_step_are_counted(seen):
    # Forward: two addmm, relu, log_softmax, nll_loss. Backward: ones_like, of these five one each, a second
    # mm where there is a layer below, and a sum for each bias. Then an add_ for each parameter.
    assert seen.split.operators == 5 + 1 + 5 + 1 + 2 + 4


def test_the_layers_are_named_by_their_path_and_their_backward_is_theirs(small, seen):
    rows = {row["name"]: row for row in in_document(seen)["layers"]}
    classes = {name: row["class"] for name, row in rows.items()}
    assert classes == {
        "Net": "Net",
        "block": "Sequential",
        "block.0": "Linear",
        "block.1": "ReLU",
        "head": "Linear",
        "CrossEntropyLoss": "CrossEntropyLoss",
    }
    assert all(row["forward_us"] > 0 and row["backward_us"] > 0 for row in rows.values())
    inner = sum(rows[name]["self_us"] for name in ("block", "block.0", "block.1"))
    assert rows["block"]["forward_us"] + rows["block"]["backward_us"] == pytest.approx(inner)
    step = 1e6 * sum(small[0].times) / 5
    assert sum(row["self_us"] for row in rows.values()) < step
    assert rows["Net"]["share"] == pytest.approx(
        (rows["Net"]["forward_us"] + rows["Net"]["backward_us"]) / step
    )


def test_a_small_model_is_launch_bound_at_the_line_that_calls_it(seen):
    (found,) = launch.find(evidence(seen))
    source = Path(found.file).read_text().splitlines()
    assert "loss_function(model(x), y).backward()" in source[found.line - 1]
    assert found.gain_ms is None
    assert 0 == found.gain_low < found.gain_high <= 1e-3 * seen.split.step_us


def test_large_matrices_are_not_launch_bound():
    step = loop(width=1024, rows=1024)
    times = bare(step, 5)
    seen = traced(watched(step), times, "cpu")
    assert seen.split.parts["compute"] > 0.5 * seen.split.step_us
    assert not list(launch.find(evidence(seen)))


def test_without_a_split_the_rule_abstains_and_says_why(small):
    trace, times = small
    slow = traced(trace, [StepTime(s / 10, 0.0, s / 10, 0.0, 0.0) for s in trace.times], "cpu")
    assert in_document(slow) == {
        "split": None,
        "split_reason": "the profiler made steps 10.0 times as long",
        "layers": [],
    }
    with pytest.raises(AbstainError, match=r"the split of a step: the profiler made steps 10\.0 times"):
        list(launch.find(evidence(slow)))
    assert "type mps" in traced(trace, times, "mps").reason
    few = traced(watched(loop(), steps=4), times, "cpu")
    assert few.reason == "the script ended before the profiler had seen 3 steps"


def evidence(seen: Traced):
    return Evidence([], [], None, None, "cpu", detach_s=0.0, clock_s=0.0, cpus=None, threads=1, traced=seen)


def test_twenty_two_steps_are_enough():
    profiled = flatout.profile(loop(), steps=22)
    assert profiled.document["windows"]["trace"] == 3
    assert flatout.profile(loop(), steps=21).document["split"] is None


def test_a_profiler_of_the_scripts_own_is_left_alone():
    step = loop()
    theirs = profile(
        activities=[ProfilerActivity.CPU],
        schedule=schedule(wait=4, warmup=1, active=2, repeat=1),
        acc_events=True,
    )

    def with_theirs():
        step()
        theirs.step()

    theirs.start()
    trace = watched(with_theirs)  # theirs begins in the fifth step, ours in the third
    theirs.stop()
    assert trace.reason == "the script runs a profiler of its own"
    assert any(event.name == "aten::addmm" for event in theirs.events())
    assert traced(trace, bare(step), "cpu").reason == trace.reason

    with profile(activities=[ProfilerActivity.CPU]) as all_the_time:
        trace = watched(step)
    assert trace.reason == "the script runs a profiler of its own"
    assert sum(event.name == "aten::addmm" for event in all_the_time.events()) == 2 * STEPS


def test_a_range_that_outlasts_the_profiler_keeps_it_from_starting_again():
    step = loop()
    trace = Trace()
    entered = []

    def with_range():
        if not entered:
            entered.append(record_function("epoch"))
            entered[0].__enter__()
        step()

    watched(with_range, trace=trace)
    assert "a range of the script's own" in trace.reason
    entered[0].__exit__(None, None, None)


def test_the_trace_is_one_that_perfetto_opens(small, tmp_path):
    trace, _ = small
    found = {"kind": "launch-bound", "file": "train.py", "line": 3, "what": "small", "ms_per_step": 1.0}
    finding = found | {"fix": "", "code": ""}
    written = json.loads(json.dumps(chrome_trace(trace.recordings[0], trace.marks.layers, [finding])))
    events = written["traceEvents"]
    for event in events:
        assert {"ph", "ts", "pid", "tid", "name"} <= set(event)
        assert isinstance(event["ts"], (int, float))
        if event["ph"] == "X":
            assert event["dur"] >= 0
    tracks = {}
    for event in events:
        if event["ph"] == "X":
            tracks.setdefault((event["pid"], event["tid"]), []).append(event)
    for of_track in tracks.values():
        assert_nested(of_track)

    (process,) = {e["pid"] for e in events if e["name"] == "process_name" and e["args"]["name"] == "flatout"}
    threads = {
        e["tid"]: e["args"]["name"] for e in events if e["pid"] == process and e["name"] == "thread_name"
    }
    own = {
        name: [e for e in events if e["pid"] == process and e["tid"] == tid] for tid, name in threads.items()
    }
    complete = {name: [e["name"] for e in of if e["ph"] == "X"] for name, of in own.items()}
    assert complete["steps"] == [f"step {number}" for number in range(1, 7)]
    assert set(complete["parts"]) == {"forward", "backward", "optimizer", "rest"}
    assert complete["parts"].count("backward") == 6
    assert complete["layers"].count("block.0") == 6
    assert complete["layers"].count("block.0 backward") >= 6
    (instant,) = (e for e in own["findings"] if e["ph"] == "i")
    assert instant["name"] == "train.py:3 small"
    first = next(e for e in own["parts"] if e["name"] == "forward")
    assert instant["ts"] == first["ts"]
    assert any(e["name"] == "aten::addmm" for e in events)

    file = TraceFile(tmp_path / "t.json")
    document = {"findings": [], "notes": []}
    file.fill(trace, document)
    file.write()
    assert json.loads((tmp_path / "t.json").read_text())["traceEvents"]
    nothing = TraceFile(tmp_path / "u.json")
    nothing.fill(Trace(), document)
    nothing.write()
    assert not (tmp_path / "u.json").exists()
    assert document["notes"] == ["u.json was not written: the script ended before the profiler had run"]


def assert_nested(events, tolerance=2e-3):
    """Each event lies within those that were running when it began; a nanosecond is lost in the export."""
    running = []
    for event in sorted(events, key=lambda event: (event["ts"], -event["dur"])):
        while running and running[-1] <= event["ts"] + tolerance:
            running.pop()
        end = event["ts"] + event["dur"]
        assert not running or end <= running[-1] + tolerance, event
        running.append(end)
