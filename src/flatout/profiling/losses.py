"""The first losses of a script, to tell whether a fix changes what it computes."""

from __future__ import annotations

from typing import Any, Final

from flatout.profiling.patches import Function, Patches

_MOST: Final = 200


class Losses:
    """Keeps what `backward` is called on; reads it only at the end."""

    def __init__(self) -> None:
        self._patches = Patches()
        self._kept: list[Any] = []

    def install(self) -> None:
        """Begin; torch must be loaded."""
        import torch

        self._patches.wrap(torch.autograd, "backward", self._backward)

    def numbers(self) -> list[float]:
        """The losses, and an end to keeping them."""
        self._patches.restore()
        return [float(loss) for loss in self._kept]

    def _backward(self, original: Function) -> Function:
        import torch

        def backward(tensors: Any, *args: Any, **options: Any) -> Any:
            if len(self._kept) < _MOST and isinstance(tensors, torch.Tensor) and tensors.numel() == 1:
                self._kept.append(tensors.detach())
            return original(tensors, *args, **options)

        return backward
