"""`flatout.profile`: around a block, of a function, and in a notebook."""

import json
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

import flatout
import flatout.profiling.trials.after
from flatout.profiling.file_names import shown_name
from flatout.profiling.trials import open_files


@pytest.fixture
def step():
    model = torch.nn.Linear(4, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)

    def step():
        optimizer.zero_grad()
        loss = model(torch.ones(8, 4)).sum()
        loss.backward()
        optimizer.step()
        return loss.item()

    return step


def test_a_block(step):
    with flatout.profile() as p:
        for _ in range(20):
            step()
    assert sum(part["share"] for part in p.breakdown.values()) == pytest.approx(1)
    (found,) = p.findings
    assert (found.kind, found.count) == ("item", 1)
    assert found.file.endswith("test_profile_api.py")
    assert json.loads(p.json()) == p.document
    assert p.document["outcome"] == "finished"
    assert str(p).splitlines()[0] == p.document["verdict"][: len(str(p).splitlines()[0])]
    assert ".item()" in p._repr_html_()


def test_a_function_that_makes_a_step(step):
    p = flatout.profile(step, steps=25)
    assert (p.document["steps"], p.document["step_ends_with"]) == (25, "call")
    assert p.document["script"].endswith("step")
    assert "item" in [one.kind for one in p.findings]
    assert p.breakdown["optimizer"]["us"] > 0
    assert p.document["device"] == "cpu"


def test_a_function_without_an_optimizer():
    model = torch.nn.Linear(4, 1)
    p = flatout.profile(lambda: model(torch.ones(8, 4)), steps=21)
    assert (p.document["steps"], p.document["device"]) == (21, "cpu")
    assert p.document["windows"]["lines"] > 0
    assert p.breakdown["forward"]["us"] > 0


def test_experiments_are_made_where_they_are_asked_for(step, monkeypatch):
    monkeypatch.setattr(flatout.profiling.trials.after, "_LEAST", 0.5)
    monkeypatch.setattr(open_files, "_open_for_writing", list)  # the output of the tests may be a file
    assert flatout.profile(step, steps=25).document["trials"]["none"] == "no experiments were made"
    with flatout.profile(trials=True) as p:
        for _ in range(25):
            step()
    trials = p.document["trials"]
    assert trials["none"] is None and (trials["measured"] or trials["impossible"])


def test_an_error_in_the_block_is_the_blocks_own(step):
    p = flatout.profile()
    with pytest.raises(ZeroDivisionError), p:
        for _ in range(20):
            step()
        1 / 0  # noqa: B018
    assert p.document["outcome"] == "failed"
    assert p.document["us_per_step"] > 0
    with flatout.profile():  # nothing is left of it
        pass


@pytest.mark.parametrize("name", ["<ipython-input-3-0123abc>", "/tmp/ipykernel_12/345.py", "<stdin>"])
def test_lines_of_a_notebook_are_the_users(name):
    cell = "for _ in range(20):\n    model(x).sum().item()\n"
    space = {"model": torch.nn.Linear(4, 1), "x": torch.ones(8, 4)}
    with flatout.profile() as p:
        exec(compile(cell, name, "exec"), space)
    (found,) = [one for one in p.findings if one.kind == "item"]
    assert (found.file, found.line) == (name, 2)


def test_one_profile_at_a_time(step):
    with flatout.profile() as p:
        with pytest.raises(flatout.FlatoutError, match="another profile runs"):
            flatout.profile(step)
        with pytest.raises(flatout.FlatoutError, match="has ended"):
            p.breakdown  # noqa: B018
        for _ in range(20):
            step()
    assert p.document["steps"] == 20
    with pytest.raises(flatout.FlatoutError, match="one block"), p:
        pass


def test_steps_must_be_some(step):
    with pytest.raises(flatout.FlatoutError, match="at least 1, but got 0"):
        flatout.profile(step, steps=0)


def test_a_cell_is_called_what_the_notebook_calls_it(monkeypatch):
    cells = {"/tmp/ipykernel_12/345.py": ("Cell", "In[3]")}
    shell = SimpleNamespace(compile=SimpleNamespace(format_code_name=cells.get))
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: shell))
    assert shown_name("/tmp/ipykernel_12/345.py", Path("/work")) == "In[3]"
    assert shown_name("/work/train.py", Path("/work")) == "train.py"
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: None))
    assert shown_name("/tmp/ipykernel_12/345.py", Path("/work")) == "/tmp/ipykernel_12/345.py"
