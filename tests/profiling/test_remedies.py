"""Fixes put in from outside: a script computes what it did, bit for bit where that is promised."""

import copy
import json
import math
from pathlib import Path

import pytest
import torch

from flatout.errors import FlatoutError
from flatout.profiling import run_script
from flatout.profiling.remedies import remedy_for
from flatout.profiling.remedies.later import Later, later, later_float, read_all
from flatout.profiling.remedies.loaders import Pinned, Resident, Workers
from flatout.profiling.remedies.reads import DeferredReads
from flatout.profiling.remedies.settings import OptimizerOption, Threads
from flatout.profiling.user_lines import Line

# Draws between the batches would tell if the remedy drew a number more or less.
LOOP = """\
import torch
from torch.utils.data import BatchSampler, DataLoader, RandomSampler, TensorDataset, WeightedRandomSampler
torch.manual_seed(3)
g = torch.Generator().manual_seed(5)
data = TensorDataset(torch.randn(25, 4), torch.randn(25, 1))
model = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.Dropout(), torch.nn.Linear(8, 1))
optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
loader = DataLoader(data, OPTIONS)
losses, draws = [], []
for epoch in range(3):
    for x, y in loader:
        loss = torch.nn.functional.mse_loss(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
        draws.append(int(torch.randint(10**9, (), generator=g)))
    draws.append(int(torch.randint(10**9, ())))
"""
LOOP_LINE = 11


def run(source, path, remedy=None):
    """What the script leaves behind, with a remedy and without."""
    names = {"__name__": "__main__"}
    if remedy is not None:
        remedy.prepare()
        remedy.install()
    try:
        exec(run_script.compiled(source.encode(), path), names)
    finally:
        if remedy is not None:
            remedy.remove()
    return names


@pytest.mark.parametrize(
    "options",
    [
        "batch_size=8, shuffle=True",
        "batch_size=5, shuffle=True",
        "batch_size=8, shuffle=True, drop_last=True",
        "batch_size=8, shuffle=True, generator=g",
        "batch_size=8, shuffle=True, generator=g, drop_last=True",
        "batch_size=5, shuffle=True, generator=g",
        "batch_size=40, shuffle=True, generator=g",
        "batch_size=8",
        "batch_size=8, sampler=WeightedRandomSampler(torch.ones(25), 25)",
        "batch_size=8, sampler=RandomSampler(data, num_samples=16)",
        "batch_sampler=BatchSampler(range(20), 6, False)",
    ],
)
def test_whole_batches_are_those_of_the_loader_in_its_order_with_its_random_numbers(options):
    source = LOOP.replace("OPTIONS", options)
    remedy = Resident(Line("loop.py", LOOP_LINE), "cpu")
    plain, fixed = run(source, "loop.py"), run(source, "loop.py", remedy)
    assert remedy.applied == 3
    assert fixed["losses"] == plain["losses"]
    assert fixed["draws"] == plain["draws"]
    x, y = next(iter(plain["loader"]))
    assert [type(x), type(y)] == [type(t) for t in (fixed["x"], fixed["y"])]


def test_other_loaders_and_other_lines_are_left_alone():
    source = LOOP.replace("OPTIONS", "batch_size=8, shuffle=True")
    elsewhere = Resident(Line("loop.py", LOOP_LINE + 1), "cpu")
    run(source, "loop.py", elsewhere)
    assert elsewhere.applied == 0
    collated = Resident(Line("loop.py", LOOP_LINE), "cpu")
    own = source.replace("shuffle=True", "collate_fn=lambda rows: torch.utils.data.default_collate(rows)")
    run(own, "loop.py", collated)
    assert collated.applied == 0


def test_workers_that_stay_change_no_number():
    source = LOOP.replace("OPTIONS", "batch_size=8, shuffle=True")
    remedy = Workers(Line("loop.py", LOOP_LINE), 1)
    plain, fixed = run(source, "loop.py"), run(source, "loop.py", remedy)
    assert remedy.applied == 1  # the second epoch finds them there
    assert fixed["loader"]._iterator is not None
    assert (fixed["losses"], fixed["draws"]) == (plain["losses"], plain["draws"])


def test_pinned_batches_are_copied_without_a_wait():
    source = """\
import torch
from torch.utils.data import DataLoader, TensorDataset
loader = DataLoader(TensorDataset(torch.randn(4, 2)), batch_size=2)
(x,) = next(iter(loader.dataset.tensors)),
there = x.to("meta")
back = x.to(torch.float64)
"""
    calls = []
    original = torch.Tensor.to
    torch.Tensor.to = lambda tensor, *args, **options: (
        calls.append(options) or original(tensor, *args, **options)
    )
    try:
        remedy = Pinned(Line("loop.py", 5))
        names = run(source, "loop.py", remedy)
    finally:
        torch.Tensor.to = original
    assert calls == [{"non_blocking": True}, {}]
    assert names["loader"].pin_memory is True
    assert remedy.applied == 1


@pytest.mark.parametrize(("cls", "option"), [("Adam", "fused"), ("AdamW", "fused"), ("SGD", "foreach")])
def test_an_optimizer_is_given_its_option_and_computes_the_same_but_for_rounding(cls, option):
    source = LOOP.replace("OPTIONS", "batch_size=8").replace("Adam(", f"{cls}(")
    remedy = OptimizerOption(Line("loop.py", 7), option)
    plain, fixed = run(source, "loop.py"), run(source, "loop.py", remedy)
    assert remedy.applied == 1
    assert fixed["optimizer"].defaults[option] is True
    assert not plain["optimizer"].defaults[option]
    assert fixed["losses"] == pytest.approx(plain["losses"], rel=1e-4)


def test_an_optimizer_with_an_option_of_its_own_keeps_it():
    source = LOOP.replace("OPTIONS", "batch_size=8").replace("lr=0.01", "lr=0.01, foreach=True")
    remedy = OptimizerOption(Line("loop.py", 7), "fused")
    assert run(source, "loop.py", remedy)["optimizer"].defaults["fused"] is None
    assert remedy.applied == 0


def test_threads_are_those_of_the_remedy_whatever_the_script_says():
    before = torch.get_num_threads()
    source = "import torch\ntorch.set_num_threads(3)\nseen = torch.get_num_threads()\n"
    assert run(source, "loop.py", Threads(Line("loop.py", 1), 2))["seen"] == 2
    assert torch.get_num_threads() == before


READS = """\
import torch
torch.manual_seed(0)
total, count, kept, best = 0.0, 0, [], float("inf")
for step in range(250):
    loss = (torch.randn(3, requires_grad=True) ** 2).sum()
    number = loss.item() if step % 2 else float(loss.detach())
    total += number * 2 - 1 / (1 + number)
    count += (loss > 2).item()
    kept.append(number)
    if step % 100 == 99:
        best = min(best, number)
        text = f"{total / (step + 1):.17g} {number} {count}"
mean = total / len(kept)
"""


def test_numbers_read_later_are_the_same_bit_for_bit(tmp_path):
    path = tmp_path / "loop.py"
    path.write_text(READS)
    plain = run(READS, str(path))
    names = ("total", "count", "kept", "best", "text", "mean")
    for line in (6, 8):
        remedy = DeferredReads(Line(str(path), line))
        fixed = run(READS, str(path), remedy)
        assert remedy.applied == (2 if line == 6 else 1)
        assert type(fixed["total" if line == 6 else "count"]) is Later
        for name in names:
            assert fixed[name] == plain[name], name
            assert repr(fixed[name]) == repr(plain[name]), name


def test_nothing_is_read_before_it_is_used_or_a_hundred_wait():
    read_all()
    losses = [torch.tensor(float(i)) for i in range(150)]
    numbers = [later(loss) for loss in losses]
    total = sum(numbers[120:])
    assert numbers[0]._tensor is None  # with the first hundred
    assert numbers[130]._tensor is not None
    assert total == sum(range(120, 150))
    assert numbers[130]._tensor is None


def test_a_number_read_later_is_a_number_to_whoever_uses_it():
    def number():
        return later(torch.tensor(2.5))

    assert isinstance(number(), float)
    assert (float(number()), int(number()), bool(number()), round(number(), 0)) == (2.5, 2, True, 2.0)
    assert (f"{number():.3f}", str(number()), "%.1f" % number()) == ("2.500", "2.5", "2.5")  # noqa: UP031
    assert math.sqrt(number() * 2.5) == 2.5
    assert -number() + 3 == 0.5 == abs(number() - 3)
    assert 10 // number() == 4 and 10 % number() == 0 and number() ** 2 == 6.25
    assert {number(): "a"}[2.5] == "a" and hash(number()) == hash(2.5)
    assert number() > 2 and number() != 2 and max(1.0, number()) == 2.5
    assert copy.deepcopy([number()]) == [2.5]
    assert number().is_integer() is False
    assert torch.ones(2).mul(float(number())).tolist() == [2.5, 2.5]
    assert list(range(later(torch.tensor(3)))) == [0, 1, 2]
    with pytest.raises(TypeError):
        json.dumps(number())  # reported: the script fails with the remedy


def test_what_is_no_single_tensor_is_read_at_once():
    assert later_float("0.5") == 0.5
    assert later_float(torch.tensor(3)) == 3.0
    with pytest.raises(RuntimeError, match="cannot be converted to Scalar"):
        later(torch.ones(2))


def test_a_tensor_that_changes_is_copied_or_its_number_is_refused():
    running = torch.zeros(())
    first = later(running)
    running += 1
    assert first == 0.0
    loss = torch.ones((), requires_grad=True) * 2
    lost = later(loss)
    loss.detach().mul_(5)
    with pytest.raises(FlatoutError, match="keep a clone of it"):
        float(lost)


@pytest.mark.parametrize(
    ("kind", "line", "code", "remedy"),
    [
        ("item", 6, "", "the number is read when it is used"),
        ("float", 6, "", "the number is read when it is used"),
        ("item", 4, "", None),
        ("print", 6, "if step % 100 == 0: ...", None),
        ("data", 6, "for rows in torch.randperm(len(X)).split(batch_size): ...", "whole batches are indexed"),
        ("data", 6, "DataLoader(..., num_workers=3, persistent_workers=True)", "3 workers that stay"),
        ("data", 6, "", None),
        ("unpinned", 6, "", "batches are pinned, and copied without a wait"),
        ("optimizer", 6, "torch.optim.Adam(..., fused=True)", "fused=True"),
        ("threads", 6, "torch.set_num_threads(1)", "1 thread"),
        ("float64", 6, "torch.float32", None),
    ],
)
def test_which_findings_flatout_can_fix_itself(tmp_path, kind, line, code, remedy):
    (tmp_path / "train.py").write_text(READS)
    found = {"kind": kind, "file": "train.py", "line": line, "code": code}
    made = remedy_for(found, Path(tmp_path), "cpu")
    assert (made and made.words) == remedy
