"""Wrap the call of every module.

Dynamo and fx remember the plain call of modules. While a wrapper is there they are told that it is the plain
one, so that nothing is compiled around it, and anew when it is gone.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, Final

from flatout.profiling.patches import Function, Patches

# Where it is kept: (module, name).
_KNOWN: Final = (
    ("torch._dynamo.utils", "unpatched_nn_module_call"),
    ("torch._dynamo.variables.nn_module", "unpatched_nn_module_call"),
    ("torch.fx._symbolic_trace", "_orig_module_call"),
)


def wrap_module_call(patches: Patches, make: Callable[[Function], Function]) -> None:
    """Put `make(original)` in the place of `torch.nn.Module.__call__`, until `patches.restore()`."""
    import torch

    def follow(now: Any, before: Any) -> None:
        for module, name in _KNOWN:
            if module in sys.modules and getattr(sys.modules[module], name, None) is before:
                setattr(sys.modules[module], name, now)

    patches.wrap(torch.nn.Module, "__call__", make, then=follow)
