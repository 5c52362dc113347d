"""Experiments with a copy of the model. Their clock is one that the models themselves put forward."""

from dataclasses import replace
from threading import get_ident
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from flatout.profiling.evidence import AbstainError, Evidence
from flatout.profiling.lines import Seen
from flatout.profiling.rules import findings, reads
from flatout.profiling.stamps import StepTime
from flatout.profiling.subject import SubjectWindow
from flatout.profiling.trials import arithmetic, open_files, places, setup
from flatout.profiling.trials.experiments import NO_SUBJECT, run_trials
from flatout.profiling.trials.pairs import compare
from flatout.profiling.trials.readings import costly
from flatout.profiling.trials.setup import Setup
from flatout.profiling.user_lines import Line
from flatout.profiling.watch.reading import Reading


class Clock:
    """Goes on by what the code that is timed says."""

    def __init__(self, tick=0.0):
        self.now, self.tick = 0.0, tick

    def __call__(self):
        self.now += self.tick
        return self.now

    def __deepcopy__(self, memo):
        return self


class Timed(nn.Module):
    """A model whose forward takes as long as `seconds(x)` says."""

    def __init__(self, clock, seconds, layer=None):
        super().__init__()
        self.clock, self.seconds = clock, seconds
        self.layer = layer or nn.Linear(4, 2)

    def forward(self, x):
        self.clock.now += self.seconds(x)
        return self.layer(x)


def watched(step):
    """What the window sees of one step."""
    window = SubjectWindow()
    window.install(get_ident())
    try:
        window.begin()
        step()
        window.end(1.0, settled=True)
    finally:
        window.remove()
    return window.subject


def training(model, *args, optimizer=None, loss=lambda out: out.sum(), **kwargs):
    """What the window sees of a step that trains a model."""
    optimizer = optimizer or torch.optim.SGD(model.parameters(), lr=0.1)

    def step():
        optimizer.zero_grad()
        loss(model(*args, **kwargs)).backward()
        optimizer.step()

    return watched(step)


@pytest.fixture(autouse=True)
def only_files_of_the_test(monkeypatch):
    """The output of the tests themselves may be a file, and other tests may have left threads."""
    listed = open_files._open_for_writing
    before = listed()
    monkeypatch.setattr(
        open_files, "_open_for_writing", lambda: [file for file in listed() if file not in before]
    )


def found(subject, trials, bare=None, zeroed=None):
    """The findings by kind of a script whose steps are those of the copy, 4 s in all."""
    bare = bare or StepTime(total=4.0, data=0.0, forward=4.0, backward=0.0, optimizer=0.0)
    seen = Seen(steps=10, zeroed=zeroed or {})
    listed, abstained = findings(Evidence([bare] * 5, seen, "cpu", subject=subject, trials=trials))
    abstained.pop("launch")  # it judges by the profiler's trace, and there is none
    return {one.kind: one for one in listed}, abstained


def test_the_subject_is_the_model_that_is_trained_and_its_lines():
    encoder, head = nn.Linear(4, 3), nn.Linear(3, 2)
    optimizer = torch.optim.Adam(head.parameters(), lr=0.5)
    x = torch.ones(5, 4)
    inputs = []

    def step():
        with torch.no_grad():
            head(torch.ones(1, 3))  # not trained by this one
        inputs.append(encoder(x))
        nn.MSELoss()(head(input=inputs[0]), torch.zeros(5, 2)).backward()
        optimizer.step()

    weights = [p.clone() for p in head.parameters()]
    state = torch.get_rng_state()
    subject = watched(step)
    assert torch.equal(torch.get_rng_state(), state)
    assert subject.model is head and subject.args == ()
    assert (subject.calls, subject.trains, subject.grad) == (1, True, True)
    kept = subject.kwargs["input"]
    assert kept.grad_fn is None and kept.requires_grad and kept.data_ptr() == inputs[0].data_ptr()
    assert 0 < subject.share < 1
    first = step.__code__.co_firstlineno
    assert (subject.line, subject.optimizer.line) == (Line(__file__, first + 4), Line(__file__, first + 5))
    assert subject.optimizer.type is torch.optim.Adam
    ((options, parameters),) = subject.optimizer.groups
    assert options["lr"] == 0.5 and len(parameters) == 2 and len(weights) == 2
    assert nn.Module.__call__.__qualname__.startswith("Module.")


def test_a_step_without_a_module_of_the_optimizer_has_no_subject():
    weight = torch.ones(3, requires_grad=True)
    optimizer = torch.optim.SGD([weight], lr=0.1)
    other = nn.Linear(2, 2)

    def step():
        (other(torch.ones(1, 2)).sum() + weight.sum()).backward()
        optimizer.step()

    assert watched(step) is None
    trials = run_trials(None, seconds=3.0)
    assert trials.none == NO_SUBJECT
    assert set(found(None, trials)[1].values()) == {NO_SUBJECT}


@pytest.mark.parametrize(
    ("model", "args", "kwargs", "loss"),
    [
        (nn.Embedding(7, 3), (torch.tensor([[1, 2], [3, 4]]),), {}, lambda out: out.sum()),
        (nn.Bilinear(3, 4, 2), (), {"input1": torch.ones(5, 3), "input2": torch.ones(5, 4)}, torch.sum),
        (nn.LSTM(3, 4, batch_first=True), (torch.ones(2, 5, 3),), {}, lambda out: out[0].sum()),
        ("dict", (torch.ones(6, 4),), {}, lambda out: out["loss"]),
    ],
    ids=["integers", "by name", "tuple", "dict"],
)
def test_inputs_and_outputs_of_every_form(model, args, kwargs, loss):
    class WithLoss(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(4, 2)

        def forward(self, x):
            logits = self.layer(x)
            return {"loss": logits.mean(), "logits": logits, "none": None}

    model = WithLoss() if model == "dict" else model
    subject = training(model, *args, loss=loss, **kwargs)
    before = [p.clone() for p in model.parameters()]
    trials = run_trials(subject, seconds=100.0, cpus=1, clock=Clock(1e-3))
    assert trials.none is None and not trials.impossible
    assert {"fused", "foreach", "no-grad"} <= set(trials.measured)
    assert trials.sizes is not None
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))


@pytest.mark.parametrize("times", [1, 3])
def test_what_a_read_costs_the_rest_of_a_step_is_added_to_it(times):
    clock, cold = Clock(1e-6), []
    numbers = torch.arange(6.0).reshape(2, 3).t()[1:]

    def forward(x):
        took = 2.0 + 0.25 * len(cold)
        cold.clear()
        return took

    def read(tensor, *, precision):
        assert precision == 3 and torch.equal(tensor, numbers)
        clock.now += 7.0  # its own time is in the step's already
        cold.append(tensor)

    subject = training(Timed(clock, forward), torch.ones(1, 4))
    line = Line("train.py", 7)
    seen = Seen(
        steps=10,
        calls={("tolist", line): [1.0] * (10 * times), ("tensor", line): [1.0] * 10},
        readings={("tolist", line): [Reading.of(read, (numbers,), {"precision": 3})]},
    )
    bare = StepTime(total=8.0, data=0.0, forward=4.0, backward=0.0, optimizer=0.0)
    evidence = Evidence([bare] * 5, seen, "cpu", subject=subject)
    trials = run_trials(subject, seconds=1e6, cpus=1, also=costly(evidence), clock=clock)
    assert trials.measured["tolist at train.py:7"].gain_s == pytest.approx(0.25 * times, abs=1e-3)
    alone, beside = (
        next(one for one in reads.find(each) if one.kind == "tolist")
        for each in (evidence, replace(evidence, trials=trials))
    )
    assert alone.ms_per_step == 1e3 * times and alone.gain_ms == 990 * times  # read every 100 steps
    scale = 4.0 / (2.0 + 0.25 * times)  # the script takes longer than its copy
    assert beside.gain_ms == pytest.approx(990 * times * (1 + 0.25 * scale), rel=1e-3)
    assert beside.gain_low <= beside.gain_ms <= beside.gain_high


def test_cheap_reads_and_those_of_tensors_of_another_kind_are_not_made_again():
    line = Line("train.py", 7)
    here = {("tolist", line): [1e-3] * 10}
    bare = StepTime(total=4.0, data=0.0, forward=4.0, backward=0.0, optimizer=0.0)
    reading = Reading.of(torch.Tensor.tolist, (torch.ones(3),), {})
    cheap = Seen(steps=10, calls=here, readings={("tolist", line): [reading]})
    assert not costly(Evidence([bare] * 5, cheap, "cpu"))
    dear = replace(cheap, calls={("tolist", line): [1.0] * 10})
    assert list(costly(Evidence([bare] * 5, dear, "cpu"))) == ["tolist at train.py:7"]
    assert not costly(Evidence([bare] * 5, dear, "cuda"))
    for other in (torch.ones(3, device="meta"), torch.ones(3).to_sparse(), torch.masked.MaskedTensor):
        assert Reading.of(torch.Tensor.tolist, (other,), {}) is None
    graph = torch.ones(3, requires_grad=True) * 2
    again = Reading.of(torch.Tensor.tolist, (graph,), {}).again()
    assert again() == [2.0] * 3 and again.args[0].grad_fn is None


FAULTS = {
    "float64": (lambda x: 3.0 if x.dtype == torch.float64 else 1.0, torch.float64),
    "threads": (lambda x: {1: 2.0, 2: 1.0, 4: 3.0}[torch.get_num_threads()], torch.float32),
    "channels-last": (
        lambda x: 1.0 if x.is_contiguous(memory_format=torch.channels_last) else 2.0,
        torch.float32,
    ),
    "precision": (lambda x: 1.0 if torch.is_autocast_enabled("cpu") else 2.0, torch.float32),
}


@pytest.mark.parametrize("kind", FAULTS)
@pytest.mark.parametrize("faulty", [True, False])
def test_a_fault_of_how_it_computes_is_found_and_its_twin_is_not(kind, faulty, monkeypatch):
    monkeypatch.setattr(arithmetic, "_pays_for_bf16", lambda device: True)
    seconds, dtype = FAULTS[kind]
    clock = Clock()
    picture = kind == "channels-last"
    layer = nn.Conv2d(3, 2, 3) if picture else nn.Linear(4, 2)
    model = Timed(clock, seconds if faulty else lambda x: 2.0, layer).to(dtype)
    x = torch.ones(2, 3, 5, 5) if picture else torch.ones(2, 4, dtype=dtype)
    subject = replace(training(model, x), threads=4)
    clock.now = 0.0
    trials = run_trials(subject, seconds=1e6, cpus=4, clock=clock)
    threads = torch.get_num_threads()
    kinds, abstained = found(subject, trials)
    assert not set(abstained) - {"batch"}
    assert torch.get_num_threads() == threads
    if not faulty:
        assert set(kinds) <= {"batch"}
        return
    one = kinds[kind]
    assert (one.file, one.line) == subject.line[:2]
    share = {"float64": 2 / 3, "threads": 2 / 3, "channels-last": 1 / 2, "precision": 1 / 2}[kind]
    assert one.gain_ms == pytest.approx(4000 * share)
    assert one.gain_low <= one.gain_ms <= one.gain_high
    if kind == "threads":
        assert one.code == "torch.set_num_threads(2)" and "too many" in one.what


class Slow(torch.optim.SGD):
    """An optimizer that says how long it takes."""

    clock: Clock
    plain = 3.0

    def step(self, closure=None):
        self.clock.now += 1.0 if self.param_groups[0]["fused"] else self.plain
        return super().step(closure)

    def zero_grad(self, set_to_none=True):
        self.clock.now += 0.0 if set_to_none else 2.0
        super().zero_grad(set_to_none)


@pytest.mark.parametrize("faulty", [True, False])
def test_an_optimizer_that_is_not_fused_and_gradients_that_are_zeroed(faulty, monkeypatch):
    clock = Slow.clock = Clock()
    monkeypatch.setattr(Slow, "plain", 3.0 if faulty else 1.0)
    model = Timed(clock, lambda x: 4.0)
    subject = training(model, torch.ones(2, 4), optimizer=Slow(model.parameters(), lr=0.1))
    trials = run_trials(subject, seconds=1e6, zeroes=faulty, cpus=1, clock=clock)
    # The script's step takes 5.5 s and the copy's 7, and so the gain of 2 s is smaller by as much, too.
    bare = StepTime(total=5.5, data=0.0, forward=4.0, backward=0.0, optimizer=1.5)
    line = Line("train.py", 9)
    kinds, _ = found(subject, trials, bare, zeroed={line: 10} if faulty else {})
    assert set(kinds) - {"batch"} == ({"optimizer", "zero-grad"} if faulty else set())
    if faulty:
        assert (kinds["optimizer"].file, kinds["optimizer"].line) == subject.optimizer.line[:2]
        assert kinds["optimizer"].gain_ms == pytest.approx(2000 * 5.5 / 7)
        assert kinds["optimizer"].code == "torch.optim.Slow(..., fused=True)"
        assert (kinds["zero-grad"].line, kinds["zero-grad"].count) == (9, 1.0)
        assert kinds["zero-grad"].gain_ms == pytest.approx(2000 * 5.5 / 7)


@pytest.mark.parametrize(("sample", "small"), [(0.01, True), (1.0, False)])
def test_a_batch_that_is_too_small_and_one_that_is_not(sample, small):
    clock = Clock()
    model = Timed(clock, lambda x: 2.0 + sample * len(x))
    subject = training(model, torch.ones(8, 4))
    trials = run_trials(subject, seconds=1e6, cpus=1, clock=clock)
    kinds, _ = found(subject, trials)
    assert ("batch" in kinds) == small
    if small:
        assert sorted(trials.sizes.step_s) == [2, 4, 8, 16, 32]
        assert trials.sizes.fixed_s == pytest.approx(2.0)
        assert trials.sizes.crossover == pytest.approx(200)
        assert "260 ms, and 72.5 ms in batches of 32; from 200 on" in kinds["batch"].fix
        assert kinds["batch"].gain_ms is None


def test_a_batch_that_cannot_be_told():
    lstm = nn.LSTM(4, 4)
    trials = run_trials(
        training(lstm, torch.ones(5, 2, 4), loss=lambda out: out[0].sum()), seconds=9.0, clock=Clock(1e-3)
    )
    assert "batch_first=False" in trials.impossible["batch"]
    pair = nn.Bilinear(3, 4, 2)
    trials = run_trials(
        training(pair, torch.ones(5, 1, 3), torch.ones(5, 1, 4)), seconds=9.0, clock=Clock(1e-3)
    )
    assert "batch" not in trials.impossible


def test_another_device_that_is_quicker():
    clock = Clock()
    model = Timed(clock, lambda x: 1.0 if x.device.type == "meta" else 5.0)
    subject = training(model, torch.ones(2, 4))
    bench = Setup(subject, seconds=1e6, zeroes=False, cpus=1, clock=clock)
    trial = places.on_device(bench, torch.device("meta"))
    assert (trial.before_s, trial.after_s, trial.gain_s) == (5.0, 1.0, 4.0)
    trials = SimpleNamespace(measured={"device": trial}, impossible={}, none=None, sizes=None)
    kinds, _ = found(subject, trials)
    assert kinds["device"].gain_ms == pytest.approx(3200)
    assert kinds["device"].what == "a model on the CPU beside a GPU"


def test_a_copy_unlike_the_script_is_no_evidence():
    clock = Clock()
    model = Timed(clock, lambda x: 3.0 if x.dtype == torch.float64 else 1.0).double()
    subject = training(model, torch.ones(2, 4).double())
    trials = run_trials(subject, seconds=1e6, cpus=1, clock=clock)
    bare = StepTime(total=40.0, data=0.0, forward=40.0, backward=0.0, optimizer=0.0)
    kinds, abstained = found(subject, trials, bare)
    assert "float64" not in kinds
    assert "they are not alike" in abstained["float64"]


def test_reasons_why_there_can_be_no_experiment(monkeypatch):
    class Locked(nn.Linear):
        def __deepcopy__(self, memo):
            raise TypeError("it holds a socket")

    class Counts(nn.Linear):
        calls = 0

        def forward(self, x):
            self.calls += 1
            return super().forward(x) * self.calls

    class Asks(nn.Linear):
        def forward(self, x):
            input()
            return super().forward(x)

    def why(model):
        subject = training(nn.Linear(4, 2), torch.ones(2, 4))
        return run_trials(replace(subject, model=model), seconds=3.0).none

    assert why(Locked(4, 2)) == "the model cannot be copied: it holds a socket"
    assert why(Counts(4, 2)).startswith("the model gives something else when it is called a second time")
    assert why(Asks(4, 2)) == "the model's copy failed: EOFError: EOF when reading a line"
    subject = training(nn.Linear(4, 2), torch.ones(2, 4))
    assert "several processes" in run_trials(replace(subject, alone=False), seconds=3.0).none
    monkeypatch.setattr(setup, "free_memory", lambda device: 399)
    assert why(nn.Linear(4, 2)) == "copies of the model need about 0.0 GB of memory; 0.0 GB are free"


def test_pairs_end_early_when_there_is_nothing_to_gain_and_are_refused_where_there_is_no_time():
    clock = Clock()

    def work(seconds):
        def run(steps):
            clock.now += steps * seconds
            return seconds

        return run

    faster = compare(work(3.0), work(1.0), budget=0.0, most=1e3, clock=clock)
    assert (faster.gain, faster.low, faster.high, faster.count) == (2.0, 2.0, 2.0, 6)
    slower = compare(work(1.0), work(3.0), budget=1e3, most=1e3, clock=clock)
    assert (slower.gain, slower.count) == (-2.0, 3)
    same = compare(work(1.0), work(1.01), budget=1e3, most=1e3, clock=clock)
    assert same.count == 3
    long = compare(work(3.0), work(1.0), budget=1e3, most=1e3, clock=clock)
    assert long.count == 21
    with pytest.raises(AbstainError, match=r"it needs 24\.0 s, and 2\.0 s are left for it"):
        compare(work(3.0), work(1.0), budget=5.0, most=10.0, clock=clock)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA GPU here")
def test_on_a_real_gpu():
    model = nn.Linear(4, 2).cuda()
    subject = training(model, torch.ones(8, 4, device="cuda"))
    state = torch.cuda.get_rng_state()
    trials = run_trials(subject, seconds=10.0)
    assert trials.none is None
    assert {"fused", "device", "no-grad"} <= set(trials.measured)
    assert trials.sizes is not None and trials.sizes.fixed_share > 0.5
    assert torch.equal(torch.cuda.get_rng_state(), state)
    listed, _ = findings(
        Evidence(
            [StepTime(1e-4, 0.0, 3e-5, 4e-5, 2e-5)] * 5,
            Seen(steps=9),
            "cuda",
            subject=subject,
            trials=trials,
        )
    )
    assert "batch" in {one.kind for one in listed}
