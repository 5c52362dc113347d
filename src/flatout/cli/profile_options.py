"""The options of `flatout profile` on either side of the script."""

from __future__ import annotations

import shlex
import sys
from typing import Any

from typer.core import TyperCommand

from flatout.cli.profile_compare import is_meant
from flatout.profiling.script_options import Shared, options_of, share_out


class ProfileCommand(TyperCommand):
    """Takes its options after the script, too, but for those that the script itself knows."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        takes_value = {
            name: not getattr(param, "is_flag", False)
            for param in self.params
            if param.param_type_name == "option"
            for name in param.opts
        }
        at = _script_at(args, takes_value)
        if at is None:
            return super().parse_args(ctx, args)
        before, rest = args[:at], args[at:]
        module = "-m" in before
        after = {name: value for name, value in takes_value.items() if name.startswith("--")}
        compared = is_meant(rest, module=module)
        knows = (lambda _: True) if compared else options_of(rest[0], module=module)
        shared = share_out(rest, after, knows)
        if not compared:
            _say(shared)
        return super().parse_args(ctx, [*before, *shared.own, "--", *shared.script])


def _script_at(args: list[str], takes_value: dict[str, bool]) -> int | None:
    """Where the script stands; None where all that follows is its own, or there is none."""
    at = 0
    while at < len(args) and args[at].startswith("-"):
        if args[at] == "--":
            return None
        name, same, _ = args[at].partition("=")
        at += 2 if takes_value.get(name, False) and not same else 1
    return at if at < len(args) else None


def _say(shared: Shared) -> None:
    script = shared.script[0]
    if shared.own:
        _print(
            f"{shlex.join(shared.own)} is for flatout, since {script} knows no such option; all after "
            "`flatout profile --` is for the script"
        )
    if shared.left:
        _print(
            f"{' '.join(shared.left)} is for {script}, which knows it; flatout's own stand before {script}"
        )


def _print(message: str) -> None:
    print(f"flatout: {message}", file=sys.stderr)  # noqa: T201
