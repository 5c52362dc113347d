"""How much of an operator's time on a CPU is arithmetic: what it takes beyond being started.

The operators that a step called are called again, on tensors of the same shapes and on tensors of a single
element. Both pay the same for being started, and the difference is the arithmetic. Of one that takes long, it
is what it took in the step less its start: in a step its data is not always in the cache.
"""

from __future__ import annotations

import ast
import math
import warnings
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import cache, partial
from statistics import median
from time import perf_counter
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from flatout.racing.trace_events import Event

if TYPE_CHECKING:
    from torch import Tensor

_REPEATS: Final = 10
_ENOUGH: Final = 2000.0  # microseconds for the repeats
_LONG: Final = 100.0  # microseconds, of which the start is a small part
_LARGE: Final = 4_000_000  # elements that are not allocated only for this

# Arguments that are whole numbers. Others may be sizes that do not fit, and not every operator looks.
_HARMLESS: Final = {
    *("dim", "dim0", "dim1", "index", "start", "end", "step", "offset", "diagonal", "n", "k"),
    *("dtype", "layout", "memory_format", "input_dtype", "reduction", "ignore_index", "correction"),
    *("padding_idx", "groups", "num_weights"),
}

# The names that the profiler gives to types of elements.
_DTYPES: Final = {
    "float": "float32",
    "double": "float64",
    "c10::Half": "float16",
    "c10::BFloat16": "bfloat16",
    "c10::complex<float>": "complex64",
    "c10::complex<double>": "complex128",
    "long int": "int64",
    "long": "int64",
    "int": "int32",
    "short int": "int16",
    "short": "int16",
    "signed char": "int8",
    "unsigned char": "uint8",
    "bool": "bool",
}


@cache
def kind(name: str) -> str:
    """What an operator is: "kernel" does work, "view" none, "composite" calls others.

    >>> kind("aten::addmm"), kind("aten::view"), kind("aten::linear")
    ('kernel', 'view', 'composite')
    """
    import torch

    space, _, base = name.partition("::")
    packet = getattr(getattr(torch.ops, space), base, None)
    if packet is None or not hasattr(packet, "overloads"):
        return "kernel"
    is_view = False
    for overload in packet.overloads():
        if "out" in overload:
            continue
        with suppress(RuntimeError):  # some exist in TorchScript only
            full = name if overload == "default" else f"{name}.{overload}"
            has = torch._C._dispatch_has_kernel_for_dispatch_key
            if has(full, "CompositeImplicitAutograd"):
                return "composite"
            is_view = is_view or bool(getattr(packet, overload).is_view)
    return "view" if is_view else "kernel"


Timed = tuple[float | None, float | None]  # microseconds on single elements, and as it was called


class Called(NamedTuple):
    """An operator as a step called it; what it holds is text, so that equal calls are found.

    Attributes:
        name: with its overload, for example "aten::add.Tensor".
        types: of each argument: that of a tensor's elements, "TensorList", "Scalar", "ScalarList" or "".
        sizes: of each argument that is a tensor, or one for each tensor of a list.
        strides: likewise.
        values: of each argument that is a number, or a list of them.
    """

    name: str
    types: str
    sizes: str
    strides: str
    values: str


def called(event: Event) -> Called:
    """The operator of an event with shapes."""
    arguments = event.get("args", {})
    names = ("Input type", "Input Dims", "Input Strides", "Concrete Inputs")
    return Called(str(event["name"]), *(repr(arguments.get(name, [])) for name in names))


def arithmetic(calls: Sequence[tuple[Called, float]], budget: float = 0.5) -> list[float]:
    """Microseconds of arithmetic in each operator of a step; draws no random number of the script's.

    Args:
        calls: each operator, and the microseconds it took.
        budget: seconds to spend, about. What is not timed then starts like the others do.
    """
    import torch

    until = perf_counter() + budget
    known: dict[Called, Timed] = {}
    with torch.random.fork_rng(devices=[]), torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = [_of_call(call, us, known, until) for call, us in calls]
    pairs = [(us, own) for (_, us), own in zip(calls, found, strict=True)]
    starts = [us - own for us, own in pairs if own is not None and us <= _LONG]
    usual = median(starts) if starts else 0.0
    return [max(0.0, us - usual) if own is None else own for us, own in pairs]


def _of_call(call: Called, us: float, known: dict[Called, Timed], until: float) -> float | None:
    """The arithmetic of a call that took `us`, or None where it is not known."""
    if call not in known:
        late = perf_counter() > until
        known[call] = (None, None) if late else (_least(call, small=True), _least(call))
    start, whole = known[call]
    if start is None:
        return None
    if whole is None or whole > _LONG:
        return max(0.0, us - start)
    return min(us, max(0.0, whole - start))


def _least(call: Called, *, small: bool = False) -> float | None:
    """The least microseconds of a call, or None where it cannot be made from its description."""
    least, spent = math.inf, 0.0
    try:
        make = _maker(call, small=small)
        for repeat in range(_REPEATS):
            began = perf_counter()
            make()
            took = 1e6 * (perf_counter() - began)
            least, spent = min(least, took), spent + took
            if spent > _ENOUGH and repeat >= 2:
                break
    except Exception:  # noqa: BLE001  an operator that insists on sizes or values that are not known
        return None
    return least


def _maker(call: Called, *, small: bool) -> Callable[[], Any]:
    import torch

    space, _, name = call.name.partition("::")
    base, _, overload = name.partition(".")
    if space != "aten":
        raise ValueError(f"expected an operator of torch itself, got {call.name}: it may do anything")
    operator = getattr(getattr(torch.ops.aten, base), overload or "default")
    described = [ast.literal_eval(text) for text in call[1:]]
    places: list[Any] = []
    names: dict[str, Any] = {}
    for argument, *what in zip(operator._schema.arguments, *described, strict=True):
        value = _argument(argument, *what, small=small)
        if argument.kwarg_only:
            names[argument.name] = value
        else:
            places.append(value)
    return partial(operator, *places, **names)


def _argument(argument: Any, type_: str, size: Any, stride: Any, value: str, *, small: bool) -> Any:
    if type_ == "TensorList":
        return [_tensor("float", *layout, small=small) for layout in zip(size, stride, strict=True)]
    if type_ in _DTYPES:
        return _tensor(type_, size, stride, small=small)
    if type_ == "":  # nothing, or what the profiler does not show
        return argument.default_value if argument.has_default_value() else None
    if type_ not in ("Scalar", "ScalarList"):
        raise ValueError(f"expected a tensor, a number or a list of them, got {type_}")
    number = ast.literal_eval(value)
    if str(argument.type) in ("int", "Optional[int]") and argument.name not in _HARMLESS:
        raise ValueError(f"expected numbers that are no sizes of tensors, got {argument.name}")
    return _of_single_elements(argument.name, number) if small else number


def _tensor(type_: str, size: list[int], stride: list[int], *, small: bool) -> Tensor:
    """Ones, or zeros where they may be indices; of the same layout, or of a single element."""
    import torch

    dtype = getattr(torch, _DTYPES[type_])
    make = torch.ones if dtype.is_floating_point or dtype.is_complex else torch.zeros
    if small:
        return make([1] * len(size), dtype=dtype)
    if not math.prod(size):
        return make(size, dtype=dtype)
    span = 1 + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
    if span > _LARGE:
        raise ValueError(f"expected at most {_LARGE} elements, got {span}")
    return make(span, dtype=dtype).as_strided(size, stride)


def _of_single_elements(name: str, value: Any) -> Any:
    """A size, a shape or a number of groups that fits tensors of a single element."""
    if isinstance(value, list) and ("size" in name or "shape" in name):
        return [1] * len(value)
    return 1 if name in ("groups", "num_weights") else value
