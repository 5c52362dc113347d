"""`flatout runs`: what was trained here."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer


def runs(
    directory: Annotated[Path, typer.Argument(help="The folder that holds the runs.")] = Path("runs"),
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """What was trained here: task, plan, device, steps, time, loss, metric."""
    from rich.console import Console

    from flatout.report.tables import runs_table
    from flatout.training.past import past_runs

    rows = past_runs(directory)
    if as_json:
        typer.echo(json.dumps(rows))
    elif rows:
        Console().print(runs_table(rows))
    else:
        typer.echo(f"{directory} holds no runs; flatout train iris makes one")
