"""Temporaries that share memory, and the stops that keep a compiler from moving one across another."""

import re
from functools import partial

import pytest
import torch
from torch import nn, optim

import flatout
from flatout.codegen import slices
from flatout.codegen.memory import reusing
from flatout.codegen.nest import Affine, Buffer, Number, Pointwise, Store
from flatout.plans.native_source import native_source
from flatout.step.trace_task import traced_copy

BYTES = {"float": 4, "double": 8, "int64_t": 8, "int32_t": 4, "uint8_t": 1, "int8_t": 1, "int16_t": 2}


def fills(buffer):
    return Pointwise([], [Store(buffer, Affine(), Number(1.0, "float32"))])


def test_a_stop_stands_where_memory_is_used_again_and_nowhere_else():
    a, b, c = (Buffer(name, "temporary", "float32", 4) for name in "abc")
    kernels = [fills(buffer) for buffer in (a, b, c, a, b)]
    assert reusing(kernels, {a: 0, b: 64, c: 0}) == [False, False, True, True, False]
    assert reusing(kernels, {a: 0, b: 64, c: 128}) == [False] * 5
    assert reusing(kernels, {b: 0}) == [False] * 5  # what is no temporary has memory of its own


@pytest.mark.parametrize("samples, small_cache", [(6, False), (907, True)], ids=["whole", "in slices"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_no_two_temporaries_in_one_place_are_touched_without_a_stop_between(
    samples, small_cache, dtype, monkeypatch
):
    if small_cache:
        monkeypatch.setattr(slices, "_CACHE", 8 << 10)
    torch.manual_seed(0)
    layers = (
        partial(nn.Linear, 5, 33),
        nn.ELU,
        partial(nn.Linear, 33, 18),
        nn.GELU,
        partial(nn.Linear, 18, 3),
    )
    model = nn.Sequential(*(layer() for layer in layers)).to(dtype)
    task = flatout.Task(
        model=model,
        data=(torch.randn(samples, 5, dtype=dtype), torch.randn(samples, 3, dtype=dtype)),
        loss=nn.MSELoss(),
        optimizer=optim.Adam(model.parameters()),
        epochs=5,
    )
    text = native_source(*traced_copy(task, torch.device("cpu"))).text
    assert ("the last" in text) == small_cache
    check_stops(text)
    with pytest.raises(AssertionError, match="in one place"):
        check_stops(text.replace("FO_REUSE", ""))


def check_stops(text):
    """Read the C as a compiler does, from top to bottom, each loop's body twice over."""
    declared = re.findall(r"(\w+) \*restrict (\w+) = \(\w+ \*\)\(arena \+ (\d+)\); /\* \[(\d+)\] \*/", text)
    places = {name: (int(at), int(at) + int(n) * BYTES[kind]) for kind, name, at, n in declared}
    assert len(places) > 10
    body = text[text.index("order += order_step") :].splitlines()
    touched = set()
    for line in body + body:
        if "FO_REUSE" in line:
            touched = set()
        for name in re.findall(r"\w+", line.partition("/*")[0]):
            if name not in places:
                continue
            begin, end = places[name]
            for other in touched - {name}:
                first, last = places[other]
                assert end <= first or last <= begin, f"{name} and {other} in one place"
            touched.add(name)
