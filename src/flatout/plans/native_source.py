"""The C that the plan native runs for a task, and where it is kept."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from torch.utils import _pytree as pytree

from flatout.codegen.build import CacheError, build
from flatout.codegen.compiler import CompilerFailedError, NoCompilerError
from flatout.codegen.lower import NotLoweredError
from flatout.codegen.native_step import source_of
from flatout.data.load import load_data
from flatout.data.resident import ResidentData
from flatout.errors import PlanRefusedError
from flatout.plans.traced_loop import live_state
from flatout.step.graph import StepGraph
from flatout.task.task import Task


@dataclass(frozen=True)
class NativeSource:
    """The C of a step.

    Attributes:
        text: the source.
        kept: the file with it in the cache, or None.
        reason: why it is not kept; "" where it is.
    """

    text: str
    kept: Path | None
    reason: str = ""


def native_source(graph: StepGraph, task: Task) -> NativeSource:
    """The C of a traced step, built as training would build it.

    Args:
        graph: the step.
        task: what it was traced from; its optimizer has its state.

    Raises:
        PlanRefusedError: the plan native cannot run the task; the message says why.
    """
    device = live_state(task)[0].device
    if device.type != "cpu":
        raise PlanRefusedError(f"the plan native runs on the CPU, and the task lies on {device}")
    data = load_data(task, device)
    if not isinstance(data, ResidentData):
        raise PlanRefusedError("the plan native needs resident data (tensors), and this data streams in")
    strides = [tuple(tensor.stride()) for tensor in live_state(task)]
    title = f"{task.name}: steps of {graph.batch_size} samples"
    try:
        text = source_of(graph, strides, title, pytree.tree_leaves(data.tensors)).text
    except NotLoweredError as error:
        raise PlanRefusedError(f"the plan native cannot run {task.name}: {error}") from error
    try:
        kept = build(text).source
    except (NoCompilerError, CompilerFailedError, CacheError) as error:
        return NativeSource(text, None, str(error))
    if not kept.exists():
        return NativeSource(text, None, "it is not kept: the cache folder cannot be used")
    return NativeSource(kept.read_text(), kept)
