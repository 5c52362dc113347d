"""What a step does, told from hand-written traces of the profiler."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flatout.profiling.tracing.cpu import cpu_parts, layer_times
from flatout.profiling.tracing.device import NoWorkError, device_of
from flatout.profiling.tracing.host import Reader
from flatout.profiling.tracing.layers import layers_of
from flatout.profiling.tracing.marks import BACKWARD, DATA, LAYER, STEP, Layer
from flatout.profiling.tracing.split import gpu_parts
from flatout.profiling.user_lines import Line

SCRIPT, AUTOGRAD = 10, 11  # threads
ENGINE = "autograd::engine::evaluate_function: "
LINE = Line("train.py", 3)


def event(name, ts, dur, cat="cpu_op", tid=SCRIPT, **args):
    return {"ph": "X", "cat": cat, "name": name, "ts": ts, "dur": dur, "pid": 1, "tid": tid, "args": args}


def step(ts, dur):
    return event(STEP, ts, dur)


def call(name, ts, dur, correlation, tid=SCRIPT):
    """A call of the CUDA runtime."""
    return event(name, ts, dur, "cuda_runtime", tid, correlation=correlation)


def launch(ts, dur, correlation, tid=SCRIPT):
    return call("cudaLaunchKernel", ts, dur, correlation, tid)


def kernel(ts, dur, correlation, stream=7, cat="kernel"):
    args = {"stream": stream, "correlation": correlation}
    return {"ph": "X", "cat": cat, "name": "k", "ts": ts, "dur": dur, "pid": 0, "tid": stream, "args": args}


def kind(name):
    return {"aten::linear": "composite", "aten::t": "view"}.get(name, "kernel")


def hosts(*events):
    return Reader(kind).steps(events)


def done(host, thread=SCRIPT):
    """Microseconds by part and what was done."""
    times = {}
    for one in host.segments[thread]:
        times[one.part, one.does] = times.get((one.part, one.does), 0) + one.end - one.begin
    return times


# A step of 100 µs: forward of one layer, its backward, an optimizer.
STEP_ON_CPU = [
    step(1000, 100),
    event(LAYER + "0", 1010, 30),
    event("aten::linear", 1012, 26, **{"Sequence number": 5}),
    event("aten::t", 1013, 4, **{"Sequence number": 5}),
    event("aten::addmm", 1018, 18, **{"Sequence number": 6}),
    event("aten::copy_", 1020, 5),
    event(BACKWARD, 1045, 30),
    event("aten::ones_like", 1046, 2),
    event(ENGINE + "AddmmBackward0", 1050, 10, **{"Sequence number": 6, "Fwd thread id": 1}),
    event("AddmmBackward0", 1051, 8, **{"Sequence number": 6, "Fwd thread id": 1}),
    event("aten::mm", 1053, 5),
    event(ENGINE + "torch::autograd::AccumulateGrad", 1062, 4),
    event("Optimizer.step#SGD.step", 1080, 30, "user_annotation"),
    event("aten::add_", 1085, 3),
    event("of the next step", 1105, 3),
]


def test_the_host_is_told_apart_by_part_and_by_what_it_does():
    (host,) = hosts(*STEP_ON_CPU)
    assert done(host) == {
        ("rest", "python"): 10 + 5 + 5,
        ("forward", "python"): 4,
        ("forward", "dispatch"): 26,
        # Within the engine, from 1050 to 1066, all is dispatch; what comes before it is Python.
        ("backward", "dispatch"): 2 + 16,
        ("backward", "python"): 1 + 2 + 9,
        ("optimizer", "python"): 5 + 12,
        ("optimizer", "dispatch"): 3,
    }
    names = [(one.name, one.part) for one in host.operators]
    assert names == [
        (
            "aten::addmm",
            "forward",
        ),  # it does the work, not the linear that calls it or the copy that it calls
        ("aten::ones_like", "backward"),
        ("aten::mm", "backward"),
        ("aten::add_", "optimizer"),
    ]
    assert host.events["forward", "dispatch"] == 3  # they begin in linear and addmm: t, addmm, copy_


def test_the_split_on_a_cpu_adds_up_and_the_profilers_own_time_goes_where_it_was():
    bare = {"data": 0.0, "forward": 24.0, "backward": 30.0, "optimizer": 20.0, "rest": 20.0}
    parts = cpu_parts(bare, hosts(*STEP_ON_CPU), {"forward": 6.0, "backward": 2.0, "optimizer": 1.0})
    assert sum(parts.values()) == pytest.approx(94)
    # Forward took 30 µs instead of 24: 4 events, one of which begins in Python and three in dispatch.
    assert parts["compute"] == pytest.approx(6 + 2 + 1)
    assert parts["python"] == pytest.approx(20 + (4 - 6 / 4) + 12 + 17)


def test_backward_goes_to_the_layer_whose_operator_it_undoes():
    bare = {"data": 0.0, "forward": 60.0, "backward": 30.0, "optimizer": 20.0, "rest": 20.0}
    read = hosts(*STEP_ON_CPU)
    times = layer_times(bare, read)
    # The forward is twice as long as in the trace; a gradient that is stored belongs to who made it.
    assert times == {(0, "forward"): 60, (0, "backward"): pytest.approx(10 + 4)}
    (row,) = layers_of([Layer("", "Linear", 0, LINE)], times, 130.0)
    assert (row.name, row.kind, row.self_us) == ("Linear", "Linear", 74)
    assert row.share == pytest.approx(74 / 130)


def test_a_layer_counts_with_those_within_it():
    layers = [
        Layer("", "Net", 0, LINE),
        Layer("block", "Block", 0, LINE),
        Layer("block.0", "Linear", 0, LINE),
        Layer("blocks", "Linear", 0, LINE),
        Layer("", "CrossEntropyLoss", 4, LINE),
    ]
    times = {(0, "forward"): 1, (1, "forward"): 2, (2, "forward"): 4, (2, "backward"): 8, (4, "forward"): 32}
    rows = {row.name: row for row in layers_of(layers, times | {(3, "forward"): 16}, 100.0)}
    assert list(rows) == ["CrossEntropyLoss", "blocks", "block.0", "block", "Net"]
    assert (rows["Net"].forward_us, rows["Net"].backward_us, rows["Net"].self_us) == (23, 8, 1)
    assert (rows["block"].forward_us, rows["block"].self_us) == (6, 2)
    assert rows["block"].share == pytest.approx(0.14)


def test_layers_of_several_models_are_told_apart():
    names = [Layer("", "Generator", 0, LINE), Layer("0", "Linear", 0, LINE)]
    names += [Layer("", "Critic", 2, LINE), Layer("0", "Linear", 2, LINE)]
    rows = layers_of(names, {(1, "forward"): 2.0, (3, "forward"): 1.0}, 10.0)
    assert [row.name for row in rows if row.self_us] == ["Generator.0", "Critic.0"]


def test_work_within_the_data_loader_is_data():
    (host,) = hosts(
        step(0, 50),
        event(DATA, 10, 20),
        event("aten::stack", 12, 5),
        event(LAYER + "0", 18, 2),
        event("f", 40, 5),
    )
    # A function that the user has defined for autograd is Python.
    assert done(host) == {("rest", "python"): 30, ("data", "data"): 20}


def on_gpu(*events):
    events = [step(0, 100), *events]
    return device_of(events, hosts(*events))


def test_a_gap_is_what_the_host_does_until_it_launches():
    device = on_gpu(
        event(DATA, 0, 20),
        event(LAYER + "0", 30, 20),
        event("aten::linear", 35, 10),
        launch(40, 2, 1),
        kernel(45, 20, 1),  # 20 of data, 15 of Python, 5 of dispatch; 5 until it began
        kernel(55, 20, 2, stream=9),  # beside it, on another stream; launched before the trace began
        call("cudaMemcpyAsync", 60, 1, 3),
        kernel(70, 10, 3, cat="gpu_memcpy"),  # 5 of it alone; then Python to the end
    )
    assert device.parts == {
        "compute": 30,
        "copy": 5,
        "launch": 5,
        "data": 20,
        "python": 15 + 20,
        "dispatch": 5,
        "sync": 0,
    }
    assert device.layers == {(0, "forward"): 20}
    assert device.launches == 2


def test_a_sync_is_to_blame_for_as_long_as_it_lasted():
    device = on_gpu(
        launch(0, 2, 1),
        kernel(2, 38, 1),
        call("cudaStreamSynchronize", 30, 15, None),  # the queue is empty at 40, the host goes on at 45
        launch(70, 2, 2),
        kernel(72, 28, 2),
    )
    # Without the sync the host would have launched 15 earlier, at 55.
    assert device.parts["sync"] == 15
    assert device.parts["python"] == 15
    assert device.parts["launch"] == 2 + 2


def test_a_wait_with_nothing_to_wait_for_is_only_itself():
    device = on_gpu(
        launch(0, 2, 1), kernel(2, 8, 1), call("cudaDeviceSynchronize", 30, 10, None), launch(60, 2, 2),
        kernel(62, 38, 2),
    )  # fmt: skip
    assert device.parts["sync"] == 10
    assert device.parts["python"] == 20 + 20


def test_backward_in_autograds_thread_launches_from_there():
    device = on_gpu(
        event(LAYER + "0", 0, 10),
        event("aten::addmm", 2, 6, **{"Sequence number": 7}),
        launch(4, 2, 1),
        kernel(6, 6, 1),
        event(BACKWARD, 12, 60),
        event(ENGINE + "AddmmBackward0", 30, 20, tid=AUTOGRAD, **{"Sequence number": 7, "Fwd thread id": 1}),
        launch(40, 2, 2, AUTOGRAD),
        kernel(42, 58, 2),
    )
    assert device.parts["python"] == 2 + 18  # until the engine began
    assert device.parts["dispatch"] == 2 + 10
    assert device.layers == {(0, "forward"): 6, (0, "backward"): 58}


def test_replays_of_graphs_are_recognised():
    device = on_gpu(call("cudaGraphLaunch", 0, 10, 1), *(kernel(t, 5, 1) for t in range(10, 100, 10)))
    assert (device.replays, device.launches) == (1, 1)
    assert device.parts["compute"] == 45
    assert device.parts["launch"] == 10 + 40 + 5 - 5  # within a graph nothing waits for the host
    assert device.parts["python"] == 5  # after it


def test_without_work_of_a_gpu_there_is_no_split():
    with pytest.raises(NoWorkError, match="saw no work of the GPU"):
        on_gpu(event("aten::linear", 35, 10))


SPAN = st.tuples(st.floats(-20, 120), st.floats(0, 60))
NAMES = st.sampled_from(
    [
        "aten::linear",
        "aten::mm",
        LAYER + "0",
        BACKWARD,
        DATA,
        ENGINE + "A",
        "ABackward0",
        "Optimizer.step#X",
        "f",
    ]
)


@given(
    st.lists(st.tuples(NAMES, SPAN, st.sampled_from([SCRIPT, AUTOGRAD]))),
    st.lists(st.tuples(SPAN, st.integers(1, 4))),
    st.lists(
        st.tuples(SPAN, st.sampled_from(["cudaLaunchKernel", "cudaStreamSynchronize"]), st.integers(1, 5))
    ),
    st.dictionaries(
        st.sampled_from(["data", "forward", "backward", "optimizer", "rest"]), st.floats(0.1, 1e4)
    ),
    st.floats(0, 1e3),
)
def test_whatever_the_trace_holds_the_parts_add_up(ranges, work, calls, bare, computing):
    events = [event(name, ts, dur, tid=tid) for name, (ts, dur), tid in ranges]
    events += [kernel(ts, dur, number) for (ts, dur), number in work]
    events += [call(name, ts, dur, number) for (ts, dur), name, number in calls]
    events += [step(0, 100)]
    read = hosts(*events)
    (host,) = read
    assert sum(done(host).values()) == pytest.approx(100)
    ends = [0, *(one.end for one in host.segments[SCRIPT])]
    assert [one.begin for one in host.segments[SCRIPT]] == pytest.approx(ends[:-1])

    parts = cpu_parts(bare, read, dict.fromkeys(bare, computing))
    assert sum(parts.values()) == pytest.approx(sum(bare.values()))
    assert min(parts.values()) >= 0
    if work:
        seen = device_of(events, read).parts
        assert sum(seen.values()) == pytest.approx(100)
        assert min(seen.values()) >= -1e-9
        assert sum(gpu_parts(70.0, seen).values()) == pytest.approx(70)
