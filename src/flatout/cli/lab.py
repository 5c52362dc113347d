"""`flatout lab`: the lessons as experiments on this machine, a command a lab."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryFile
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flatout.cli.message import say

if TYPE_CHECKING:
    from rich.console import RenderableType

app = typer.Typer(no_args_is_help=True, help="Ask this machine the questions of a first course: a lab each.")

Device = Annotated[
    list[str] | None,
    typer.Option(
        help="cpu, cuda, cuda:1, mps, gpu; may be given again. All that are here, where none is given."
    ),
]
Rounds = Annotated[
    int | None,
    typer.Option(
        help="Rounds to measure; as many as --seconds give, where none is given.", show_default=False
    ),
]
Seconds = Annotated[float, typer.Option(min=0, help="Seconds to measure, about, without --rounds.")]
Picture = Annotated[
    Path | None, typer.Option(help="Draw the result into this file: .png, .svg or .pdf.", show_default=False)
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print errors only.")]
AsJson = Annotated[
    bool, typer.Option("--json", help="Print one JSON document as the last line; the report to stderr.")
]


@app.command(name="logging")
def logging(
    every: Annotated[
        list[int] | None,
        typer.Option(help="Read the loss after so many epochs; may be given again. 1, 100, 200, 1000, 2000."),
    ] = None,
    epochs: Annotated[int, typer.Option(min=1, help="Epochs of a run.")] = 2000,
    rounds: Rounds = None,
    seconds: Seconds = 60.0,
    device: Device = None,
    picture: Picture = None,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """What it costs to read the loss: every epoch, every 100, 200, 1,000, 2,000, and never."""
    _check_picture(picture)
    from flatout.labs import logging_lab, logging_words
    from flatout.labs.paired import LEVEL
    from flatout.labs.places import measured_on, places
    from flatout.labs.rounds import Effort
    from flatout.report.logging_picture import plot_logging
    from flatout.report.logging_view import logging_view

    where = places(device or ())
    with _progress("training", quiet) as watch:
        found = logging_lab.run_lab(
            where.devices,
            intervals=every or logging_lab.INTERVALS,
            epochs=epochs,
            effort=Effort(rounds, seconds),
            watch=watch,
        )
    seen = logging_lab.document(found, epochs=epochs) | {
        "verdict": logging_words.verdict(found),
        "title": logging_words.title(found),
        "lessons": logging_words.lessons(found),
        "scaled": logging_words.scaled(epochs),
        "course_epochs": logging_lab.COURSE_EPOCHS,
        "level": LEVEL,
        "left_out": list(where.left_out),
        "measured_on": measured_on(where.devices),
    }
    _tell(seen, logging_view, plot_logging, picture, quiet, as_json)


@app.command(name="crossover")
def crossover(
    largest_batch: Annotated[int, typer.Option(help="Batches go from 1 to this.")] = 16_384,
    largest_width: Annotated[int, typer.Option(help="Widths go from 8 to this.")] = 2048,
    native: Annotated[
        bool,
        typer.Option("--native/--no-native", help="On the CPU, race the plan native against eager, too."),
    ] = True,
    rounds: Rounds = None,
    seconds: Seconds = 30.0,
    device: Device = None,
    picture: Picture = None,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """From what batch and width on a GPU is faster than the CPU, and what a step costs before it computes."""
    _check_picture(picture)
    from flatout.labs import crossover_lab, crossover_words, mlp_steps
    from flatout.labs.places import measured_on, places
    from flatout.labs.rounds import Effort
    from flatout.report.crossover_picture import plot_crossover
    from flatout.report.crossover_view import crossover_view

    asked = crossover_lab.sweeps(largest_batch, largest_width)
    where = places(device or ())
    with _progress("training", quiet) as watch:
        swept, left_out = crossover_lab.run_lab(
            where.devices, asked, native=native, effort=Effort(rounds, seconds), watch=watch
        )
    seen = crossover_words.document(swept, mlp_steps.operators()) | {
        "left_out": [*where.left_out, *left_out],
        "measured_on": measured_on(where.devices),
    }
    _tell(seen, crossover_view, plot_crossover, picture, quiet, as_json)


@app.command(name="call")
def call(
    rounds: Rounds = None,
    seconds: Seconds = 10.0,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """What self.fc1(x) does that self.fc1.forward(x) does not, and what that costs."""
    import torch

    from flatout.labs import call_lab
    from flatout.labs.places import measured_on
    from flatout.labs.rounds import Effort
    from flatout.report.call_view import call_view

    with _progress("calling", quiet) as watch:
        rows = call_lab.timed(effort=Effort(rounds, seconds), watch=watch)
        seen = call_lab.document(call_lab.observed(), rows)
    seen |= {"left_out": [], "measured_on": measured_on([torch.device("cpu")])}
    _tell(seen, call_view, None, None, quiet, as_json)


def _tell(
    seen: dict[str, Any],
    view: Callable[[dict[str, Any]], RenderableType],
    draw: Callable[[Path, dict[str, Any]], object] | None,
    picture: Path | None,
    quiet: bool,
    as_json: bool,
) -> None:
    """The report for people, the picture, and the document for programs."""
    if not quiet:
        from rich.console import Console

        Console(stderr=as_json, highlight=False).print(view(seen))
    if picture is not None and draw is not None:
        from flatout.errors import LabError

        try:
            draw(picture, seen)
        except OSError as error:
            raise LabError(f"the picture cannot be drawn into {picture}: {error}") from error
        if not quiet:
            typer.echo(f"picture  {picture}", err=as_json)
    if as_json:
        typer.echo(json.dumps(seen))


@contextmanager
def _progress(what: str, quiet: bool) -> Iterator[Callable[[int, int], object] | None]:
    """On standard error, which round it is; Ctrl-C ends the lab without a result."""
    try:
        if quiet:
            yield None
            return
        from rich.console import Console

        with Console(stderr=True).status("warming up") as status:
            yield lambda done, rounds: status.update(f"{what}: round {done + 1} of {rounds}")
    except KeyboardInterrupt as stop:
        say("interrupted: the lab has no result")
        raise typer.Exit(130) from stop


def _check_picture(picture: Path | None) -> None:
    """Whether it can be drawn, before anything is measured."""
    if picture is None:
        return
    from flatout.errors import LabError
    from flatout.report.picture import check_picture

    try:
        check_picture(picture)
        picture.parent.mkdir(parents=True, exist_ok=True)
        TemporaryFile(dir=picture.parent).close()
    except ValueError as error:
        raise LabError(str(error)) from error
    except OSError as error:
        raise LabError(f"the picture cannot be drawn into {picture}: {error}") from error
