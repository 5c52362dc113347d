"""Which of the options after a script are the script's own, told by its source.

An option is the script's where one of its files writes it (`"--steps"` in a parser of arguments), or writes
its name where options are made of names: by typer, fire, jsonargparse and the like, or from sys.argv. Files
of a script are itself and what it imports from its own folder.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Final

_MOST: Final = 300  # files
# What makes options of the names of parameters and fields, or reads any option.
_OF_NAMES: Final = re.compile(
    r"\b(absl|clize|cyclopts|defopt|draccus|fire|hydra|jsonargparse|LightningCLI|HfArgumentParser|plac"
    r"|pydantic_settings|simple_parsing|tap|tyro|typer|argv)\b"
)
_FILE: Final = re.compile(r"""["']([\w./-]+\.py)["']""")


@dataclass(frozen=True)
class Shared:
    """Options after a script, shared out.

    Attributes:
        own: those of flatout.
        script: the script and its own arguments.
        left: names that flatout has, too, and that were left to the script.
    """

    own: list[str]
    script: list[str]
    left: list[str]


def share_out(
    arguments: Sequence[str], takes_value: Mapping[str, bool], knows: Callable[[str], bool]
) -> Shared:
    """Take the options of flatout's out of the arguments of a script, but for those that the script knows.

    After `--` all is the script's.

    >>> share_out(["train.py", "--json", "--lr", "1", "--steps=9"], {"--json": False, "--steps": True},
    ...           lambda option: option == "--steps")
    Shared(own=['--json'], script=['train.py', '--lr', '1', '--steps=9'], left=['--steps'])

    Args:
        arguments: the script and all that comes after it.
        takes_value: the options of flatout's, and whether a value follows.
        knows: whether an option is the script's.
    """
    own: list[str] = []
    script = [arguments[0]]
    left = []
    rest = iter(arguments[1:])
    for argument in rest:
        if argument == "--":
            script += [argument, *rest]
            break
        option, same, _ = argument.partition("=")
        if option not in takes_value:
            script.append(argument)
        elif knows(option):
            script.append(argument)
            left.append(option)
        else:
            own.append(argument)
            if takes_value[option] and not same:
                own += [value for value in [next(rest, None)] if value is not None]
    return Shared(own, script, left)


def options_of(script: str, *, module: bool) -> Callable[[str], bool]:
    """Tells whether an option like "--steps" is one of the script's own."""

    @cache
    def sources() -> list[str]:
        found = _module_file(script) if module else _file(Path(script))
        root = Path.cwd() if module else (found or Path()).parent
        return [] if found is None else _sources(found, root)

    def knows(option: str) -> bool:
        written = re.compile(rf"(?<![\w-]){re.escape(option)}(?![\w-])")
        name = re.compile(rf"\b{re.escape(option.lstrip('-').replace('-', '_'))}\b")
        of_names = any(_OF_NAMES.search(source) for source in sources())
        return any(written.search(source) or (of_names and name.search(source)) for source in sources())

    return knows


def _file(path: Path) -> Path | None:
    path = path / "__main__.py" if path.is_dir() else path
    return path.absolute() if path.is_file() else None


def _module_file(name: str) -> Path | None:
    """Where a module lies, without importing what it lies in."""
    folders: list[str] | None = [str(Path.cwd())]
    spec = None
    for depth, part in enumerate(name.split(".")):
        spec = PathFinder.find_spec(part, folders)
        if spec is None and depth == 0:
            spec = PathFinder.find_spec(part)
        if spec is None:
            return None
        folders = list(spec.submodule_search_locations or ())
    if spec is not None and spec.submodule_search_locations is not None:
        return next((found for folder in folders or () if (found := _file(Path(folder)))), None)
    return Path(spec.origin) if spec is not None and spec.origin else None


def _sources(first: Path, root: Path) -> list[str]:
    """The text of a file and of what it imports or names, as far as that lies under its folder."""
    files, waiting = {first}, [first]
    sources: list[str] = []
    while waiting and len(sources) < _MOST:
        file = waiting.pop()
        try:
            source = file.read_text(encoding="utf-8", errors="replace")
        except OSError:
            continue
        sources.append(source)
        for other in _named(source, file, root):
            if other not in files:
                files.add(other)
                waiting.append(other)
    return sources


def _named(source: str, file: Path, root: Path) -> set[Path]:
    """Files that a source imports, or writes the name of (as of one that it executes)."""
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError):
        return set()
    names: list[tuple[Path, str]] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names += [(root, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            folder = file.parents[node.level - 1] if 0 < node.level <= len(file.parents) else root
            inside = node.module or ""
            names += [(folder, inside)] if inside else []
            names += [(folder, f"{inside}.{alias.name}".strip(".")) for alias in node.names]
    found = {file.parent / name for name in _FILE.findall(source)}
    for folder, name in names:
        path = folder.joinpath(*name.split("."))
        found |= {path.with_suffix(".py"), path / "__init__.py"}
    return {path for path in found if path.is_file()}
