"""The rules, on evidence that is made up: what has no need of a GPU, and what depends on times."""

from dataclasses import replace
from types import SimpleNamespace

import pytest

from flatout.profiling.evidence import Evidence
from flatout.profiling.rules import copies, data, launch, output, reads, recompile
from flatout.profiling.source import line_that_keeps
from flatout.profiling.stamps import StepTime
from flatout.profiling.tracing.seen import Traced
from flatout.profiling.tracing.split import Split
from flatout.profiling.user_lines import Line
from flatout.profiling.watch.compiled import Recompiled, again
from flatout.profiling.watch.passes import Passes
from flatout.profiling.watch.seen import Copy, Loader, Seen

HERE = Line("train.py", 7)


def evidence(steps=None, *, seen=None, device="cpu", cpus=4.0, threads=1, recompiled=()):
    """Of steps of 10 ms, of which 20 were looked at, unless something else is given."""
    steps = steps or [step()] * 20
    seen = seen or Seen()
    seen.steps = seen.steps or 20
    passes = Passes(steps=len(steps), seconds=sum(one.total for one in steps))
    return Evidence(
        steps,
        seen,
        device,
        every=steps,
        passes=passes,
        detach_s=2e-6,
        cpus=cpus,
        threads=threads,
        recompiled=recompiled,
    )


def step(total=0.01, data=0.0, *, started=False):
    return StepTime(total, data, 0.0, 0.0, 0.0, started)


def copy(source="cpu", target="cuda", size=10**6, *, pinned=False, non_blocking=False):
    return Copy(source, target, size, pinned, non_blocking, 0.001)


@pytest.mark.parametrize(
    ("one", "kind"),
    [
        (copy(), "unpinned"),
        (copy(non_blocking=True), "unpinned"),
        (copy(pinned=True), "blocking-copy"),
        (copy(pinned=True, non_blocking=True), None),
        (copy("cuda", "cpu"), "move"),
        (copy(size=8), "move"),  # pinning eight bytes saves nothing
        (copy("cuda", "cuda"), "move"),
    ],
)
def test_a_copy_is_of_the_kind_that_its_facts_say(one, kind):
    found = list(copies.find(evidence(seen=Seen(copies={HERE: [one] * 20}), device="cuda")))
    assert [each.kind for each in found] == ([] if kind is None else [kind])
    for each in found:
        assert (each.gain_ms, each.gain_low, each.gain_high) == (None, 0.0, pytest.approx(1.0))
        assert each.count == 1


def test_the_loader_that_does_not_pin_is_named():
    seen = Seen(copies={HERE: [copy()] * 20}, loaders={Line("train.py", 5): Loader(2, None)})
    (found,) = copies.find(evidence(seen=seen, device="cuda"))
    assert "line 5 does not pin" in found.fix


def loading(steps, loader, **others):
    return list(data.find(evidence(steps, seen=Seen(loaders={HERE: loader}), **others)))


def test_workers_hide_what_they_fetch_behind_the_step():
    slow = [step(0.030, 0.020)] * 20  # 20 ms of data, 10 ms of all else
    (found,) = loading(slow, Loader(0, None, batch_size=32))
    assert "num_workers=2, persistent_workers=True" in found.code
    assert 15 < found.gain_low <= found.gain_ms <= found.gain_high <= 20
    # On one core nothing runs beside it; nobody promises a number then.
    (alone,) = loading(slow, Loader(0, None, batch_size=32), cpus=1.0)
    assert alone.gain_ms is None or alone.gain_ms < 1
    # As many threads as cores: the workers take time from the step.
    (full,) = loading(slow, Loader(0, None, batch_size=32), threads=4)
    assert full.gain_low < found.gain_low


def test_workers_do_not_pay_for_a_batch_that_comes_at_once():
    (found,) = loading([step(0.0003, 0.0001)] * 20, Loader(0, None, batch_size=32))
    assert (found.gain_ms, found.code) == (None, "")
    assert "too fast for workers" in found.fix


def test_workers_that_start_anew_are_told_from_workers_that_are_slow():
    epochs = [step(0.110, 0.100, started=True), step(), step(), step()] * 6
    (found,) = loading(epochs, Loader(1, None))
    assert "persistent_workers=True" in found.code
    assert found.count == pytest.approx(1 / 4)
    assert found.ms_per_step == pytest.approx(25)
    assert loading([step()] * 20, Loader(1, None)) == []
    (slow,) = loading([step(0.01, 0.005)] * 20, Loader(2, None, persistent=True))
    assert "do not keep up" in slow.fix


def test_one_step_that_waited_is_not_the_loaders_doing():
    assert loading([step(0.5, 0.4), *[step()] * 10], Loader(0, None)) == []


@pytest.mark.parametrize(
    ("every", "took", "found"),
    [
        (1, 1e-6, True),  # every step, however little
        (10, 0.01, True),  # every tenth, and a tenth of the time
        (10, 1e-5, False),
        (100, 1.0, False),  # seldom enough, whatever it takes
    ],
)
def test_output_is_found_where_it_is_often_or_long(every, took, found):
    seen = Seen(steps=600, calls={("save", HERE): [took] * (600 // every)})
    saved = list(output.find(evidence(seen=seen)))
    assert bool(saved) == found
    for one in saved:
        left = every / 100  # of the time that it takes
        assert one.gain_ms == pytest.approx((1 - left) * one.ms_per_step)


def test_reads_by_the_way_are_no_finding():
    seen = Seen(steps=600, calls={("item", HERE): [1e-6] * 6})
    assert list(reads.find(evidence(seen=seen))) == []


def again_at(number, reason):
    return SimpleNamespace(
        start_time=float(number),
        co_filename="train.py",
        co_firstlineno=7,
        co_name="forward",
        recompile_reason=reason,
        entire_frame_compile_time_s=0.5,
    )


def test_what_is_compiled_again_and_again_is_found_at_its_function():
    sizes = [
        again_at(n, f"0/{n}: tensor 'x' size mismatch at index 0. expected 16, actual {n}") for n in range(4)
    ]
    first = again_at(1, None)
    after = list(again([first, *sizes], since=1.0, until=9.0))
    assert len(after) == 3  # not the first compilation, not what came in the warm-up
    (found,) = recompile.find(evidence(recompiled=after))
    assert (found.kind, found.line, found.count) == ("recompile", 7, 3 / 20)
    assert found.gain_ms == pytest.approx(1e3 * 1.5 / 20)
    assert "dynamic=True" in found.code


def test_one_more_compilation_for_each_of_two_reasons_is_none():
    twice = [Recompiled(HERE, "forward", reason, 1.0) for reason in ("0/0: x.size == 4", "0/1: GRAD_MODE")]
    assert list(recompile.find(evidence(recompiled=twice))) == []


KEEPS = """\
def epoch(model, batches, log):
    for x in batches:
        loss = model(x).sum()
        extra = loss * 2
        loss.backward()
        KEEP
        print(loss)
        history.append(loss.item())
"""


@pytest.mark.parametrize(
    ("keep", "line"),
    [
        ("losses.append(loss)", 6),
        ("total += loss", 6),
        ("total = total + loss / 3", 6),
        ("log['loss'] = loss", 6),
        ("self.last = loss", 6),
        ("total += loss.item()", 5),
        ("losses.append(loss.detach())", 5),
        ("losses.append(loss); total += loss", 6),
        ("pass", 5),
    ],
)
def test_the_line_that_keeps_a_loss(tmp_path, keep, line):
    file = tmp_path / "train.py"
    file.write_text(KEEPS.replace("KEEP", keep))
    assert line_that_keeps(Line(str(file), 5)) == Line(str(file), line)


def traced(**parts):
    split = Split(parts, "", 1.0, 5, 40.0)
    return Traced(split, None, (), HERE)


@pytest.mark.parametrize(
    ("parts", "device", "cost"),
    [
        ({"compute": 1000, "dispatch": 5000, "python": 4000}, "cpu", 5.0),  # 4 ms are the print's
        ({"compute": 1000, "dispatch": 2000, "python": 4500, "data": 2500}, "cpu", None),  # 2.5 of 6 ms
        ({"compute": 3000, "dispatch": 4000, "python": 3000}, "cpu", None),  # computes as long as it starts
        ({"compute": 1000, "dispatch": 5000, "launch": 4000}, "cuda", 9.0),
    ],
)
def test_a_step_that_only_starts_work_does_so_without_what_its_lines_show(parts, device, cost):
    seen = Seen(steps=20, calls={("print", HERE): [4e-3] * 20})
    found = list(launch.find(replace(evidence(seen=seen, device=device), traced=traced(**parts))))
    assert [one.ms_per_step for one in found] == ([] if cost is None else [pytest.approx(cost)])
    assert all(one.share == pytest.approx(cost / 10) for one in found)
