"""Remedies that are one setting: how the optimizer updates, on how many threads torch computes."""

from __future__ import annotations

import inspect
from typing import Any

from flatout.profiling.patches import Function
from flatout.profiling.remedies.remedy import Remedy
from flatout.profiling.user_lines import Line


class OptimizerOption(Remedy):
    """Every optimizer that knows the option `fused` or `foreach`, and was given neither, is given it.

    Args:
        line: of the finding.
        option: its name.
    """

    def __init__(self, line: Line, option: str) -> None:
        super().__init__(line)
        self._option = option
        self.words = f"{option}=True"

    def install(self) -> None:
        import torch

        for cls in vars(torch.optim).values():
            if isinstance(cls, type) and issubclass(cls, torch.optim.Optimizer):
                signature = inspect.signature(cls.__init__)
                if self._option in signature.parameters:
                    self.patches.wrap(cls, "__init__", self._init)

    def _init(self, original: Function) -> Function:
        signature = inspect.signature(original)

        def make(optimizer: Any, *args: Any, **options: Any) -> None:
            given = signature.bind_partial(optimizer, *args, **options).arguments
            if not given.get("fused") and not given.get("foreach"):
                options[self._option] = True
                self.applied += 1
            original(optimizer, *args, **options)

        return make


class Threads(Remedy):
    """torch computes on so many threads, whatever the script says.

    Args:
        line: of the finding.
        count: of threads.
    """

    def __init__(self, line: Line, count: int) -> None:
        super().__init__(line)
        self._count = count
        self.words = f"{count} thread{'s'[: count != 1]}"

    def install(self) -> None:
        import torch

        self._before = torch.get_num_threads()
        torch.set_num_threads(self._count)
        self.patches.wrap(torch, "set_num_threads", lambda original: lambda count: None)
        self.applied += 1

    def remove(self) -> None:
        import torch

        super().remove()
        torch.set_num_threads(self._before)
