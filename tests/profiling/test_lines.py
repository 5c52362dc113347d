"""The window of lines: what it keeps of the calls of a line."""

import importlib
from threading import get_ident

import pytest
import torch

from flatout.profiling.lines import Lines
from flatout.profiling.user_lines import Line
from flatout.profiling.watch.passes import Passes


@pytest.fixture
def lines():
    window = Lines(Passes())
    window.install(get_ident())
    try:
        yield window
    finally:
        window.remove()


def seen(window, call):
    """The kind, the seconds and the readings of the one call that is seen."""
    window.begin()
    call(SHOWN)
    window.end(1.0, settled=True)
    (((kind, line), (seconds,)),) = window.seen.calls.items()
    return kind, seconds, window.seen.readings.get((kind, line), [])


SHOWN = torch.arange(3.0)
WAYS = {
    "item": (lambda t: t[1].item(), [1.0]),
    "tolist": (lambda t: t.tolist(), [[0.0, 1.0, 2.0]]),
    "format": (lambda t: f"{t[2]:.1f}", ["2.0"]),
    "print": (lambda t: print(t, torch.ones(1)), ["tensor([0., 1., 2.])", "tensor([1.])"]),
    "numpy": (lambda t: t.numpy(), []),
    "log": (lambda t: print("nothing of a tensor"), []),
}


@pytest.mark.parametrize("kind", WAYS)
def test_what_a_call_read_can_be_read_again_but_not_what_it_reads_within(lines, kind):
    call, again = WAYS[kind]
    found, _, readings = seen(lines, call)
    assert found == kind
    lines.remove()
    assert [reading.again()() for reading in readings] == again


def test_what_watching_adds_within_a_call_is_taken_from_its_time(lines):
    lines._calls._pass_s = -1000.0  # as if each wrapped call within took so much less
    _, seconds, _ = seen(lines, print)
    within = lines._calls._inner
    assert within > 3 and 1000 * within <= seconds < 1000 * within + 10


def test_a_call_that_fails_keeps_nothing_alive(lines):
    class Odd:
        def __repr__(self):
            print(repr(SHOWN))
            raise ValueError("no name")

    with pytest.raises(ValueError, match="no name"):
        print(torch.ones(2), Odd())
    assert lines._calls._read == [] and lines._calls._outer is None
    assert seen(lines, print)[0] == "print"


def test_a_call_within_another_takes_longer_for_being_watched():
    window = Lines(Passes())
    window._calls.prepare()
    assert 0 <= window._calls._pass_s < 1e-4
    assert window._calls._outer is None


def test_functions_that_the_script_has_imported_by_name_are_seen_and_left_as_they_were(tmp_path, monkeypatch):
    (tmp_path / "saves.py").write_text(
        "import json\nfrom json import dump as put, dumps\nfrom torch import nonzero\n"
        "def save():\n    with open('numbers.json', 'w') as file:\n        put([1], file)\n    dumps([1])\n"
        "def choose(x):\n    return nonzero(x)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    saves = importlib.import_module("saves")
    before = dict(vars(saves))
    window = Lines(Passes())
    window.install(get_ident())
    try:
        for kind, line, call in (("save", 6, saves.save), ("mask", 9, lambda: saves.choose(SHOWN))):
            window.seen.calls.clear()
            window.begin()
            call()
            window.end(1.0, settled=True)
            assert list(window.seen.calls) == [(kind, Line(str(tmp_path / "saves.py"), line))]
    finally:
        window.remove()
    assert vars(saves) == before and saves.put is saves.json.dump
