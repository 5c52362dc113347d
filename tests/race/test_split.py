"""Where an eager step spends its time."""

import pytest
import torch

from flatout.data.load import load_data
from flatout.plans.eager import EagerPlan
from flatout.racing import operators
from flatout.racing.operators import TimedOperator, timed_operators
from flatout.racing.split import cpu_split, gpu_split, split_of
from flatout.racing.timeline import device_parts, parts_of


@pytest.mark.parametrize(
    ("computing", "waiting", "expected"),
    [
        (0.0, 0.0, (0.0, 100.0, 0.0)),
        (8.0, 0.0, (8.0, 92.0, 0.0)),
        (8.0, 30.0, (8.0, 62.0, 30.0)),
        (8.0, 300.0, (8.0, 40.0, 52.0)),  # 40 to start the operators was measured too
        (250.0, 50.0, (100.0, 0.0, 0.0)),
    ],
)
def test_the_parts_add_up_to_the_step_on_a_cpu(computing, waiting, expected):
    split = cpu_split("cpu", 100.0, computing, waiting, 40.0)
    assert (split.compute_us, split.launch_us, split.sync_us) == expected
    assert (split.transfer_us, split.idle_us) == (0.0, 0.0)


def test_what_is_quicker_on_one_thread_waits():
    slow = TimedOperator("aten.exp.default", whole=50.0, start=2.0, alone=10.0)
    assert (slow.compute, slow.waiting) == (8.0, 40.0)
    shared = TimedOperator("aten.mm.default", whole=50.0, start=2.0, alone=90.0)
    assert (shared.compute, shared.waiting) == (48.0, 0.0)


def test_the_number_of_threads_is_put_back():
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        timed_operators(lambda _: torch.rand(8).exp(), budget=0.1)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("step", [50.0, 110.0, 1e4])
def test_the_parts_add_up_to_the_step_on_a_gpu(step):
    seen = {"compute": 60.0, "transfer": 20.0, "launch": 300.0, "sync": 60.0, "idle": 40.0}
    split = gpu_split("cuda:0", step, seen)
    parts = (split.compute_us, split.launch_us, split.transfer_us, split.sync_us, split.idle_us)
    assert sum(parts) == pytest.approx(step)
    assert min(parts) >= -1e-9
    if step > 80:
        assert (split.compute_us, split.transfer_us) == (60.0, 20.0)
        assert split.launch_us == pytest.approx(5 * split.sync_us)


def test_without_a_way_to_measure_it_is_unknown():
    assert split_of(torch.device("mps"), 100.0, lambda steps: None, budget=0.1) is None

    def fails(steps):
        raise RuntimeError("the model does not like to be watched")

    assert split_of(torch.device("cpu"), 100.0, fails, budget=0.1) is None


@pytest.mark.parametrize("optimizer", [torch.optim.SGD, torch.optim.Adam])
def test_a_step_that_is_watched_computes_the_same(make_task, optimizer):
    def after_a_step(watched):
        task = make_task(optimizer=optimizer)
        data = load_data(task, torch.device("cpu"))
        loop = EagerPlan().prepare(task, data)
        if watched:
            timed_operators(lambda steps: loop.advance(data.take(steps)), budget=0.1)
        else:
            loop.advance(data.take(1))
        return [p.detach().clone() for p in task.model.parameters()]

    assert all(map(torch.equal, after_a_step(True), after_a_step(False)))


def test_the_operators_are_those_that_start_work():
    a = torch.rand(256, 256)
    found = timed_operators(lambda _: (a @ a.t()).view(-1).relu_().sum().item(), budget=1.0)
    assert [f.name for f in found] == ["aten.mm.default", "aten.relu_.default", "aten.sum.default"]
    assert found[0].whole > found[0].start  # 33 million operations against 2


def test_an_operator_that_insists_on_its_sizes_starts_like_the_others(monkeypatch):
    def insists(*_):
        raise RuntimeError("sizes")

    a = torch.rand(8)
    real = operators._single_elements
    monkeypatch.setattr(
        operators, "_single_elements", lambda f, *rest: (insists if "exp" in str(f) else real)(f, *rest)
    )
    found = {f.name: f for f in timed_operators(lambda _: a.sin().exp(), budget=1.0)}
    assert found["aten.exp.default"].start == found["aten.sin.default"].start


def event(cat, name, ts, dur, correlation=None):
    args = {} if correlation is None else {"args": {"correlation": correlation}}
    return {"ph": "X", "cat": cat, "name": name, "ts": ts, "dur": dur, **args}


def trace(*events):
    """A trace of 100 µs, from 1000 to 1100."""
    mark = event("user_annotation", "flatout: the steps that are timed", 1000, 100)
    on_gpu = event("gpu_user_annotation", "flatout: the steps that are timed", 1020, 50)
    return [{"ph": "M", "name": "process_name"}, on_gpu, mark, *events]


def test_a_timeline_is_told_apart_and_adds_up():
    found = parts_of(
        trace(
            event("cuda_runtime", "cudaLaunchKernel", 1008, 2, 1),
            event("cuda_runtime", "cudaLaunchKernel", 1012, 2, 2),
            event("kernel", "gemm", 1015, 10, 1),  # launched at 1010: 10 of launching, 5 idle
            event("kernel", "relu", 1028, 10, 2),  # launched long before: 3 idle
            event("cuda_runtime", "cudaMemcpyAsync", 1016, 2, 3),
            event("gpu_memcpy", "Memcpy DtoH", 1036, 6, 3),  # 2 of it beside the kernel
            event("cuda_runtime", "cudaStreamSynchronize", 1018, 30),  # from 1042 on the device has nothing
            event("cuda_driver", "cuLaunchKernel", 1060, 5, 4),
            event("gpu_memset", "Memset", 1065, 5, 4),
            event("cpu_op", "aten::mm", 1000, 90),
        )
    )
    assert found == {"compute": 25.0, "transfer": 4.0, "sync": 6.0, "idle": 8.0, "launch": 57.0}
    assert sum(found.values()) == 100


def test_work_outside_of_the_steps_does_not_count():
    found = parts_of(
        trace(event("kernel", "before", 900, 120, 1), event("kernel", "after", 1090, 50, 2),
              event("kernel", "later", 1200, 50, 3))
    )  # fmt: skip
    assert found["compute"] == 30
    assert sum(found.values()) == 100


def test_a_trace_without_work_of_a_device_is_no_measurement():
    with pytest.raises(ValueError, match="got 0 pieces of work"):
        parts_of(trace(event("cpu_op", "aten::mm", 1000, 90)))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA GPU")
def test_a_gpu_that_is_waited_for():
    a = torch.rand(256, 256, device="cuda")

    def run(steps):
        for _ in range(steps):
            (a @ a).relu().sum().item()
        torch.cuda.synchronize()

    run(2)
    found = device_parts(run, 5)
    assert set(found) == {"compute", "transfer", "launch", "sync", "idle"}
    assert found["compute"] > 0 and found["transfer"] > 0 and found["launch"] > 0
    assert min(found.values()) >= 0
