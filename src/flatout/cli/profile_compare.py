"""`flatout profile compare`: two profiles side by side."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

# What `flatout profile` hands on: the two files, and options on either side of them.
app = typer.Typer(
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def is_meant(script: list[str], *, module: bool) -> bool:
    """Whether `flatout profile SCRIPT ...` means the comparison: unless there is a file called compare."""
    return script[0] == "compare" and not module and not Path("compare").is_file()


@app.command()
def compare(
    before: Annotated[Path, typer.Argument(metavar="BEFORE.json", help="What --json printed, in a file.")],
    after: Annotated[Path, typer.Argument(metavar="AFTER.json", help="The same, later.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Show what changed from one profile to another, and whether it is more than noise."""
    from rich.console import Console

    from flatout.profiling.compare import compare as compare_documents
    from flatout.profiling.read_document import read_document
    from flatout.report.compare_view import compare_view

    seen = compare_documents(read_document(before), read_document(after))
    if as_json:
        typer.echo(json.dumps(seen))
    else:
        Console(highlight=False).print(compare_view(seen))
