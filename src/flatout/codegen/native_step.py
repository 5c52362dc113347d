"""A traced step as a function of C: all stages in a row."""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import math
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Thread

import torch
from torch import Tensor

from flatout.codegen import (  # noqa: F401  (they note the lowerings of the operators)
    operators,
    operators_host,
    operators_index,
    operators_matmul,
    operators_pointwise,
    operators_reduce,
    operators_shape,
)
from flatout.codegen.build import Built, build, foreseen_seconds
from flatout.codegen.fuse import collapse, fuse
from flatout.codegen.lower import Lowerer
from flatout.codegen.memory import plan_memory
from flatout.codegen.nest import Program
from flatout.codegen.parallel import is_worth_sharing, plan_threads
from flatout.codegen.render_c import FUNCTION, render
from flatout.codegen.slices import LEAST_BATCH, slice_batch
from flatout.codegen.team import Team
from flatout.errors import SetupTooLongError
from flatout.step.graph import StepGraph

_ALIGNMENT = 64
_COUNTERS = 16  # int64s the threads count themselves in


@dataclass(frozen=True)
class Source:
    """The C of a step.

    Attributes:
        text: the source.
        program: the loop nests it was rendered from.
        arena: bytes of memory its temporaries take.
    """

    text: str
    program: Program
    arena: int


def source_of(
    graph: StepGraph,
    strides: Sequence[tuple[int, ...]],
    title: str,
    data: Sequence[Tensor] = (),
    threads: int = 1,
) -> Source:
    """Lower, fuse, place and render a step.

    Args:
        graph: the step.
        strides: of each state tensor, in elements.
        title: for the comment at the top.
        data: the leaves of the data, where they are known: small labels are handled as int32 then.
        threads: how many may share a step that is much work.

    Raises:
        NotLoweredError: an operator has no loop nest; the message names it and its layer.
    """
    in_slices = graph.batch_size >= LEAST_BATCH or min(threads, graph.batch_size // _LEAST_PART) > 1
    program = Lowerer(graph, strides, graph.batch_size >= _LEAST_BATCH, narrow_leaves(data), in_slices).run()
    fuse(program)
    parts = min(threads, graph.batch_size // _LEAST_PART) if is_worth_sharing(program) else 1
    slice_batch(program, graph.batch_size, max(1, parts))
    collapse(program)
    if parts > 1:
        plan_threads(program)
    offsets, size = plan_memory(program)
    return Source(_marked(render(program, offsets, title)), program, size)


def _marked(text: str) -> str:
    """The source with its checksum in the first line, which tells an edit what it was made from."""
    checksum = hashlib.sha256(text.encode()).hexdigest()[:8]
    first, _, rest = text.partition("\n")
    return f"{first.removesuffix(' */')} (generated as {checksum}) */\n{rest}"


def narrow_leaves(data: Sequence[Tensor]) -> list[int]:
    """Which leaves of the data the generated code reads as int32, by position."""
    return [position for position, leaf in enumerate(data) if _fits_int32(leaf)]


def _fits_int32(leaf: Tensor) -> bool:
    if leaf.dtype != torch.int64 or not leaf.numel():
        return False
    limits = torch.iinfo(torch.int32)
    return int(leaf.min()) >= limits.min and int(leaf.max()) <= limits.max


# With fewer samples the features are the vectors, not the batch.
_LEAST_BATCH = 8
# Samples of a step that are worth a thread.
_LEAST_PART = 64


class NativeStep:
    """A step that is compiled and bound to the tensors it works on.

    Args:
        graph: the step.
        state: the live tensors, in the order of the layout; they are updated in place.
        data: the leaves of the resident data, contiguous.
        title: for the comment at the top of the C.
        most_s: seconds the build may take, as far as that is foreseen.

    Raises:
        SetupTooLongError: it would take longer.
    """

    def __init__(
        self,
        graph: StepGraph,
        state: Sequence[Tensor],
        data: Sequence[Tensor],
        title: str,
        most_s: float = math.inf,
    ) -> None:
        source = source_of(graph, [tuple(t.stride()) for t in state], title, data, _threads())
        self.program = source.program
        foreseen = foreseen_seconds(source.text) if math.isfinite(most_s) else 0.0
        if foreseen > most_s:
            raise SetupTooLongError(f"building the C of its step would take about {foreseen:.1f} s")
        self.built: Built = build(source.text)
        self._state = list(state)
        self._constants = list(graph.constants().values())
        self._data = list(data)
        self._arena = torch.zeros(source.arena + _ALIGNMENT, dtype=torch.uint8)
        self._function = getattr(self.built.library, FUNCTION)
        self._function.restype = None
        self._team = Team(_threads() if source.program.parallel else 1)
        self._blas = [_blas("sgemm_"), _blas("dgemm_")]
        assert source.program.loss is not None
        self._loss_dtype = getattr(torch, source.program.loss.dtype)

    def bind(self, state: Sequence[Tensor], data: Sequence[Tensor]) -> None:
        """Work on these tensors from now on, with these leaves of the data.

        Raises:
            ValueError: the state has not the shapes and strides it had before.
        """
        for old, new in zip(self._state, state, strict=True):
            if old.shape != new.shape or old.stride() != new.stride() or old.dtype != new.dtype:
                raise ValueError("the state has another layout than the one that was compiled")
        self._state = list(state)
        self._data = list(data)

    def run(self, order: Tensor, scalars: Tensor, seed: int = 0, first_step: int = 0) -> Tensor:
        """Run `len(order)` steps; returns their losses.

        Args:
            order: int64 `[steps, batch]` on the host; rows that are one row (stride 0) are gathered once.
            scalars: float64 `[steps, scalars]`.
            seed: of the random numbers.
            first_step: the number of the first of these steps, on which the random numbers depend.
        """
        losses = torch.empty(len(order), dtype=self._loss_dtype)
        if order.stride(1) != 1:
            order = order.contiguous()
        done = 0
        while done < len(order):
            threads, count = self._team.next(len(order) - done)
            piece = slice(done, done + count)
            begun = time.perf_counter()
            self._call(order[piece], scalars[piece], losses[piece], threads, (seed, first_step + done))
            self._team.note(threads, count, time.perf_counter() - begun)
            done += count
        return losses

    def _call(
        self, order: Tensor, scalars: Tensor, losses: Tensor, threads: int, place: tuple[int, int]
    ) -> None:
        arena = self._arena.data_ptr()
        arena += -arena % _ALIGNMENT
        counters = (ctypes.c_int64 * _COUNTERS)()
        shared = (
            ctypes.c_long(len(order)),
            ctypes.c_void_p(order.data_ptr()),
            ctypes.c_long(order.stride(0) if len(order) > 1 else 0),
            _pointers(self._state),
            _pointers([*self._data, *self._constants]),
            ctypes.c_void_p(scalars.data_ptr()),
            ctypes.c_uint64(place[0]),
            ctypes.c_uint64(place[1]),
            ctypes.c_void_p(losses.data_ptr()),
            ctypes.c_void_p(arena),
            *self._blas,
        )
        others = [
            Thread(target=self._function, args=(*shared, ctypes.c_long(i), ctypes.c_long(threads), counters))
            for i in range(1, threads)
        ]
        for other in others:
            other.start()
        self._function(*shared, ctypes.c_long(0), ctypes.c_long(threads), counters)
        for other in others:
            other.join()


def _threads() -> int:
    """As many as `$FLATOUT_THREADS` says, else as torch uses; no more than there are cores."""
    wish = os.environ.get("FLATOUT_THREADS", "")
    available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(int(wish) if wish.isdigit() else torch.get_num_threads(), available))


def _pointers(tensors: Sequence[Tensor]) -> ctypes.Array[ctypes.c_void_p]:
    return (ctypes.c_void_p * max(1, len(tensors)))(*(t.data_ptr() for t in tensors))


def _blas(name: str) -> ctypes.c_void_p:
    """The matrix product of the BLAS that torch has loaded; 0 where it exports none."""
    libraries = [ctypes.CDLL(None)]
    with contextlib.suppress(OSError):
        libraries.append(ctypes.CDLL(_torch_library()))
    for library in libraries:
        function = getattr(library, name, None)
        if function is not None:
            return ctypes.cast(function, ctypes.c_void_p)
    return ctypes.c_void_p(0)


def _torch_library() -> str:
    folder = Path(torch.__file__).parent / "lib"
    return str(next(iter(folder.glob("libtorch_cpu.*"))))
