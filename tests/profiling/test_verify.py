"""`flatout profile --verify`: what runs with a fix and without say about a prediction."""

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from profiling.documents import document, finding
from rich.console import Console

from flatout.profiling.same import Ran, same_results
from flatout.profiling.verify import Script, _turns, verify
from flatout.report.verify_view import verify_view


def ran(us=1000.0, *, losses=(3.0, 2.0), output=b"a\nb\n", how="finished", status=0, applied=1):
    spread = {"blocks": [us, us], "mean": us, "quartiles": [us, us, us]}
    measured = {"outcome": how, "status": status, "step_times_us": spread, "losses": list(losses)}
    return Ran(1.0, measured | {"applied": applied}, output, "TypeError: no float")


def verified(monkeypatch, without, with_it, *, rounds=3, **changes):
    """One finding, whose runs are made up."""
    runs = {True: iter(with_it), False: iter(without)}
    monkeypatch.setattr(
        "flatout.profiling.verify._run", lambda script, one, *rest: next(runs[one is not None])
    )
    one = finding(code="x.split(batch_size)", **changes)
    script = Script(["train.py"], False, 1000, False, Path(), {})
    (row,) = verify(script, document(findings=[one]), rounds=rounds)
    return row


def test_a_gain_is_the_median_of_rounds_with_what_they_span(monkeypatch):
    row = verified(monkeypatch, [ran(1000), ran(1100), ran(1000)], [ran(700), ran(690), ran(750)])
    assert (row["measured_ms"], row["low"], row["high"]) == pytest.approx((0.3, 0.25, 0.41))
    assert (row["status"], row["results"]) == ("within", "same")
    assert (row["predicted_ms"], row["predicted_low"], row["predicted_high"]) == (0.3, 0.2, 0.4)
    (cells,) = [line for line in shown([row]).splitlines() if "train.py:9" in line]
    assert "300 µs (200 to 400)" in cells
    assert "300 µs (250 to 410)" in cells
    assert "as predicted" in cells


def test_a_gain_beyond_the_prediction_is_said(monkeypatch):
    row = verified(monkeypatch, [ran(1000)] * 3, [ran(500)] * 3)
    assert (row["status"], row["measured_ms"]) == ("outside", 0.5)
    assert "not as predicted" in shown([row])
    unpredicted = verified(
        monkeypatch, [ran(1000)] * 3, [ran(500)] * 3, gain_ms=None, gain_low=None, gain_high=None
    )
    assert unpredicted["status"] == "unpredicted"


def test_a_gain_that_may_be_none_is_noise(monkeypatch):
    row = verified(monkeypatch, [ran(1000)] * 3, [ran(700), ran(800), ran(1010)])
    assert (row["status"], row["measured_ms"]) == ("noise", pytest.approx(0.2))
    assert "too small to tell from noise" in shown([row])


def test_a_cost_that_is_seldom_is_measured_by_the_mean(monkeypatch):
    seldom = ran()
    seldom.measured["step_times_us"]["mean"] = 1300.0
    row = verified(monkeypatch, [seldom] * 3, [ran()] * 3, count=0.03)
    assert row["measured_ms"] == pytest.approx(0.3)


@pytest.mark.parametrize(
    ("with_it", "status"),
    [
        (ran(how="failed", status=1), "failed"),
        (ran(status=3), "failed"),
        (Ran(1.0, None, b"", "it had not ended after 70 s"), "failed"),
        (ran(applied=0), "unused"),
        (ran(losses=(3.0, 2.5)), "differs"),
        (ran(output=b"a\nc\n"), "differs"),
        (ran(losses=(3.0 + 1e-5, 2.0)), "outside"),
        (ran(1000.0 - 1e-6, losses=(3.0 + 1e-5, 2.0)), "outside"),
    ],
)
def test_a_fix_that_breaks_or_changes_the_script_is_no_gain(monkeypatch, with_it, status):
    row = verified(monkeypatch, [ran()] * 3, [with_it] * 3)
    assert row["status"] == status
    assert (row["measured_ms"] is None) == (status in ("failed", "unused"))
    if status == "failed":
        assert row["why"] in shown([row])


def test_a_script_that_fails_as_it_is_says_nothing_about_its_fixes(monkeypatch):
    row = verified(monkeypatch, [ran(how="failed", status=1)], [])
    assert (row["status"], row["measured_ms"]) == ("unmeasured", None)


def test_ctrl_c_leaves_what_was_measured(monkeypatch):
    def until(runs):
        yield from runs
        raise KeyboardInterrupt

    row = verified(monkeypatch, until([ran(1000), ran(1000)]), [ran(700), ran(700)])
    assert (row["status"], row["measured_ms"]) == ("within", pytest.approx(0.3))


def test_findings_without_a_remedy_are_listed_and_nothing_is_run(monkeypatch):
    monkeypatch.setattr("flatout.profiling.verify._run", None)
    script = Script(["train.py"], False, 1000, False, Path(), {})
    (row,) = verify(script, document(findings=[finding("print")]))
    assert (row["status"], row["remedy"], row["measured_ms"]) == ("manual", None, None)


def test_each_round_holds_all_and_begins_with_another():
    assert list(_turns(3, 4)) == [0, 1, 2, 1, 2, 0, 2, 0, 1, 0, 1, 2]


def test_lines_that_change_from_run_to_run_are_no_difference():
    plain = [ran(output=b"loss 1\ntook 3 s\n"), ran(output=b"loss 1\ntook 4 s\n")]
    assert same_results(plain, [ran(output=b"loss 1\ntook 1 s\n")]) == "same"
    assert same_results(plain, [ran(output=b"loss 2\ntook 1 s\n")]) == "other"
    assert same_results([ran(losses=[1.0]), ran(losses=[2.0])], [ran(losses=[1.0])]) == "unknown"
    nan = float("nan")
    assert same_results([ran(losses=[nan])], [ran(losses=[nan])]) == "same"


def shown(rows):
    console = Console(width=120, file=io.StringIO())
    console.print(verify_view(rows))
    return console.file.getvalue()


# Without an optimizer of torch, whose first use imports the compiler: a step ends with its backward.
TRAIN = """\
import json, os, sys
import torch
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)
data = TensorDataset(torch.randn(2048, 4), torch.randn(2048, 1))
weights = torch.randn(4, 1, requires_grad=True)
for x, y in DataLoader(data, batch_size=32, shuffle=True):
    loss = ((x @ weights - y) ** 2).mean()
    loss.backward()
    json.dumps(loss.item())
    with torch.no_grad():
        weights -= 0.1 * weights.grad
        weights.grad = None
print(repr(float(loss.detach())), sys.argv, os.environ["WHERE"])
os.environ["WHERE"] = "elsewhere"
os.chdir("/")
"""


def test_the_script_runs_again_with_its_fixes(tmp_path):
    (tmp_path / "train.py").write_text(TRAIN)
    once = "import flatout.profiling.verify as v; v.ROUNDS = 1; from flatout.cli.app import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", once, "profile", "--verify", "--json", "train.py", "--lr", "0.1"],
        cwd=tmp_path,
        env=os.environ | {"WHERE": "here", "COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 2  # the output of the other runs is kept out
    rows = {row["kind"]: row for row in json.loads(done.stdout.splitlines()[-1])["verified"]}
    data, item = rows["data"], rows["item"]
    assert (data["line"], data["remedy"], data["results"]) == (8, "whole batches are indexed", "same")
    assert data["status"] in ("within", "outside")
    assert data["low"] == data["measured_ms"] == data["high"]
    assert item["status"] == "failed"
    assert "not JSON serializable" in item["why"]
    assert "the script runs 3 times again" in done.stderr
    assert "whole batches are indexed" in done.stderr
