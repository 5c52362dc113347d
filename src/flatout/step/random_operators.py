"""Random operators in parts: what they do with numbers that come from outside.

Each operator of `_PARTS` becomes arithmetic on uniform or normal numbers, which a `draw` provides. The same
table serves twice. While a step is traced the draws become inputs of the graph, which a plan fills from the
stream of `random_stream`. Where a step is replayed in eager to check a plan, the mode `SameNumbers` takes
them from that stream: the real module runs, in Python, and gets the masks the plan had. Both meet the
operators in the order in which the module calls them, so the draws have the same numbers.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from flatout.step.random_stream import Kind, numbers, places
from flatout.step.untouched import NotTracedError

aten = torch.ops.aten

# (kind, shape, float32 or float64, device) to the numbers
Draw = Callable[[Kind, tuple[int, ...], torch.dtype, torch.device], Tensor]


class RandomOperators(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Takes random operators apart, with numbers from `draw`; others run as they are."""

    def __init__(self, draw: Draw) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._draw = draw

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        part = _PARTS.get(func)
        if part is None or kwargs.get("generator") is not None or _is_complex(args, kwargs):
            return func(*args, **kwargs)
        return part(self._draw, *args, **kwargs)


class SameNumbers(RandomOperators):  # type: ignore[no-untyped-call]
    """What runs inside draws the numbers that the traced plans draw in this step.

    Generators of torch stand still meanwhile.

    Args:
        seed: of the task.
        step: the number of the step in the whole training.

    Example:
        >>> with SameNumbers(seed=0, step=0):
        ...     torch.rand(3)
        tensor([0.3990, 0.9722, 0.0194])
    """

    def __init__(self, seed: int, step: int) -> None:
        super().__init__(self._next)
        self._place = places(seed, step, 1)[0]
        self._count = 0

    def _next(self, kind: Kind, shape: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
        self._count += 1
        return numbers(kind, shape, dtype, self._count - 1, self._place.to(device))


class TracedDraws(RandomOperators):  # type: ignore[no-untyped-call]
    """For tracing: `drawn` is told of each draw, and gives what stands for its numbers.

    A plan draws new numbers at each step. It could not follow a model that seeds torch's generator itself,
    or that runs its forward again in the backward and has to draw the same numbers there.

    Raises:
        NotTracedError: the step does such a thing, or draws from a generator of its own.
    """

    def __init__(self, drawn: Draw) -> None:
        super().__init__(drawn)
        self._before = torch.get_rng_state()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if torch.Tag.nondeterministic_seeded in func.tags:
            kwargs = kwargs or {}
            if kwargs.get("generator") is not None:
                raise NotTracedError(
                    f"{func} draws from a generator of its own, which a graph cannot do again"
                )
            if not torch.equal(torch.get_rng_state(), self._before):
                raise NotTracedError("its step seeds torch's generator, which a graph cannot do")
            if torch._C._current_autograd_node() is not None:
                raise NotTracedError(
                    f"its backward draws random numbers ({func}): checkpointing draws those of the forward "
                    "again, which a graph cannot do"
                )
        return super().__torch_dispatch__(func, types, args, kwargs)


# --- operators that change a tensor in place


def _bernoulli_(draw: Draw, x: Tensor, p: Any = 0.5, *, generator: None = None) -> Tensor:
    return x.copy_(_uniform_like(draw, x) < p)


def _uniform_(draw: Draw, x: Tensor, low: Any = 0.0, high: Any = 1.0, *, generator: None = None) -> Tensor:
    return x.copy_(_rounded_down(_uniform_like(draw, x), x.dtype) * (high - low) + low)


def _normal_(draw: Draw, x: Tensor, mean: Any = 0.0, std: Any = 1.0, *, generator: None = None) -> Tensor:
    return x.copy_(_normal_like(draw, x) * std + mean)


def _exponential_(draw: Draw, x: Tensor, rate: Any = 1.0, *, generator: None = None) -> Tensor:
    # Never 0, so that its logarithm is a number.
    return x.copy_((-torch.log(1 - _uniform_like(draw, x))).clamp(min=2.0**-25) / rate)


# --- operators that give a tensor


def _bernoulli(draw: Draw, x: Tensor, p: Any = None, *, generator: None = None) -> Tensor:
    return (_uniform_like(draw, x) < (x if p is None else p)).to(x.dtype)


def _dropout(draw: Draw, x: Tensor, p: float, train: bool | None) -> tuple[Tensor, Tensor]:
    if train is False or p == 0 or not x.numel():
        return x.clone(), torch.ones_like(x, dtype=torch.bool)
    if p == 1:
        return torch.zeros_like(x), torch.zeros_like(x, dtype=torch.bool)
    mask = _uniform_like(draw, x) < 1 - p
    return x * mask * (1 / (1 - p)), mask


def _uniform(draw: Draw, x: Tensor, low: Any = 0.0, high: Any = 1.0, *, generator: None = None) -> Tensor:
    return _uniform_(draw, torch.empty_like(x), low, high)


def _normal(draw: Draw, x: Tensor, mean: Any = 0.0, std: Any = 1.0, *, generator: None = None) -> Tensor:
    return _normal_(draw, torch.empty_like(x), mean, std)


def _normal_of(draw: Draw, mean: Any, std: Any = 1.0, *, generator: None = None) -> Tensor:
    tensors = [x for x in (mean, std) if isinstance(x, Tensor)]
    like = torch.broadcast_tensors(*tensors)[0]  # type: ignore[no-untyped-call]
    normal: Tensor = _normal_like(draw, like) * std + mean
    return normal.to(like.dtype)


def _normal_numbers(draw: Draw, mean: float, std: float, size: Sequence[int], **options: Any) -> Tensor:
    return _randn(draw, size, **options) * std + mean


def _rand_like(draw: Draw, x: Tensor, *, dtype: Any = None, device: Any = None, **_: Any) -> Tensor:
    return _rand(draw, x.shape, dtype=dtype or x.dtype, device=device or x.device)


def _randn_like(draw: Draw, x: Tensor, *, dtype: Any = None, device: Any = None, **_: Any) -> Tensor:
    return _randn(draw, x.shape, dtype=dtype or x.dtype, device=device or x.device)


def _rand(draw: Draw, size: Sequence[int], *, dtype: Any = None, device: Any = None, **_: Any) -> Tensor:
    dtype = dtype or torch.get_default_dtype()
    return _rounded_down(_drawn(draw, "uniform", size, dtype, device), dtype)


def _randn(draw: Draw, size: Sequence[int], *, dtype: Any = None, device: Any = None, **_: Any) -> Tensor:
    dtype = dtype or torch.get_default_dtype()
    return _drawn(draw, "normal", size, dtype, device).to(dtype)


def _randint(draw: Draw, *args: Any, dtype: Any = None, device: Any = None, **_: Any) -> Tensor:
    *limits, size = args
    low, high = limits if len(limits) == 2 else (0, limits[0])
    share = _drawn(draw, "uniform", size, torch.float64, device)
    return (torch.floor(share * (high - low)) + low).to(dtype or torch.int64)


def _randint_like(
    draw: Draw, x: Tensor, *limits: int, dtype: Any = None, device: Any = None, **_: Any
) -> Tensor:
    return _randint(draw, *limits, x.shape, dtype=dtype or x.dtype, device=device or x.device)


_PARTS: dict[Any, Callable[..., Any]] = {
    aten.bernoulli_.float: _bernoulli_,
    aten.bernoulli_.Tensor: _bernoulli_,
    aten.bernoulli.default: _bernoulli,
    aten.bernoulli.p: _bernoulli,
    aten.native_dropout.default: _dropout,
    aten.uniform_.default: _uniform_,
    aten.uniform.default: _uniform,
    aten.normal_.default: _normal_,
    aten.normal_functional.default: _normal,
    aten.normal.float_float: _normal_numbers,
    aten.normal.Tensor_float: _normal_of,
    aten.normal.float_Tensor: _normal_of,
    aten.normal.Tensor_Tensor: _normal_of,
    aten.exponential_.default: _exponential_,
    aten.rand.default: _rand,
    aten.rand_like.default: _rand_like,
    aten.randn.default: _randn,
    aten.randn_like.default: _randn_like,
    aten.randint.default: _randint,
    aten.randint.low: _randint,
    aten.randint_like.default: _randint_like,
    aten.randint_like.low_dtype: _randint_like,
}


def _uniform_like(draw: Draw, x: Tensor) -> Tensor:
    return _drawn(draw, "uniform", x.shape, x.dtype, x.device)


def _normal_like(draw: Draw, x: Tensor) -> Tensor:
    return _drawn(draw, "normal", x.shape, x.dtype, x.device)


def _drawn(draw: Draw, kind: Kind, shape: Sequence[int], dtype: torch.dtype, device: Any) -> Tensor:
    place = torch.get_default_device() if device is None else torch.device(device)
    precise = torch.float64 if dtype is torch.float64 else torch.float32
    return draw(kind, tuple(shape), precise, place)


def _rounded_down(share: Tensor, dtype: torch.dtype) -> Tensor:
    """Uniform numbers in a type with fewer bits, in which the largest must not become 1."""
    if dtype in (torch.float32, torch.float64):
        return share
    bits = 1 - round(math.log2(torch.finfo(dtype).eps))
    return (torch.floor(share * 2**bits) * 2.0**-bits).to(dtype)


def _is_complex(args: Sequence[Any], kwargs: dict[str, Any]) -> bool:
    dtypes = [x.dtype for x in args if isinstance(x, Tensor)]
    return any(dtype.is_complex for dtype in [*dtypes, kwargs.get("dtype") or torch.float32])
