"""The functions and matrix products of the headers against torch."""

import ctypes
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from flatout.codegen.build import build

FUNCTIONS = {
    "exp": torch.exp,
    "log": torch.log,
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "erf": torch.erf,
}


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    """Every function over an array, and every product with its sizes as arguments."""
    lines = ['#include "flatout_kernels.h"']
    for suffix, c_type in (("_f32", "float"), ("_f64", "double")):
        for name in FUNCTIONS:
            lines.append(
                f"void {name}{suffix}(long n, const {c_type} *x, {c_type} *y)"
                f"{{ for (long i = 0; i < n; i++) y[i] = fo_{name}{suffix}(x[i]); }}"
            )
        arrays = f"const {c_type} *a, const {c_type} *b, {c_type} *out, const {c_type} *bias"
        lines += [
            f"void rows{suffix}(long M, long N, long K, {arrays}, long am, long ak, long bm)"
            f"{{ fo_matmul{suffix}(M, N, K, a, am, ak, b, N, out, N, bias, bm, bias ? 1 : 0); }}",
            f"void dots{suffix}(long M, long N, long K, {arrays}, long am, long ak, long bm)"
            f"{{ fo_matmul_dots{suffix}(M, N, K, a, K, b, K, out, N, 1, bias, bm, bias ? 1 : 0); }}",
            f"void strided{suffix}(long M, long N, long K, {arrays}, long am, long ak, long bm)"
            f"{{ fo_matmul_strided{suffix}(M, N, K, a, am, ak, b, N, 1, out, 1, M, "
            "bias, bm, bias ? 1 : 0); }",
        ]
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("library")
        folder.chmod(0o700)
        patch.setenv("FLATOUT_CACHE", str(folder))
        patch.delenv("FLATOUT_SOURCE", raising=False)
        return build("\n".join(lines) + "\n").library


def pointer(tensor):
    return ctypes.c_void_p(None if tensor is None else tensor.data_ptr())


def dense():
    """Floats of every exponent and sign, the special ones, and the edges where exp ends."""
    bits = np.arange(0, 2**32, 8191, dtype=np.uint32)
    edges = [0.0, -0.0, math.inf, -math.inf, math.nan, 1e-45, -1e-45, 1.1754942e-38, 3.4028235e38]
    near = np.concatenate([np.linspace(-110, 110, 200001), np.linspace(-1, 1, 100001)]).astype(np.float32)
    around = np.array([88.72283, 88.72284, -87.33654, -103.97, -103.98, 9.01, 0.625], np.float32)
    return torch.from_numpy(np.concatenate([bits.view(np.float32), np.float32(edges), near, around]))


def units_apart(found, expected):
    """Units in the last place between floats, counted along the line of all of them."""

    def place(x):
        bits = x.numpy().view(np.int32).astype(np.int64)
        return np.where(bits < 0, -(bits & 0x7FFFFFFF), bits)

    return np.abs(place(found) - place(expected))


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_of_floats_are_within_a_few_units_in_the_last_place(library, name):
    x = dense()
    y = torch.empty_like(x)
    getattr(library, f"{name}_f32")(ctypes.c_long(len(x)), pointer(x), pointer(y))
    exact = FUNCTIONS[name](x.double()).float()
    assert torch.equal(y.isnan(), exact.isnan())
    number = ~exact.isnan()
    apart = units_apart(y[number], exact[number])
    apart[(y[number] - exact[number]).abs() < 1.1754944e-38] = 0  # below the smallest normal number
    worst = int(apart.argmax())
    allowed = 6 if name == "sigmoid" else 4  # a sum and a division more
    assert apart.max() <= allowed, f"{apart.max()} at {x[number][worst]}: {y[number][worst]}"


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_of_doubles_are_those_of_torch(library, name):
    x = dense().double()
    y = torch.empty_like(x)
    getattr(library, f"{name}_f64")(ctypes.c_long(len(x)), pointer(x), pointer(y))
    torch.testing.assert_close(y, FUNCTIONS[name](x), rtol=1e-13, atol=0, equal_nan=True)


@settings(max_examples=150, deadline=None)
@given(
    kind=st.sampled_from(["rows", "dots", "strided"]),
    sizes=st.tuples(*[st.integers(1, 70)] * 3),
    dtype=st.sampled_from([torch.float32, torch.float64]),
    bias=st.sampled_from([None, "row", "matrix"]),
    transposed=st.booleans(),
)
def test_products_are_those_of_torch(library, kind, sizes, dtype, bias, transposed):
    rows, columns, inner = sizes
    torch.manual_seed(0)
    a, b = torch.randn(rows, inner, dtype=dtype), torch.randn(inner, columns, dtype=dtype)
    stored_a = a.T.contiguous() if transposed and kind != "dots" else a
    am, ak = (1, rows) if stored_a is not a else (inner, 1)
    stored_b = b.T.contiguous() if kind == "dots" else b
    added = None if bias is None else torch.randn(*([rows] if bias == "matrix" else []), columns, dtype=dtype)
    guard = torch.full((rows * columns + 8,), 7.0, dtype=dtype)
    suffix = "_f32" if dtype is torch.float32 else "_f64"
    numbers = [ctypes.c_long(n) for n in (am, ak, columns if bias == "matrix" else 0)]
    getattr(library, kind + suffix)(
        *(ctypes.c_long(n) for n in (rows, columns, inner)),
        *(pointer(t) for t in (stored_a, stored_b, guard, added)),
        *numbers,
    )
    out = (
        guard[: rows * columns].view(columns, rows).T if kind == "strided" else guard[:-8].view(rows, columns)
    )
    assert (guard[-8:] == 7).all(), "written beyond the end"
    tolerance = 1e-4 if dtype is torch.float32 else 1e-12
    torch.testing.assert_close(out, a @ b + (0 if added is None else added), rtol=tolerance, atol=tolerance)
