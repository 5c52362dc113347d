"""`flatout lab`: documents, reports, pictures and messages; in this process, as torch is loaded here."""

import json
import sys

import pytest

from flatout.cli.app import main


@pytest.fixture
def flatout(monkeypatch, capsys):
    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["flatout", "lab", *arguments])
        monkeypatch.setenv("COLUMNS", "110")
        with pytest.raises(SystemExit) as ended:
            main()
        printed = capsys.readouterr()
        return ended.value.code, printed.out, printed.err

    return run


def document(out):
    assert out.count("\n") == 1
    return json.loads(out, parse_constant=pytest.fail)


def test_logging(flatout, tmp_path):
    picture = tmp_path / "logging.png"
    status, out, err = flatout(
        "logging", "--epochs", "6", "--every", "1", "--every", "3", "--rounds", "8", "--device", "cpu",
        "--json", "--picture", str(picture),
    )  # fmt: skip
    seen = document(out)
    assert status in (0, None)
    (device,) = seen["devices"]
    assert [(row["every"], row["reads"]) for row in device["rows"]] == [(1, 6), (3, 2), (None, 0)]
    assert "On cpu" in " ".join(err.split()) and "Measured on cpu" in err
    assert seen["verdict"] in " ".join(err.split())
    assert picture.stat().st_size > 10_000


def test_crossover(flatout, tmp_path):
    picture = tmp_path / "crossover.png"
    status, out, err = flatout(
        "crossover", "--largest-batch", "64", "--largest-width", "64", "--no-native", "--rounds", "5",
        "--device", "cpu", "--json", "--picture", str(picture),
    )  # fmt: skip
    seen = document(out)
    assert status in (0, None)
    assert [(sweep["what"], len(sweep["sizes"])) for sweep in seen["sweeps"]] == [("batch", 4), ("width", 4)]
    assert all(min(curve["us"]) > 0 for sweep in seen["sweeps"] for curve in sweep["curves"])
    assert "no GPU took part" in seen["verdict"]
    assert f"picture  {picture}" in err
    assert picture.stat().st_size > 10_000


def test_call_in_quiet_prints_the_document_only(flatout):
    status, out, err = flatout("call", "--rounds", "8", "--quiet", "--json")
    assert (status in (0, None), err) == (True, "")
    assert {"observed", "timed", "verdict", "lessons"} <= set(document(out))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("logging", "--epochs", "100"), "give --epochs 2000 or more"),
        (("logging", "--every", "0"), "--every must be 1 epoch or more, but is 0"),
        (("logging", "--device", "cuda:77"), "cuda:77"),
        (("logging", "--picture", "loss.gif"), "a picture's name must end in .pdf, .png, .svg"),
        (("crossover", "--picture", "/dev/null/x.png"), "the picture cannot be drawn into /dev/null/x.png"),
        (("crossover", "--largest-batch", "10"), "--largest-batch must be 64 or more"),
        (("crossover", "--rounds", "2"), "give --rounds 5 or more"),
        (("call", "--rounds", "2"), "give --rounds 8 or more"),
    ],
)
def test_bad_input_ends_with_one_message(flatout, arguments, message):
    status, out, err = flatout(*arguments)
    assert (status, out) == (2, "")
    assert err.startswith("flatout: ") and message in err
    assert "Traceback" not in err


def test_ctrl_c_ends_without_a_result(flatout, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("flatout.labs.call_lab.timed", interrupted)
    status, out, err = flatout("call", "--json")
    assert (status, out) == (130, "")
    assert "interrupted: the lab has no result" in err
