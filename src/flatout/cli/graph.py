"""`flatout graph`: one training step as people can read it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer

from flatout.cli import task_options as options

if TYPE_CHECKING:
    from flatout.step.graph import StepGraph
    from flatout.task.task import Task

_GRAPH = "Graph"


def graph(
    task: options.TaskName = None,
    epochs: options.Epochs = None,
    steps: options.Steps = None,
    batch_size: options.BatchSize = None,
    lr: options.LearningRate = None,
    seed: options.Seed = None,
    clip_grad_norm: options.ClipGradNorm = None,
    validate_every: options.ValidateEvery = None,
    patience: options.Patience = None,
    target: options.Target = None,
    hidden: options.Hidden = None,
    regression: options.Regression = None,
    text: options.TextColumns = None,
    device: Annotated[
        str, typer.Option(help="cpu, cuda, cuda:1, gpu: where the step would run.", rich_help_panel=_GRAPH)
    ] = "cpu",
    code: Annotated[
        bool, typer.Option("--code", help="Print the C that the plan native runs.", rich_help_panel=_GRAPH)
    ] = False,
    as_json: Annotated[
        bool,
        typer.Option("--json", help="Print one JSON document instead.", rich_help_panel=_GRAPH),
    ] = False,
) -> None:
    """Show one training step: its operators by layer, FLOPs, bytes, launches, memory, and the least time."""
    source = options.with_whole_path(options.task_options(locals()))
    loaded = options.loaded(source)
    from flatout.hardware import find_device
    from flatout.step.trace_task import traced_copy

    place = find_device(device)
    step, copy = traced_copy(loaded, place)
    if code:
        _print_code(step, copy, source["spec"])
    elif as_json:
        _print_json(step, copy, str(place))
    else:
        _print_view(step, copy, str(place))


def _print_view(step: StepGraph, task: Task, device: str) -> None:
    from rich.console import Console

    from flatout.hardware.peaks import peaks_of
    from flatout.report.step_view import step_view

    Console(highlight=False).print(step_view(task.name, step.cost, peaks_of(device), device))


def _print_json(step: StepGraph, task: Task, device: str) -> None:
    from dataclasses import asdict

    from flatout.hardware.peaks import peaks_of
    from flatout.report.step_view import by_layer

    document = {
        "task": task.name,
        "device": device,
        "batch_size": step.batch_size,
        "flops": step.flops,
        "bytes": step.bytes,
        "launches": step.launches,
        "peak_memory": step.peak_memory,
        "floor_us": step.floor(device) * 1e6,
        "peaks": asdict(peaks_of(device)),
        "layers": [row.document() for row in by_layer(step.cost)],
    }
    typer.echo(json.dumps(document))


def _print_code(step: StepGraph, task: Task, spec: str) -> None:
    """The C on standard output; where it is kept, and how to run another, on standard error."""
    from flatout.plans.native_source import native_source

    source = native_source(step, task)
    typer.echo(source.text.rstrip())
    if source.kept is None:
        typer.echo(f"\n{source.reason}", err=True)
        return
    typer.echo(f"\nkept at      {source.kept}", err=True)
    typer.echo(
        f"to change it cp {source.kept} step.c, edit it, and\n"
        f"             FLATOUT_SOURCE=step.c flatout train {spec} --plan native",
        err=True,
    )
