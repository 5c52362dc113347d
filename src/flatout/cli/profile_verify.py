"""`flatout profile --verify`: the runs that follow, and how far they are."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from flatout.profiling.verify import Script


def verified(script: Script, seen: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What came of each predicted gain; how far it is goes to standard error."""
    from flatout.profiling.verify import ROUNDS, verify

    live = sys.stderr.isatty()

    def on_run(number: int, total: int) -> None:
        words = f"verifying: the script runs again, {number} of {total}"
        if live:
            typer.echo(f"\r{words}", nl=False, err=True)
        elif number == 1:
            typer.echo(f"verifying: the script runs {total} times again", err=True)

    rows = verify(script, seen, rounds=ROUNDS, on_run=on_run)
    if live:
        typer.echo("\r\x1b[K", nl=False, err=True)
    return rows
