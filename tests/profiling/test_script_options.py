"""Options on either side of the script: whose they are, and that it is said."""

import pytest
from launcher import launcher

from flatout.profiling.script_options import options_of, share_out

HAS = {"--json": False, "--steps": True, "--html": True}


def shared(*arguments, own=()):
    found = share_out(["train.py", *arguments], HAS, set(own).__contains__)
    assert found.script[0] == "train.py"
    return found.own, found.script[1:], found.left


def test_what_the_script_does_not_know_is_taken():
    assert shared("--lr", "1", "--json", "--steps", "9", "-v") == (
        ["--json", "--steps", "9"],
        ["--lr", "1", "-v"],
        [],
    )
    assert shared("--html=a.html", "x") == (["--html=a.html"], ["x"], [])
    assert shared("--steps") == (["--steps"], [], [])  # its value is missing, which will be told


def test_what_the_script_knows_is_left():
    assert shared("--steps", "9", "--json", own=["--steps"]) == (["--json"], ["--steps", "9"], ["--steps"])
    assert shared("--step", "9") == ([], ["--step", "9"], [])


def test_after_two_dashes_all_is_the_scripts():
    assert shared("--lr", "1", "--", "--json") == ([], ["--lr", "1", "--", "--json"], [])


@pytest.mark.parametrize(
    ("source", "known"),
    [
        ("parser.add_argument('--steps', type=int)", True),
        ("parser.add_argument('--steps-in-all')", False),
        ("steps = 9", False),
        ("def train(steps): ...", False),
        ("import typer\ndef train(steps: int): ...", True),
        ("import fire\ndef train(count): ...", False),
        ("import sys\nsteps = 9\nfor argument in sys.argv: ...", True),
        ("import settings", True),
        ("from settings import parser", True),
        ("exec(open('settings.py').read())", True),
        ("from package.deep import thing", True),
        ("import numpy", False),
        ("def broken(:  # --steps", True),
        ("def broken(:", False),
    ],
)
def test_a_script_knows_what_its_files_write(tmp_path, monkeypatch, source, known):
    (tmp_path / "settings.py").write_text("parser.add_argument('--steps')\n")
    (tmp_path / "package" / "deep").mkdir(parents=True)
    (tmp_path / "package" / "deep" / "__init__.py").write_text("from . import thing\n")
    (tmp_path / "package" / "deep" / "thing.py").write_text("from ...settings import parser\n")
    (tmp_path / "train.py").write_text(source)
    monkeypatch.chdir("/")
    assert options_of(str(tmp_path / "train.py"), module=False)("--steps") is known


def test_a_module_is_found_without_importing_it(tmp_path, monkeypatch):
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "__init__.py").write_text("1 / 0")
    (tmp_path / "package" / "train.py").write_text("from package.settings import parser\n")
    (tmp_path / "package" / "settings.py").write_text("parser.add_argument('--steps')\n")
    (tmp_path / "package" / "__main__.py").write_text("'--html'")
    monkeypatch.chdir(tmp_path)
    assert options_of("package.train", module=True)("--steps")
    assert not options_of("package.train", module=True)("--html")
    assert options_of("package", module=True)("--html")
    assert not options_of("no.such", module=True)("--steps")


LOOP = """\
import argparse, sys, torch
parser = argparse.ArgumentParser()
parser.add_argument("--epochs", type=int, default=1)
parser.add_argument("--html", action="store_true")
print(parser.parse_args())
model = torch.nn.Linear(4, 1)
for step in range(30):
    model(torch.ones(1, 4))
"""


def test_options_of_both_sides(tmp_path):
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "train.py").write_text(LOOP)
    done = launcher().run(
        "profile",
        "-m",
        "package.train",
        "--epochs",
        "3",
        "--steps",
        "20",
        "--stop",
        "--json",
        "--html",
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("Namespace(epochs=3, html=True)\n")
    assert (done.document["steps"], done.document["outcome"]) == (20, "stopped")
    assert done.document["arguments"] == ["--epochs", "3", "--html"]
    taken, left = done.stderr.splitlines()[:2]
    assert taken.startswith(
        "flatout: --steps 20 --stop --json is for flatout, since package.train knows no such"
    )
    assert left.startswith("flatout: --html is for package.train")


def test_all_is_the_scripts_after_two_dashes_before_it(tmp_path):
    (tmp_path / "train.py").write_text("import sys\nprint(sys.argv)\n")
    done = launcher().run("profile", "--", "train.py", "--json", "--steps", "x", "--help", cwd=tmp_path)
    assert done.stdout.startswith("['train.py', '--json', '--steps', 'x', '--help']\n")
    assert "flatout:" not in done.stderr
