"""`flatout profile`: where the time of an unmodified training script goes, and which line costs it."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from pathlib import Path
from typing import Annotated, Any, TextIO

import typer

from flatout.cli import profile_compare
from flatout.cli.page_file import output_file, page_file, write_page

# What comes after the script is the script's own.
SETTINGS = {"allow_interspersed_args": False}


def profile(
    script: Annotated[
        list[str], typer.Argument(metavar="SCRIPT [ARGUMENT]...", help="The script, then its own arguments.")
    ],
    module: Annotated[
        bool, typer.Option("-m", help="SCRIPT is the name of a module, as for python -m.")
    ] = False,
    steps: Annotated[int, typer.Option(min=1, help="Stop measuring after this many steps.")] = 1000,
    stop: Annotated[bool, typer.Option("--stop", help="Stop the script, too, after these steps.")] = False,
    trials: Annotated[
        bool,
        typer.Option(
            "--trials/--no-trials",
            help="When the script has ended, run a copy of its model again, with fixes and without.",
        ),
    ] = True,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON document as the last line; the report to stderr.")
    ] = False,
    html: Annotated[
        Path | None, typer.Option(metavar="FILE.html", help="Write the report as a page that stands alone.")
    ] = None,
    verify: Annotated[
        bool,
        typer.Option(
            "--verify",
            help="Afterwards run the script again, files and all: five times as it is and five with each fix "
            "that can be put in. Shows measured gains beside predicted ones.",
        ),
    ] = False,
    trace: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write a Chrome trace, for ui.perfetto.dev.")
    ] = None,
) -> None:
    """Run a training script unchanged; show where its steps spend their time, and which lines cost it.

    The arguments after the script are its own. flatout's options stand before it, or after it where the
    script knows no option of that name; what was taken is said. After `flatout profile --` all is the
    script's. The exit status is the script's.

    flatout profile compare BEFORE.json AFTER.json shows what changed between two profiles that --json
    printed. A script that is called compare is run where it is a file: ./compare.
    """
    if profile_compare.is_meant(script, module=module):
        given = [*script[1:], *(["--json"] if as_json else [])]
        profile_compare.app(given, prog_name="flatout profile compare")
    from flatout.profiling.profile import profile_script
    from flatout.profiling.same import ENDED
    from flatout.profiling.tracing.file import TraceFile
    from flatout.profiling.verify import Script

    again = Script(script, module, steps, stop, Path.cwd(), dict(os.environ))  # before it changes any of it
    events = None if trace is None else TraceFile(output_file(trace, "--trace", "a file"))
    page = None if html is None else page_file(html)
    output, errors = kept_open(sys.stdout), kept_open(sys.stderr)
    unwritten: list[bool] = []

    def report(seen: dict[str, Any]) -> None:
        from rich.console import Console

        from flatout.report.profile_view import profile_view

        console = Console(file=errors if as_json else output, highlight=False)
        console.print(profile_view(seen))
        if verify and seen["findings"] and seen["outcome"] in ENDED:
            from flatout.cli.profile_verify import verified
            from flatout.report.verify_view import verify_view

            seen["verified"] = verified(again, seen)
            console.print(verify_view(seen["verified"]))
        if as_json:
            print(json.dumps(seen), file=output)
        output.flush()
        errors.flush()
        try:
            if page is not None:
                from flatout.report.profile_html import profile_html

                unwritten.append(write_page(page, profile_html(seen)))
        finally:  # a page that cannot be written is no reason to lose the trace
            if events is not None:
                events.write()

    outcome, seen = profile_script(
        script,
        module=module,
        steps=steps,
        stop=stop,
        trials=trials,
        last_words=report,
        trace_file=events,
    )
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(ValueError, AttributeError):  # the script may have closed it
            stream.flush()
    if seen is not None:
        report(seen)
    raise typer.Exit(outcome.status or (2 if any(unwritten) else 0))


def kept_open(stream: TextIO) -> TextIO:
    """The stream; the same file by a descriptor of its own where it has one, for the script may close it."""
    try:
        descriptor = os.dup(stream.fileno())
    except (OSError, ValueError, AttributeError):
        return stream
    return open(descriptor, "w", encoding=stream.encoding, errors=stream.errors)  # noqa: PTH123
