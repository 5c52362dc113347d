"""Numbers that are read from their tensors when somebody uses them, many at once.

`later(tensor)` stands for `tensor.item()`, and what is computed from it waits, too, so that
`total += later(loss)` reads nothing. As soon as one of them is used (shown, compared, converted), or when a
hundred wait, all that wait are read together: one wait for the device instead of a hundred. The numbers are
those of `item()`, bit for bit.
"""

from __future__ import annotations

import builtins
import operator
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from flatout.errors import FlatoutError

if TYPE_CHECKING:
    from torch import Tensor

_MOST: Final = 100
_waiting: list[Later] = []

_ARITHMETIC: Final = ("add", "sub", "mul", "truediv", "floordiv", "mod", "pow")
_COMPARISONS: Final = ("lt", "le", "eq", "ne", "gt", "ge")
_UNARY: Final = ("neg", "pos", "abs")
_CONVERSIONS: Final = ("float", "int", "complex", "bool", "str", "repr", "hash", "round", "format")


class Later:
    """A number that is not read yet: of a tensor, or computed from others that wait.

    It is a number to everything that converts what it is given. What insists on a `float` itself (the C
    encoder of json, struct) refuses it.
    """

    __slots__ = ("_compute", "_number", "_tensor", "_version")

    def __init__(self, tensor: Tensor | None, compute: Callable[[], Any] | None = None) -> None:
        self._tensor, self._compute, self._number = tensor, compute, None
        self._version = None if tensor is None else tensor._version
        if len(_waiting) >= _MOST:
            read_all()
        _waiting.append(self)

    @property
    def value(self) -> Any:
        """The number; reads all that wait."""
        if self._tensor is not None or self._compute is not None:
            read_all()
        return self._number

    @property
    def __class__(self) -> type:  # isinstance(loss, float) is asked of a number
        return type(self.value)

    @__class__.setter
    def __class__(self, _: type) -> None:
        raise TypeError("a number has no other class")

    def __getattr__(self, name: str) -> Any:
        return getattr(self.value, name)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self.value), (self.value,)


def later(value: Any) -> Any:
    """What stands for `value.item()`, read later; where it is no tensor, `item()` itself."""
    import torch

    if not isinstance(value, torch.Tensor) or value.numel() != 1:
        return value.item()
    # A tensor that a loop may add to later is copied; the result of an operation that has a gradient is not.
    kept = value.detach() if value.grad_fn is not None and not value._is_view() else value.detach().clone()
    return Later(kept)


def later_float(value: Any) -> Any:
    """What stands for `float(value)`."""
    import torch

    number = isinstance(value, torch.Tensor) and value.numel() == 1 and value.dtype.is_floating_point
    return later(value) if number else float(value)


def read_all() -> None:
    """Read all that wait: the tensors of a device and a type together, then what is computed from them.

    Raises:
        FlatoutError: a tensor was changed since, so that its number is lost.
    """
    todo = _waiting[:]
    _waiting.clear()
    groups: dict[Any, list[Later]] = {}
    for one in todo:
        tensor = one._tensor
        if tensor is not None:
            if tensor._version != one._version:
                raise FlatoutError("a tensor was changed before its number was used: keep a clone of it")
            groups.setdefault((tensor.device, tensor.dtype), []).append(one)
    import torch

    for group in groups.values():
        numbers = torch.stack([one._tensor.reshape(()) for one in group if one._tensor is not None]).tolist()
        for one, number in zip(group, numbers, strict=True):
            one._number, one._tensor = number, None
    for one in todo:
        if one._compute is not None:
            one._number, one._compute = one._compute(), None


def _now(value: Any) -> Any:
    return value.value if type(value) is Later else value


def _waits(value: Any) -> bool:
    return type(value) is Later or type(value) in (int, float, bool)


def _binary(name: str) -> tuple[Callable[..., Any], Callable[..., Any]]:
    of = getattr(operator, name)

    def forward(self: Later, other: Any) -> Any:
        if _waits(other):
            return Later(None, lambda: of(_now(self), _now(other)))
        return of(self.value, other)

    def backward(self: Later, other: Any) -> Any:
        if _waits(other):
            return Later(None, lambda: of(_now(other), _now(self)))
        return of(other, self.value)

    return forward, backward


def _at_once(of: Callable[..., Any]) -> Callable[..., Any]:
    def use(self: Later, *others: Any) -> Any:
        return of(self.value, *map(_now, others))

    return use


def _waiting_unary(of: Callable[[Any], Any]) -> Callable[[Later], Later]:
    return lambda self: Later(None, lambda: of(_now(self)))


for _name in _ARITHMETIC:
    _forward, _backward = _binary(_name)
    setattr(Later, f"__{_name}__", _forward)
    setattr(Later, f"__r{_name}__", _backward)
for _name in _COMPARISONS:
    setattr(Later, f"__{_name}__", _at_once(getattr(operator, _name)))
for _name in _UNARY:
    setattr(Later, f"__{_name}__", _waiting_unary(getattr(operator, _name)))
for _name in _CONVERSIONS:
    setattr(Later, f"__{_name}__", _at_once(getattr(builtins, _name)))
Later.__index__ = _at_once(operator.index)  # type: ignore[attr-defined]
Later.__trunc__ = _at_once(int)  # type: ignore[attr-defined]
