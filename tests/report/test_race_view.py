"""A race on terminals of any width: what matters first, no number cut, no unit torn from its number."""

import io
import itertools
import re

import pytest
from rich.console import Console

from flatout.report.race_view import race_table, race_view

ROWS = [
    {"device": "cpu", "plan": "eager", "status": "ok", "setup_s": 1e-4, "us_per_step": 107.0,
     "predicted_s": 2.14, "floor_us": 0.313},
    {"device": "cpu", "plan": "native", "status": "ok", "setup_s": 0.49, "us_per_step": 1.17,
     "predicted_s": 0.514, "max_abs_diff": 2.384e-7, "floor_us": 0.313, "won": True},
    {"device": "cpu", "plan": "compiled", "status": "skipped", "reason": "too long\nsecond line"},
    {"device": "cuda:0", "plan": "native", "status": "skipped", "reason": "too long\nsecond line"},
]  # fmt: skip
SPLIT = {
    "device": "cpu", "step_us": 107.0, "compute_us": 10.7, "launch_us": 96.3, "transfer_us": 0.0,
    "sync_us": 0.0, "idle_us": 0.0, "how": "compute is timed by itself",
}  # fmt: skip


def shown(renderable, width):
    console = Console(file=io.StringIO(), width=width, highlight=False)
    console.print(renderable)
    return [line.rstrip() for line in console.file.getvalue().splitlines()]


def view(width, splits=(SPLIT,)):
    reason = "90 % of an eager step starts work and 10 % does it; native takes 1.17 µs a step"
    return shown(race_view(ROWS, verdict="native on cpu wins", reason=reason, splits=splits), width)


@pytest.mark.parametrize("width", range(40, 121, 4))
def test_nothing_is_cut_at_any_width(width):
    lines = view(width)
    assert max(map(len, lines)) <= width
    assert not any("…" in line for line in lines)
    for line, following in itertools.pairwise(lines):
        assert not (re.search(r"\d$", line) and re.match(r"(%|µs|ms|s)\b", following)), (line, following)
    row = next(line for line in lines if "native" in line and line.startswith("cpu"))
    assert {"1.17", "514"} <= set(row.split())


@pytest.mark.parametrize(("width", "missing"), [(80, 0), (70, 1), (50, 3)])
def test_a_narrow_terminal_does_without_what_matters_least(width, missing):
    head = next(line for line in view(width) if line.startswith("device"))
    dropped = [name for name in ("floor", "off eager by", "set-up") if name not in head]
    assert dropped == ["floor", "off eager by", "set-up"][:missing]
    assert {"device", "plan", "a step", "predicted"} <= set(re.split(r"\s{2,}", head))


def test_the_winner_comes_first():
    lines = view(80)
    assert lines[0] == "native on cpu wins"
    assert lines[1].startswith("90 % of an eager step")
    plans = [line.split()[1] for line in lines if line.startswith("cpu")]
    assert plans == ["native", "eager", "compiled"]


def test_the_split_is_shown_with_how_it_was_measured():
    lines = view(80)
    at = lines.index("Where an eager step on cpu spends its 107 µs")
    assert [line.split()[-1] for line in lines[at + 3 : at + 6]] == ["%"] * 3  # 0 %: without a bar
    assert lines[at + 1].split()[:5] == ["compute", "10.7", "µs", "10", "%"]
    assert lines[at + 2].split()[:7] == ["launch", "and", "Python", "96.3", "µs", "90", "%"]
    assert lines[at + 6] == "How that was measured: compute is timed by itself"


def test_an_unknown_split_is_said_to_be_unknown():
    assert any("spends its time is unknown" in line for line in view(100, splits=()))


def test_one_line_for_all_that_have_the_same_reason():
    assert "compiled on cpu, native on cuda:0 skipped: too long" in view(80)


def test_unknown_is_not_zero():
    lines = shown(race_table([{"device": "cpu", "plan": "x", "status": "refused", "reason": "no"}]), 80)
    assert lines[2].split() == ["cpu", "x", "–", "–", "–", "–", "–", "refused"]


def test_what_is_tried_now_is_below_the_table():
    assert shown(race_table(ROWS[:1], now="native on cpu"), 80)[-1] == "native on cpu …"
