import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flatout.report import text


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0, "0 s"),
        (3e-9, "3 ns"),
        (120e-6, "120 µs"),
        (0.9996e-3, "1 ms"),
        (0.012, "12 ms"),
        (0.9996, "1 s"),
        (1.234, "1.23 s"),
        (59.96, "1 min 00 s"),
        (245, "4 min 05 s"),
        (3599.7, "1 h 00 min"),
        (7380, "2 h 03 min"),
        (86_399, "1 d 00 h"),
        (400 * 86_400, "400 d 00 h"),
        (-1.5, "-1.5 s"),
        (None, "–"),
        (math.nan, "–"),
    ],
)
def test_seconds(value, shown):
    assert text.seconds(value) == shown


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0.0, "0"),
        (0.0603123, "0.06031"),
        (-1.1354, "-1.135"),
        (9999.6, "10,000"),
        (1_234_567.8, "1,234,568"),
        (9_999_999.0, "1e7"),
        (1.5e30, "1.5e30"),
        (2.5e-7, "2.5e-7"),
        (math.nan, "NaN"),
        (math.inf, "inf"),
        (-math.inf, "-inf"),
        (None, "–"),
    ],
)
def test_number(value, shown):
    assert text.number(value) == shown


@given(st.floats(-1e308, 1e308))  # beyond, four digits round to infinity
def test_a_number_keeps_four_digits(value):
    assert float(text.number(value).replace(",", "")) == pytest.approx(value, rel=6e-4, abs=0)


def test_count_and_rate():
    assert (text.count(0), text.count(20_000), text.count(None)) == ("0", "20,000", "–")
    assert text.rate(8140.2) == "8,140 steps/s"
    assert text.rate(99.97) == "100 steps/s"
    assert text.rate(0.5123) == "0.512 steps/s"
    assert text.rate(None) == text.rate(math.inf) == "–"


def test_metric():
    assert text.metric("accuracy", 0.9667) == text.metric("validation_accuracy", 0.9667) == "96.7 %"
    assert text.metric("accuracy", 96.7) == "96.7"  # already in per cent, or no fraction at all
    assert text.metric("accuracy", None) == "–"
    assert text.metric("accuracy", math.nan) == "NaN"
    assert text.metric("", 0.5) == "0.5"


def test_spans_decades():
    assert text.spans_decades([1.0, math.nan, 0.01, math.inf])
    assert not text.spans_decades([1.0, 0.2])
    assert not text.spans_decades([1.0, -0.01])
    assert not text.spans_decades([math.nan])
    assert not text.spans_decades([])


def test_sparkline():
    assert text.sparkline([]) == ""
    assert text.sparkline([2.0]) == text.sparkline(np.array([2.0, 2.0]))[0] == "▁"
    assert text.sparkline([1.0, math.nan, 0.5, math.inf]) == "█×▁×"
    assert text.sparkline([math.nan] * 3) == "×××"
    assert text.sparkline([1.0, 0.1, 0.01]) == "█▅▁"  # a log scale: 0.1 is in the middle
    assert len(text.sparkline(np.linspace(1, 0, 100_000), width=25)) == 25
    with pytest.raises(ValueError, match="width must be at least 1"):
        text.sparkline([1.0], width=0)


@given(st.lists(st.floats(width=32), max_size=200), st.integers(1, 50))
def test_a_sparkline_takes_any_losses(losses, width):
    assert len(text.sparkline(losses, width)) == min(width, len(losses))
