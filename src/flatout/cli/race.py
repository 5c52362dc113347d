"""`flatout race`: time every plan on every device for a task, and say which wins and why."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flatout.cli import task_options as options
from flatout.cli.message import say
from flatout.cli.train import fitted, report

if TYPE_CHECKING:
    from flatout.racing.result import Candidate, Race
    from flatout.task.task import Task

_RACE = "Race"


def race(
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
        str, typer.Option(help="cpu, cuda, cuda:1, mps, gpu; auto: all that are here.", rich_help_panel=_RACE)
    ] = "auto",
    plan: Annotated[
        list[str] | None,
        typer.Option(
            help="A plan to race against eager; may be given again. All, where none is given.",
            rich_help_panel=_RACE,
        ),
    ] = None,
    train: Annotated[
        bool, typer.Option("--train", help="Train with the winner afterwards.", rich_help_panel=_RACE)
    ] = False,
    runs_dir: Annotated[
        Path, typer.Option(help="Where --train makes the folder of the run.", rich_help_panel=_RACE)
    ] = Path("runs"),
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="Print errors only.", rich_help_panel=_RACE)
    ] = False,
    as_json: Annotated[
        bool,
        typer.Option("--json", help="End standard output with one JSON document.", rich_help_panel=_RACE),
    ] = False,
) -> None:
    """Time every plan on every device for a task, throw out what computes something else, name the winner."""
    source = options.with_whole_path(options.task_options(locals()))
    loaded = options.loaded(source)
    if not quiet and not train:  # training says them
        options.print_notes(loaded)
    try:
        result = _raced(loaded, plan or None, device, quiet, as_json)
    except KeyboardInterrupt as stop:
        say("interrupted: the race has no winner")
        raise typer.Exit(130) from stop
    if train:
        if not quiet:
            typer.echo(err=as_json)  # between the race and the training
        winner = result.winner
        # What --train leaves on standard output before the last line is for people.
        run = fitted(source, winner.plan, winner.device, runs_dir, None, False, True, quiet, False)
        report(run, quiet or as_json, False)
    if as_json:
        typer.echo(json.dumps(result.document()))


def _raced(task: Task, plans: list[str] | None, device: str, quiet: bool, as_json: bool) -> Race:
    """The race, with a table that grows as it goes on."""
    from flatout.racing.race import race as run_race
    from flatout.racing.result import table_of, view_of

    devices = None if device == "auto" else [device]
    if quiet:
        return run_race(task, plans=plans, devices=devices)
    from rich.console import Console
    from rich.live import Live

    console = Console(stderr=as_json, highlight=False)
    with Live(console=console, auto_refresh=False, transient=True) as live:

        def show(candidates: tuple[Candidate, ...], now: str) -> None:
            live.update(table_of(candidates, now), refresh=True)

        result = run_race(task, plans=plans, devices=devices, watch=show)
    console.print(view_of(result))
    return result
