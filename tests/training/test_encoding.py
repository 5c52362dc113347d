"""What a checkpoint is written as, and that it comes back as it was."""

import json
import math
from collections import Counter

import numpy as np
import pytest
import safetensors.torch
import torch
from hypothesis import given
from hypothesis import strategies as st

from flatout import CheckpointError
from flatout.training.encoding import decode, encode

DTYPES = [torch.float32, torch.float64, torch.bfloat16, torch.int64, torch.bool, torch.uint8]
DTYPES += [torch.complex64, torch.complex128]
tensors = st.builds(
    lambda dtype, shape, fill: torch.full(shape, fill).to(dtype),
    st.sampled_from(DTYPES),
    st.lists(st.integers(0, 3), max_size=3),
    st.sampled_from([0.0, 1.0, math.inf]),
)
texts = st.text(max_size=5) | st.sampled_from(["$tensor", "$dict", "a.b", "a", "b", "0"])
scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | texts
    | st.sampled_from([torch.int8, torch.float32])
)
keys = texts | st.integers(-9, 9) | st.tuples(texts, st.integers(-9, 9))
values = st.recursive(
    scalars | tensors | st.just(torch.device("cpu")) | st.dictionaries(keys, st.integers(0, 9)).map(Counter),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.lists(inner, max_size=4).map(tuple)
        | st.dictionaries(keys, inner, max_size=4)
    ),
    max_leaves=20,
)


def same(a, b):
    if type(a) is not type(b):
        return False
    if isinstance(a, torch.Tensor):
        return a.dtype == b.dtype and torch.equal(a, b)
    if isinstance(a, float):
        return (a == b and math.copysign(1, a) == math.copysign(1, b)) or (a != a and b != b)  # noqa: PLR0124
    if isinstance(a, dict):
        return list(a) == list(b) and all(same(a[key], b[key]) for key in a)
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(same, a, b))
    return a == b


@given(values)
def test_what_is_written_comes_back(value):
    held = {}
    text = json.dumps(encode({"state": value}, held), allow_nan=False)
    back = decode(json.loads(text), safetensors.torch.load(safetensors.torch.save(held)))
    assert same(back, {"state": value})


def test_numbers_of_numpy_become_plain_ones():
    assert encode([np.float32(0.5), np.int64(3), np.bool_(True)], {}) == [0.5, 3, True]


def test_tensors_are_copies():
    held, tensor = {}, torch.zeros(2, 3).T
    encode({"a": tensor}, held)
    tensor += 1
    assert held["a"].sum() == 0
    assert held["a"].is_contiguous()


def test_a_conjugate_is_written_as_what_it_is():
    for dtype in (torch.complex64, torch.complex128):
        held, value = {}, torch.tensor([1 + 2j], dtype=dtype).conj()
        back = decode(encode([value], held), safetensors.torch.load(safetensors.torch.save(held)))
        assert back[0].tolist() == [1 - 2j]


@pytest.mark.parametrize("value", [{1, 2}, object(), lambda: None, b"bytes"])
def test_what_cannot_be_written_is_named(value):
    with pytest.raises(CheckpointError, match=r"cannot save scheduler\.extra\.0: it is a"):
        encode({"scheduler": {"extra": [value]}}, {})


def test_an_unknown_mark_is_refused():
    with pytest.raises(CheckpointError, match="mark '\\$later'"):
        decode({"$later": 1}, {})
