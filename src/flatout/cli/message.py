"""How the command line tells what went wrong."""

from __future__ import annotations

from rich.console import Console


def say(message: str) -> None:
    """Print one message to standard error."""
    console = Console(stderr=True, highlight=False)
    console.print("[bold red]flatout:[/bold red]", end=" ")
    console.print(message, markup=False, soft_wrap=True)
