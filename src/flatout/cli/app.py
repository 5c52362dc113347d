"""`flatout`: the commands, and how errors become messages and exit statuses.

    0    done
    1    training failed: the loss left the numbers, or the task's own code raised; doctor: not healthy
    2    bad input: one message, nothing half-written
    130  interrupted with Ctrl-C

`flatout profile` ends with the status of the script it ran.

Nothing here imports torch, so that `flatout --help` answers at once.
"""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from flatout._version import __version__
from flatout.cli import advise, devices, doctor, gpus, graph, lab, profile, race, runs, train, watch
from flatout.cli.message import say
from flatout.cli.profile_options import ProfileCommand
from flatout.errors import FlatoutError, NonFiniteLossError

app = typer.Typer(
    name="flatout",
    help="Train PyTorch models at the speed of the hardware they run on, and say why.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command(name="train")(train.train)
app.command(name="race")(race.race)
app.command(name="graph")(graph.graph)
app.command(name="profile", cls=ProfileCommand, context_settings=profile.SETTINGS)(profile.profile)
app.add_typer(lab.app, name="lab")
app.command(name="runs")(runs.runs)
app.command(name="watch")(watch.watch)
app.command(name="gpus")(gpus.gpus)
app.command(name="advise")(advise.advise)
app.command(name="devices")(devices.devices)
app.command(name="doctor")(doctor.doctor)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"flatout {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


def main() -> None:
    """Run the command line; a wrong input ends with one message and exit status 2."""
    try:
        app()
    except FlatoutError as error:
        say(str(error))
        sys.exit(1 if isinstance(error, NonFiniteLossError) else 2)
    except BrokenPipeError:
        sys.stderr.close()  # the reader of our output has left; there is nobody to tell
        sys.exit(1)
