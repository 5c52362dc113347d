"""The lab on sizes: machines made of numbers cross where they must, and the real steps run."""

import io
import json

import numpy as np
import pytest
import torch
from rich.console import Console

from flatout.errors import LabError, PlanRefusedError
from flatout.labs import mlp_steps
from flatout.labs.crossover_lab import Contestant, run_lab, sweeps, swept_of
from flatout.labs.crossover_words import crossing_words, document
from flatout.labs.rounds import Effort
from flatout.report.crossover_picture import plot_crossover
from flatout.report.crossover_view import crossover_view

CPU, GPU = torch.device("cpu"), torch.device("cuda:0")

# Seconds a step, and seconds a sample and 1,000 weights.
COSTS = {"eager cpu": (200e-6, 80e-9), "eager cuda:0": (700e-6, 1e-9), "native cpu": (1e-6, 50e-9)}


def machine(costs=COSTS, seed=0):
    """Steps that cost what a table says, with a little noise."""
    random = np.random.default_rng(seed)

    def prepare(plan, device, batch, width):
        if f"{plan} {device}" not in costs:
            raise PlanRefusedError("there is no compiler\nand more about it")
        fixed, work = costs[f"{plan} {device}"]
        step = fixed + work * batch * mlp_steps.weights(width) / 1000
        return lambda steps: steps * step * (1 + 0.02 * abs(float(random.standard_normal())))

    return prepare


def lab(devices, **options):
    swept, left_out = run_lab(devices, sweeps(16_384, 1024), effort=Effort(rounds=9), **options)
    return document(swept, 20) | {"left_out": list(left_out), "measured_on": "Measured on paper."}


def shown(seen, width=100):
    console = Console(file=io.StringIO(), width=width, highlight=False)
    console.print(crossover_view(seen))
    return console.file.getvalue()


@pytest.fixture(scope="module")
def both():
    return lab([CPU, GPU], prepare=machine())


@pytest.fixture(scope="module")
def alone():
    return lab([CPU], prepare=machine({"eager cpu": COSTS["eager cpu"]}))


def test_the_devices_cross_where_their_costs_are_equal(both):
    batch, width = (
        next(c for c in sweep["crossings"] if c["first"] == "eager on cpu") for sweep in both["sweeps"]
    )
    true_batch = 500e-6 / 79e-9 / mlp_steps.weights(64) * 1000
    true_width = mlp_steps.width_of(500e-6 / 79e-9 / 64 * 1000)
    assert batch["second"] == width["second"] == "eager on cuda:0"
    assert batch["size"]["is"] == pytest.approx(true_batch, rel=0.15)
    assert width["size"]["is"] == pytest.approx(true_width, rel=0.15)
    assert batch["size"]["low"] <= batch["size"]["is"] <= batch["size"]["high"]
    assert both["verdict"].startswith("cuda:0 is faster than the CPU from a batch of about")
    assert both["gpu_needs"] == []


def test_the_lines_are_those_the_machine_was_made_of(both):
    for sweep, unit in zip(both["sweeps"], (mlp_steps.weights(64) / 1000, 64 / 1000), strict=True):
        for curve in sweep["curves"]:
            fixed, work = COSTS[f"{curve['plan']} {curve['device']}"]
            assert curve["slope_us"]["is"] == pytest.approx(1e6 * work * unit, rel=0.2)
            assert curve["off"] < 1.2
            if curve["plan"] == "eager":
                assert curve["fixed_us"]["is"] == pytest.approx(1e6 * fixed, rel=0.1)


def test_a_gpu_that_never_pays_and_one_that_always_does():
    slow = lab([CPU, GPU], native=False, prepare=machine(COSTS | {"eager cuda:0": (1.0, 1e-9)}))
    assert (
        "cuda:0 is slower than the CPU at the largest batch, 16,384, and at every smaller one"
        in slow["verdict"]
    )
    (crossing,) = slow["sweeps"][0]["crossings"]
    assert crossing["second_is_faster"] == "never" and crossing["size"]["is"] is None
    assert crossing["by_fit"] > 16_384
    fast = lab([CPU, GPU], native=False, prepare=machine(COSTS | {"eager cuda:0": (1e-6, 1e-12)}))
    assert "faster than the CPU at every width that was measured" in fast["verdict"]


def test_a_lead_that_does_not_last_is_no_crossing():
    sweep = sweeps(256, 64)[0]
    times = {
        Contestant("eager", "cpu"): np.array([[2.0, 2.0, 2.0, 2.0, 2.0]] * 5),
        Contestant("eager", "cuda:0"): np.array([[3.0, 3.0, 1.0, 3.0, 3.0]] * 5),
    }
    (crossing,) = swept_of(sweep, times).crossings
    assert crossing.but == (16,)
    assert crossing_words(sweep, crossing).startswith(
        "eager on cpu is faster than eager on cuda:0 at the largest batch, 256, but not at 16"
    )


def test_without_a_gpu_it_says_so_and_what_one_would_need(alone):
    assert alone["verdict"].endswith("; no GPU took part.")
    batch = alone["sweeps"][0]["curves"][0]["balance"]
    assert batch["is"] == pytest.approx(200e-6 / 80e-9 / mlp_steps.weights(64) * 1000, rel=0.1)
    # Twenty starts of 5 µs are 100 µs: half of the fixed cost, so half of that batch.
    assert alone["gpu_needs"][0]["batch"] == pytest.approx(batch["is"] / 2, rel=0.1)
    assert alone["left_out"] == ["native on cpu is left out: there is no compiler"]
    assert "native" not in " ".join(alone["lessons"])


@pytest.mark.parametrize("width", [60, 80, 110])
def test_the_report_and_the_document_hold_everything(both, width):
    assert json.loads(json.dumps(both, allow_nan=False)) == both
    text = shown(both, width)
    assert max(map(len, text.splitlines())) <= width
    for sweep in both["sweeps"]:
        assert all(f"{size:,}" in text for size in sweep["sizes"])
    assert "eager on cuda:0" in text and "Measured on paper." in text


@pytest.mark.parametrize("name", ["alone.png", "both.svg"])
def test_the_picture_is_drawn(name, both, alone, tmp_path):
    path = plot_crossover(tmp_path / "deep" / name, alone if name.startswith("alone") else both)
    assert path.stat().st_size > 10_000


def test_weights_and_width_are_inverse():
    for width in (8, 100, 2048):
        assert mlp_steps.width_of(mlp_steps.weights(width)) == pytest.approx(width)


def test_the_real_steps_train_on_the_cpu():
    before = torch.get_rng_state()
    assert mlp_steps.prepare("eager", CPU, 4, 8)(3) > 0
    assert torch.equal(before, torch.get_rng_state())
    # Three products, two ReLU and the loss; backwards two for a product and one for its bias, but the first.
    assert 15 <= mlp_steps.operators() <= 30


def test_native_takes_part_where_it_can():
    assert mlp_steps.prepare("native", CPU, 4, 8)(5) > 0


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA GPU")
def test_the_real_steps_train_on_a_gpu():
    swept, left_out = run_lab([CPU, GPU], sweeps(64, 64), native=False, effort=Effort(rounds=5))
    assert left_out == ()
    for one in swept:
        assert [curve.contestant.device for curve in one.curves] == ["cpu", "cuda:0"]
        assert all((curve.times > 0).all() for curve in one.curves)
    with pytest.raises(PlanRefusedError):
        mlp_steps.prepare("native", GPU, 4, 8)


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda: sweeps(32, 64), "--largest-batch must be 64 or more"),
        (lambda: sweeps(64, 63), "--largest-width must be 64 or more"),
        (lambda: run_lab([CPU], sweeps(64, 64), effort=Effort(rounds=4)), "give --rounds 5 or more"),
    ],
)
def test_what_shows_nothing_is_refused(ask, message):
    with pytest.raises(LabError, match=message):
        ask()
