"""Random numbers made in C, for plans that are handed them: thirty times faster than the same in PyTorch."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from flatout.codegen.build import CacheError, build
from flatout.codegen.compiler import CompilerFailedError, NoCompilerError
from flatout.step.graph import RandomInput
from flatout.step.random_stream import group_count, group_size, in_shape, numbers, places

_NAMES = {torch.float32: "f32", torch.float64: "f64"}
_TYPES = {"f32": "float", "f64": "double"}
_SOURCE = "\n".join(
    [
        "/* random numbers for steps that are not generated C */",
        '#include "flatout_kernels.h"',
        *(
            f"void draw_{kind}_{name}({_TYPES[name]} *out, long groups, uint32_t draw, uint64_t step, "
            f"uint64_t seed)\n{{\n    fo_{kind}_{name}(out, groups, draw, step, seed);\n}}"
            for kind in ("uniform", "normal")
            for name in _TYPES
        ),
        "",
    ]
)


class RandomNumbers:
    """The random inputs of steps on the CPU, in memory that the next step overwrites.

    Without a C compiler they are made in PyTorch.

    Args:
        inputs: what the step draws.
    """

    def __init__(self, inputs: Sequence[RandomInput]) -> None:
        self._inputs = inputs
        self._memory = [
            torch.zeros(group_count(entry.shape, entry.dtype) * group_size(entry.dtype), dtype=entry.dtype)
            for entry in inputs
        ]
        self.tensors = [in_shape(flat, x.shape) for flat, x in zip(self._memory, inputs, strict=True)]
        self._fillers: list[Any] | None = None
        try:
            library = build(_SOURCE).library
            self._fillers = [getattr(library, f"draw_{x.kind}_{_NAMES[x.dtype]}") for x in inputs]
        except (NoCompilerError, CompilerFailedError, CacheError):
            pass  # slower, and the same numbers

    def fill(self, seed: int, step: int) -> list[Tensor]:
        """The numbers of a step."""
        for draw, entry in enumerate(self._inputs):
            if self._fillers is None:
                place = places(seed, step, 1)[0]
                self.tensors[draw].copy_(numbers(entry.kind, entry.shape, entry.dtype, draw, place))
                continue
            self._fillers[draw](
                ctypes.c_void_p(self._memory[draw].data_ptr()),
                ctypes.c_long(group_count(entry.shape, entry.dtype)),
                ctypes.c_uint32(draw),
                ctypes.c_uint64(step),
                ctypes.c_uint64(seed),
            )
        return self.tensors
