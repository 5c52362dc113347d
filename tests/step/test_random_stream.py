"""The counter-based stream: known answers, distribution, and independence of what must be independent."""

import math

import pytest
import torch

from flatout.step.random_operators import SameNumbers
from flatout.step.random_stream import numbers, philox, places

# The known answers of Random123 1.09 for philox4x32 with ten rounds: counter, key, result.
KNOWN = [
    ("00000000 00000000 00000000 00000000", "00000000 00000000", "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
    ("ffffffff ffffffff ffffffff ffffffff", "ffffffff ffffffff", "408f276d 41c83b0e a20bc7c6 6d5451fd"),
    ("243f6a88 85a308d3 13198a2e 03707344", "a4093822 299f31d0", "d16cfe09 94fdcceb 5001e420 24126ea1"),
]
DTYPES = [torch.float32, torch.float64]
COUNT = 64_000


def words(text):
    return tuple(torch.tensor([int(word, 16)]) for word in text.split())


@pytest.mark.parametrize(("counter", "key", "result"), KNOWN)
def test_known_answers(counter, key, result):
    assert " ".join(f"{int(word):08x}" for word in philox(words(counter), words(key))) == result


def draw(kind, dtype=torch.float32, *, seed=1, step=0, draw=0, shape=(COUNT,)):
    return numbers(kind, shape, dtype, draw, places(seed, step, 1)[0])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", ["uniform", "normal"])
def test_the_distribution_is_right(kind, dtype):
    """Kolmogorov's distance and the first moments, each within what one of 10,000 streams would exceed."""
    x = draw(kind, dtype).double()
    share = x if kind == "uniform" else torch.special.ndtr(x)
    assert share.min() >= 0 and share.max() < 1
    place = torch.arange(COUNT + 1) / COUNT
    ranked = share.sort().values
    assert torch.maximum(ranked - place[:-1], place[1:] - ranked).max() < 2.23 / math.sqrt(COUNT)
    if kind == "normal":
        for power, moment, variance in ((1, 0, 1), (2, 1, 2), (3, 0, 15), (4, 3, 96)):
            assert abs(float((x**power).mean()) - moment) < 4 * math.sqrt(variance / COUNT)
        assert 3.5 < x.abs().max() < 6.8


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", ["uniform", "normal"])
def test_steps_draws_seeds_and_elements_are_independent(kind, dtype):
    base = draw(kind, dtype)
    scale = (1 / 12 if kind == "uniform" else 1) / math.sqrt(COUNT)
    others = [draw(kind, dtype, step=1), draw(kind, dtype, draw=1), draw(kind, dtype, seed=2),
              draw(kind, dtype, step=2**32), draw(kind, dtype, seed=2**32 + 1),
              *(base.roll(by) for by in (1, 16, 32, 64))]  # fmt: skip
    for other in others:
        assert abs(float(((base - base.mean()) * (other - other.mean())).mean())) < 4 * scale
        assert not torch.equal(base, other)


def test_an_element_depends_on_its_place_only():
    long, short = draw("normal", shape=(1000,)), draw("normal", shape=(70,))
    torch.testing.assert_close(long[:70], short)
    table = draw("uniform", shape=(7, 2, 5))
    assert torch.equal(table.movedim(0, -1).flatten(), draw("uniform", shape=(70,)))  # samples vary fastest
    assert draw("uniform", shape=(0, 3)).shape == (0, 3)
    assert draw("uniform", shape=()).shape == ()


OPERATORS = {
    "rand": (lambda: torch.rand(COUNT), 1 / 2, 1 / 12),
    "randn": (lambda: torch.randn(COUNT), 0, 1),
    "rand_like": (lambda: torch.rand_like(torch.empty(COUNT)), 1 / 2, 1 / 12),
    "half": (lambda: torch.rand(COUNT, dtype=torch.bfloat16), 1 / 2, 1 / 12),
    "normal": (lambda: torch.normal(torch.full((COUNT,), 2.0), 3.0), 2, 9),
    "normal of numbers": (lambda: torch.normal(2.0, 3.0, (COUNT,)), 2, 9),
    "normal_": (lambda: torch.empty(COUNT).normal_(2, 3), 2, 9),
    "uniform_": (lambda: torch.empty(COUNT).uniform_(-1, 3), 1, 16 / 12),
    "bernoulli": (lambda: torch.bernoulli(torch.full((COUNT,), 0.2)), 0.2, 0.16),
    "bernoulli_": (lambda: torch.empty(COUNT).bernoulli_(0.2), 0.2, 0.16),
    "exponential_": (lambda: torch.empty(COUNT).exponential_(2.0), 1 / 2, 1 / 4),
    "randint": (lambda: torch.randint(-2, 3, (COUNT,)), 0, 2),
    "dropout": (lambda: torch.nn.functional.dropout(torch.ones(COUNT), 0.2), 1, 0.25),
    "alpha dropout": (lambda: torch.nn.functional.alpha_dropout(draw("normal"), 0.2, True), 0, 1),
}


@pytest.mark.parametrize(("operator", "mean", "variance"), OPERATORS.values(), ids=OPERATORS)
def test_operators_have_their_distribution_and_leave_torchs_generator_alone(operator, mean, variance):
    before = torch.get_rng_state()
    with SameNumbers(seed=3, step=4):
        found, other = operator(), operator()
    with SameNumbers(seed=3, step=4):
        again = operator()
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(found, again)
    assert not torch.equal(found, other)
    assert found.dtype == operator().dtype
    values = found.double()
    assert abs(float(values.mean()) - mean) < 4 * math.sqrt(variance / COUNT) + 1e-3
    assert abs(float(values.var()) / variance - 1) < 0.05
