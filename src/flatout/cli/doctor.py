"""`flatout doctor`: why torch sees no GPU, or a slow one."""

from __future__ import annotations

import json
from typing import Annotated

import typer


def doctor(
    timeout: Annotated[
        float, typer.Option(min=1.0, help="Seconds that trying the GPU, in a child process, may take.")
    ] = 60.0,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON document with all that was seen.")
    ] = False,
) -> None:
    """Why torch sees no GPU, or a slow one: cause, evidence, fix. Exit status 0: healthy; 1: not."""
    from flatout.hardware.doctor import diagnose_machine

    diagnosis = diagnose_machine(timeout=timeout)
    if as_json:
        typer.echo(json.dumps(diagnosis.document()))
    else:
        from rich.console import Console

        from flatout.report.doctor_view import doctor_view

        # Commands are to be copied: a long one goes on past the edge, and the terminal breaks it.
        Console(highlight=False).print(doctor_view(diagnosis.document()), crop=False)
    if not diagnosis.healthy:
        raise typer.Exit(1)
