"""The functions and matrix products of the headers against torch."""

import ctypes
import math
import re
import subprocess

import mpmath
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from flatout.codegen import build as build_module
from flatout.codegen.build import build
from flatout.codegen.compiler import cpu, find_compiler

# Torch's function, that of mpmath, and how far ours may be from them, in units in the last place: of floats,
# and of doubles (None: the C library's is used).
FUNCTIONS = {
    "exp": (torch.exp, mpmath.exp, 1, 1.5),
    "log": (torch.log, mpmath.log, 1, 1.5),
    "tanh": (torch.tanh, mpmath.tanh, 5, 3),
    "sigmoid": (torch.sigmoid, lambda x: 1 / (1 + mpmath.exp(-x)), 3, 3),
    "erf": (torch.erf, mpmath.erf, 2, 2),
    "expm1": (torch.expm1, mpmath.expm1, 2, 2.5),
    "log1p": (torch.log1p, mpmath.log1p, 1, 1.5),
    "sin": (torch.sin, mpmath.sin, 2, None),
    "cos": (torch.cos, mpmath.cos, 2, None),
}
OF_DOUBLES = [name for name, (*_, doubles) in FUNCTIONS.items() if doubles]
FUSED = bool({"fma", "asimd"} & set(cpu().split()))
WITHOUT_FUSED = 0 if FUSED else 4  # more roundings


def loops(functions, c_type, suffix):
    """A line of C for each function: it over an array."""
    return [
        f"void {name}{suffix}(long n, const {c_type} *restrict x, {c_type} *restrict y)"
        f"{{ for (long i = 0; i < n; i++) y[i] = fo_{name}{suffix}(x[i]); }}"
        for name in functions
    ]


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    """Every function over an array, and every product with its sizes as arguments."""
    lines = ['#include "flatout_kernels.h"']
    for suffix, c_type in (("_f32", "float"), ("_f64", "double")):
        lines += loops(FUNCTIONS, c_type, suffix)
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
    edges = [0.0, -0.0, math.inf, -math.inf, math.nan, 1e-45, -1e-45, 1.1754942e-38, 3.4028235e38, -1.0]
    near = np.concatenate([np.linspace(-110, 110, 200001), np.linspace(-1, 1, 100001)]).astype(np.float32)
    around = np.array([88.72283, 88.72284, -87.33654, -103.97, -103.98, 9.01, 0.625], np.float32)
    turns = (np.arange(1, 20001) * (np.pi / 2)).astype(np.float32)  # sin or cos is nearly 0
    return torch.from_numpy(np.concatenate([bits.view(np.float32), np.float32(edges), near, around, turns]))


def doubles():
    """Doubles of every size and sign, the edges of exp, and numbers near 0, 1 and -1."""
    rng = np.random.default_rng(0)
    spread = [rng.uniform(-width, width, 400) for width in (1, 3, 8, 40, 760)]
    close = np.exp(rng.uniform(-37, 0, 400)) * rng.choice([-1, 1], 400)
    bits = rng.integers(0, 2**64, 400, dtype=np.uint64).view(np.float64)
    edges = [
        709.782712893384,
        709.7827128933841,
        -708.4,
        -745.13,
        -745.14,
        -1 + 2**-53,
        1 - 2**-53,
        1 + 2**-52,
    ]
    small = [5e-324, -5e-324, 1e-310, 2.2250738585072014e-308, 1.7976931348623157e308]
    return torch.from_numpy(np.concatenate([*spread, close, 1 + close, close - 1, bits, edges, small]))


def units_apart(found, expected):
    """Units in the last place between floats, counted along the line of all of them."""

    def place(x):
        bits = x.numpy().view(np.int32).astype(np.int64)
        return np.where(bits < 0, -(bits & 0x7FFFFFFF), bits)

    return np.abs(place(found) - place(expected))


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_of_floats_are_within_a_few_units_in_the_last_place(library, name):
    function, _, allowed, _ = FUNCTIONS[name]
    x = dense()
    y = torch.empty_like(x)
    getattr(library, f"{name}_f32")(ctypes.c_long(len(x)), pointer(x), pointer(y))
    exact = function(x.double()).float()
    assert torch.equal(y.isnan(), exact.isnan())
    number = ~exact.isnan()
    apart = units_apart(y[number], exact[number])
    apart[(y[number] - exact[number]).abs() < 1.1754944e-38] = 0  # below the smallest normal number
    worst = int(apart.argmax())
    assert apart.max() <= allowed + WITHOUT_FUSED, f"{apart.max()} at {x[number][worst]}: {y[number][worst]}"


@pytest.mark.parametrize("name", OF_DOUBLES)
def test_functions_of_doubles_are_within_a_few_units_in_the_last_place(library, name):
    _, function, _, allowed = FUNCTIONS[name]
    x = doubles()
    y = torch.empty_like(x)
    getattr(library, f"{name}_f64")(ctypes.c_long(len(x)), pointer(x), pointer(y))
    smallest = 2.0**-1022
    with mpmath.workprec(120):
        for given_x, found in zip(x.tolist(), y.tolist(), strict=True):
            if (name.startswith("log") and given_x < (-1 if name == "log1p" else 0)) or math.isnan(given_x):
                assert math.isnan(found), given_x
                continue
            exact = function(mpmath.mpf(given_x))
            if math.isinf(float(exact)) or math.isinf(found):
                assert found == float(exact), given_x
                continue
            unit = math.ulp(max(abs(float(exact)), smallest))
            # a sigmoid this small is 0, because 1 + exp(-x) is infinite
            off = 0 if name == "sigmoid" and exact < smallest else float(abs(found - exact) / unit)
            assert off <= allowed + WITHOUT_FUSED, f"{off} at {given_x!r}: {found!r}"


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_zero_keeps_its_sign_and_infinity_and_nan_are_those_of_torch(library, name, dtype):
    tiny = torch.finfo(dtype).smallest_normal
    special = [0.0, -0.0, math.inf, -math.inf, math.nan, -1.0, tiny, -tiny, tiny / 4, -tiny / 4]
    x = torch.tensor(special * 7, dtype=dtype)  # long enough to be in vectors
    y = torch.empty_like(x)
    suffix = "_f32" if dtype is torch.float32 else "_f64"
    getattr(library, name + suffix)(ctypes.c_long(len(x)), pointer(x), pointer(y))
    expected = FUNCTIONS[name][0](x)
    torch.testing.assert_close(y, expected, rtol=1e-6, atol=0, equal_nan=True)
    number = ~expected.isnan()
    assert torch.equal(y[number].signbit(), expected[number].signbit())


def test_loops_over_the_functions_become_vector_code(tmp_path):
    compiler = find_compiler()
    said = subprocess.run([*compiler.command, "-v"], capture_output=True, text=True, check=True).stderr
    version = re.search(r"^gcc version (\d+)", said, re.MULTILINE)
    if version is None or int(version[1]) < 12 or "avx2" not in cpu().split():
        pytest.skip("only GCC 12 or newer says what we look for, and only of AVX2 do we know it")
    lines = ['#include "flatout_kernels.h"', *loops(FUNCTIONS, "float", "_f32")]
    lines += loops(OF_DOUBLES, "double", "_f64")
    source = tmp_path / "loops.c"
    source.write_text("\n".join(lines) + "\n")
    headers = build_module.__file__.rsplit("/", 1)[0]
    call = [*compiler.command, *compiler.flags, "-fopt-info-vec-optimized", f"-I{headers}", str(source)]
    done = subprocess.run(
        [*call, "-S", "-o", str(tmp_path / "loops.s")], capture_output=True, text=True, check=True
    )
    vectors = {int(n) for n in re.findall(r"loops\.c:(\d+):\d+: optimized: loop vectorized", done.stderr)}
    assert [line for n, line in enumerate(lines, 1) if n > 1 and n not in vectors] == []


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
