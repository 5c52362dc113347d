"""The C of the random stream against the reference in PyTorch."""

import pytest
import torch

from flatout.codegen import random_numbers
from flatout.codegen.compiler import NoCompilerError
from flatout.codegen.random_numbers import RandomNumbers
from flatout.step.graph import RandomInput
from flatout.step.origin import Origin
from flatout.step.random_stream import numbers, places

SEED, STEP = 2**40 + 7, 2**33 + 5
INPUTS = [
    RandomInput(kind, shape, dtype, Origin())
    for kind in ("uniform", "normal")
    for dtype in (torch.float32, torch.float64)
    for shape in ((), (3,), (65,), (40, 50), (9, 4, 5))
]


def test_c_gives_the_numbers_of_the_reference():
    made = RandomNumbers(INPUTS)
    assert made._fillers is not None
    for draw, (found, entry) in enumerate(zip(made.fill(SEED, STEP), INPUTS, strict=True)):
        expected = numbers(entry.kind, entry.shape, entry.dtype, draw, places(SEED, STEP, 1)[0])
        assert found.shape == entry.shape
        if entry.kind == "uniform":
            assert torch.equal(found, expected)
        else:
            exact = 1e-6 if entry.dtype == torch.float32 else 1e-14
            torch.testing.assert_close(found, expected, rtol=exact, atol=exact)


def test_without_a_compiler_the_numbers_are_the_same(monkeypatch):
    def none(*args, **options):
        raise NoCompilerError("none")

    expected = [tensor.clone() for tensor in RandomNumbers(INPUTS).fill(SEED, STEP)]
    monkeypatch.setattr(random_numbers, "build", none)
    for found, other in zip(RandomNumbers(INPUTS).fill(SEED, STEP), expected, strict=True):
        torch.testing.assert_close(found, other, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("seed", [-1, 2**64 - 1])
def test_every_seed_is_taken(seed):
    (found,) = RandomNumbers(INPUTS[1:2]).fill(seed, 0)
    assert torch.equal(found, numbers("uniform", (3,), torch.float32, 0, places(2**64 - 1, 0, 1)[0]))
