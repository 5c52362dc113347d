"""A call that read a tensor, kept so that it can be made again when the script has ended."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any


@dataclass(frozen=True)
class Reading:
    """A call that read a tensor.

    Attributes:
        function: that was called.
        storage: of the tensor: without its graph, and got without an operator, which the script might count.
        view: of the storage: the type, the offset, the sizes and the strides of the tensor.
        args: what the function was given beside the tensor.
        kwargs: likewise, by name.
    """

    function: Callable[..., Any]
    storage: Any
    view: tuple[Any, int, tuple[int, ...], tuple[int, ...]]
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]

    @staticmethod
    def of(function: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Reading | None:
        """A call whose first argument is the tensor; None where that is no plain tensor of the CPU."""
        import torch

        tensor = args[0]
        plain = type(tensor) in (torch.Tensor, torch.nn.Parameter) and tensor.layout is torch.strided
        if not plain or tensor.device.type != "cpu":
            return None
        view = (tensor.dtype, tensor.storage_offset(), tuple(tensor.shape), tensor.stride())
        return Reading(function, tensor.untyped_storage(), view, args[1:], kwargs)

    def again(self) -> Callable[[], Any]:
        """The call, on another tensor with the same memory."""
        import torch

        dtype, *place = self.view
        tensor = torch.empty(0, dtype=dtype).set_(self.storage, *place)
        return partial(self.function, tensor, *self.args, **self.kwargs)
