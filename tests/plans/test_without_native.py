"""Where no C can be built, native says why and training goes on without it."""

import shutil
from pathlib import Path

import pytest
import torch
from torch import nn

from flatout import PlanRefusedError, Task, fit, race
from flatout.codegen import compiler as compilers
from flatout.codegen import native_step
from flatout.racing.words import first_line

GCC_SAID = "step.c:7: error: sorry, unimplemented"


def make():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 3))
    data = torch.randn(22, 4), torch.arange(22) % 3
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    return Task(
        model=model, data=data, optimizer=optimizer, loss=nn.CrossEntropyLoss(), steps=8000, name="small"
    )


def no_compiler(patch, folder):
    patch.delenv("CC", raising=False)
    patch.setenv("PATH", str(folder))
    patch.setattr("importlib.util.find_spec", lambda name: None)


def nonsense(patch, folder):
    patch.setenv("CC", "no-such-cc --fast")


def failing(patch, folder):
    script = folder / "mycc"
    script.write_text(f'#!/bin/sh\n[ "$1" = --version ] || {{ echo "{GCC_SAID}" >&2; exit 1; }}\n')
    script.chmod(0o755)
    patch.setenv("CC", str(script))


BROKEN = {
    "no compiler": (no_compiler, r"there is no C compiler: looked for .*ziglang; install gcc or clang"),
    "nonsense in CC": (nonsense, r"CC is 'no-such-cc --fast', but that cannot be run as a C compiler"),
    "failing compiler": (failing, rf"the C compiler failed on \S+\.c: {GCC_SAID}"),
}


@pytest.fixture(params=BROKEN)
def said(request, tmp_path, monkeypatch):
    """A machine without native, and what native says of it."""
    cache, empty = tmp_path / "cache", tmp_path / "empty"
    for folder in (cache, empty):
        folder.mkdir(mode=0o700)
    monkeypatch.setenv("FLATOUT_CACHE", str(cache))
    breaks, words = BROKEN[request.param]
    breaks(monkeypatch, empty)
    compilers._found.cache_clear()
    yield words
    compilers._found.cache_clear()


def test_training_goes_on_without_native_and_the_reason_is_told(said, tmp_path, monkeypatch):
    monkeypatch.setattr(native_step, "foreseen_seconds", lambda source: 0.0)
    (native,) = (c for c in race(make(), plans=["native"]).candidates if c.plan == "native")
    assert native.status == "refused"
    with pytest.raises(PlanRefusedError, match=said) as refused:
        fit(make(), plan="native", run_dir=tmp_path / "runs")
    assert not (tmp_path / "runs").exists()
    assert first_line(str(refused.value)) == first_line(native.reason)
    for kept in (Path(word.rstrip(":")) for word in native.reason.split() if word.endswith(".c:")):
        if kept.is_absolute():
            assert "flatout_steps" in kept.read_text()
    run = fit(make())
    assert run.plan != "native"
    assert torch.equal(run.losses, fit(make(), plan="eager").losses) or run.plan == "compiled"


@pytest.mark.skipif(not any(map(shutil.which, compilers._CANDIDATES)), reason="there is no C compiler")
def test_a_cache_that_is_a_file_does_not_keep_native_from_training(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("FLATOUT_CACHE", str(tmp_path / "file"))
    assert fit(make(), plan="native").plan == "native"
    run = fit(make())
    torch.testing.assert_close(run.losses, fit(make(), plan="eager").losses, rtol=1e-3, atol=1e-4)
