"""`flatout devices`: which CPU and GPUs are here, how good they are, and whether torch can use them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from flatout.hardware.survey import Survey


def devices(
    measure: Annotated[
        bool, typer.Option("--measure", help="Measure peaks of CPU and GPU now, in under 20 seconds.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document instead.")] = False,
) -> None:
    """Show CPU, GPUs, torch and health: what you train on, how good it is, and what was measured of it."""
    survey = _measured() if measure else _seen()
    if as_json:
        typer.echo(json.dumps(survey.to_dict()))
        return
    from rich.console import Console

    from flatout.hardware.survey_words import headline, sections
    from flatout.report.devices_view import devices_view

    good = survey.health is not None and survey.health.healthy
    # Commands are to be copied: a long one goes on past the edge, and the terminal breaks it.
    Console(highlight=False).print(devices_view(headline(survey), sections(survey), good=good), crop=False)


def _seen() -> Survey:
    from flatout.hardware.survey import devices as look

    return look()


def _measured() -> Survey:
    """On standard error, what is measured at the moment."""
    from rich.console import Console

    from flatout.hardware.survey import devices as look

    with Console(stderr=True).status("looking") as status:
        return look(measure=True, on_step=lambda what: status.update(f"measuring {what}"))
