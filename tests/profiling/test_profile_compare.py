"""`flatout profile compare`: documents made up, so that what must be told is known."""

import json
import random
import subprocess
import sys

import pytest
from profiling.documents import document, finding
from typer.testing import CliRunner

from flatout.cli.app import app
from flatout.errors import FlatoutError
from flatout.profiling.compare import compare
from flatout.profiling.read_document import read_document


def noisy(middle, seed, spread=0.03):
    drawn = random.Random(seed)
    return [middle * (1 + spread * drawn.uniform(-1, 1)) for _ in range(20)]


def test_a_step_that_is_faster_is_told_from_noise():
    before, after = document(noisy(1000, 1)), document(noisy(700, 2), data_us=100.0)
    seen = compare(before, after)
    assert seen["step"]["changed"] is True
    assert seen["step"]["low"] < 0.7 < seen["step"]["high"] < 0.8
    assert seen["verdict"].startswith("A step is 1.4")
    assert seen["parts"]["data"] == {"before_us": 400.0, "after_us": 100.0}
    assert compare(after, before)["verdict"].startswith("A step takes 1.4")


def test_the_same_twice_is_no_change():
    changed = [
        compare(document(noisy(1000, seed)), document(noisy(1000, seed + 50)))["step"]["changed"]
        for seed in range(20)
    ]
    assert changed == [False] * 20


def test_a_machine_that_was_busy_is_no_slower_script():
    before, after = document([1000.0] * 12), document([1000.0, *[1600.0] * 11])
    seen = compare(before, after)
    assert seen["step"]["low"] > 1.3
    assert seen["step"]["changed"] is False
    assert seen["verdict"].startswith("No change beyond the noise")


def test_few_steps_tell_nothing():
    seen = compare(document([1000.0] * 3), document([500.0] * 12))
    assert (seen["step"]["changed"], seen["step"]["low"]) == (None, None)
    assert seen["verdict"].startswith("Too few steps")


def test_findings_are_followed_by_their_source_not_by_their_number():
    other = {"first": 20, "lines": ["", "", "total += loss.item()"]}
    before = document(
        [1000.0] * 12,
        findings=[
            finding(line=9),
            finding("item", 22, source=other, gain_ms=0.02, gain_low=0.01, gain_high=0.03),
        ],
    )
    moved = finding("item", 32, source=other | {"first": 30}, file="new.py")
    fresh = finding("tensor", 9, source=None)
    after = document([700.0] * 12, findings=[moved, fresh], script="new.py", device="cuda", data_us=100.0)
    seen = compare(before, after)
    kinds = {name: [(one["kind"], one["line"]) for one in of] for name, of in seen["findings"].items()}
    assert kinds == {"fixed": [("data", 9)], "new": [("tensor", 9)], "left": [("item", 32)]}
    predicted = seen["predicted"]
    assert predicted == {"gain_ms": 0.3, "low": 0.2, "high": 0.4, "measured_ms": pytest.approx(0.3)}
    assert seen["differences"] == [
        "the script was train.py before, new.py after",
        "the device was cpu before, cuda after",
    ]


def test_other_arguments_and_versions_are_said():
    versions = {"flatout": "0.1.0", "python": "3.11.7", "torch": "2.14.0", "cuda": None}
    seen = compare(document(), document(arguments=["--lr", "1"], versions=versions))
    assert seen["differences"] == [
        "the arguments were none before, --lr 1 after",
        "the version of torch was 2.13.0 before, 2.14.0 after",
    ]


def write(path, text):
    path.write_text(text if isinstance(text, str) else json.dumps(text))
    return str(path)


def test_the_command_reads_what_json_printed_after_what_the_script_printed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "a.json", 'epoch 0\n{"loss": 1}\n' + json.dumps(document([1000.0] * 12)) + "\n")
    write(tmp_path / "b.json", json.dumps(document([500.0] * 12, data_us=0.0), indent=2))
    shown = CliRunner().invoke(app, ["profile", "compare", "a.json", "b.json"])
    assert shown.exit_code == 0, shown.output
    assert shown.output.startswith("A step is 2.00 times as fast: 1 ms before, 500 µs after.")
    for options in (["--json", "compare", "a.json", "b.json"], ["compare", "a.json", "b.json", "--json"]):
        done = CliRunner().invoke(app, ["profile", *options])
        assert json.loads(done.output)["step"]["ratio"] == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("written", "message"),
    [
        (None, "No such file"),
        ("", "holds no profile: its last line must be the document of flatout profile --json, but is empty"),
        ("print('hello')\n", 'holds no profile.*but is "print'),
        ("[1, 2]", "holds no profile"),
        ('{"us_per_step": 1', "holds no profile"),
        (
            {"us_per_step": 1.0, "breakdown": {}},
            "written by an older flatout .document version None, expected 1",
        ),
        (document(version=0), "written by an older flatout"),
        (document(version=2), "written by a newer flatout"),
        (document(us_per_step=None, verdict="Too few steps"), "holds no times to compare: Too few steps"),
        (document() | {"findings": None}, "is not a whole profile: its 'findings' is 'null'"),
        (document(breakdown={"data": 3}), "the time of 'data' is '3'"),
        (document(findings=[{}]), "a finding lacks 'kind'"),
        (document(step_times_us={"blocks": [0.0]}), "its times of steps are not numbers above 0"),
        (b"\xff\xfe\x00", "is not text"),
    ],
)
def test_a_file_that_is_no_profile(tmp_path, written, message):
    path = tmp_path / "a.json"
    if isinstance(written, bytes):
        path.write_bytes(written)
    elif written is not None:
        write(path, written)
    with pytest.raises(FlatoutError, match=message):
        read_document(path)


def test_errors_end_with_status_2_and_a_script_called_compare_is_run(tmp_path):
    def run(*arguments):
        command = [sys.executable, "-m", "flatout", "profile", *arguments]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)

    failed = run("compare", "a.json", "b.json")
    assert failed.returncode == 2
    assert "a.json: No such file" in failed.stderr
    (tmp_path / "compare").write_text("import sys; print('the script', sys.argv[1:])")
    assert run("compare", "a.json", "b.json").stdout.startswith("the script ['a.json', 'b.json']")
