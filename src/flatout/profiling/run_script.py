"""Run a person's script in this process, as Python would run it."""

from __future__ import annotations

import importlib.util
import io
import os
import pkgutil
import runpy
import sys
import threading
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.machinery import FileFinder, SourceFileLoader
from pathlib import Path
from types import CodeType, ModuleType, TracebackType
from typing import Any, Final
from zipimport import zipimporter

from flatout.errors import FlatoutError
from flatout.profiling.stopping import Stopped
from flatout.profiling.user_lines import of_profiler

INTERRUPTED: Final = 130
Run = Callable[[str, Sequence[str]], None]

_RUNPY: Final = ("runpy.py", "<frozen runpy>")


@dataclass(frozen=True)
class Outcome:
    """How a script ended.

    Attributes:
        status: its exit status.
        how: "finished", "stopped" after the steps that were asked for, "failed", "interrupted" (Ctrl-C),
            "exited" (os._exit) or "terminated" (SIGTERM).
    """

    status: int
    how: str


def run_script(arguments: Sequence[str], *, module: bool = False) -> Outcome:
    """Run a script to its end; an error of its own is shown as Python shows it.

    `sys.argv`, `sys.path[0]` and `__main__` are what Python would make them, and stay so, for what the script
    leaves behind (threads, functions to call at exit) may look at them.

    Args:
        arguments: the script (a file, or a folder or zip file with a __main__.py; or the module) and its own
            arguments.
        module: it is the name of a module, as for `python -m`.

    Raises:
        FlatoutError: there is no such script.
    """
    name = arguments[0]
    run = _find_module(name) if module else _find_script(name)
    try:
        try:
            run(name, arguments[1:])
        finally:
            _wait_for_threads()
    except SystemExit as error:
        return Outcome(_exit_status(error), "finished")
    except Stopped:
        return Outcome(0, "stopped")
    except BaseException as error:  # noqa: BLE001  whatever the script raises is shown, as Python does
        raised = error  # and shown when it is handled: an error of sys.excepthook is another one
    else:
        return Outcome(0, "finished")
    if isinstance(raised, KeyboardInterrupt):
        _show(raised)
        return Outcome(INTERRUPTED, "interrupted")
    return Outcome(_show(raised), "failed")


def _run_file(name: str, arguments: Sequence[str]) -> None:
    path = str(Path(name).absolute())
    _set_path(os.path.realpath(Path(path).parent))
    sys.argv = [name, *arguments]
    main = _main(path)
    main["__loader__"] = SourceFileLoader("__main__", path)
    with io.open_code(path) as file:
        source = file.read()
    exec(compiled(source, path), main)


def _main(file: str) -> dict[str, Any]:
    """The names of a new __main__."""
    module = ModuleType("__main__")
    module.__file__ = file
    module.__dict__.update(__annotations__={}, __builtins__=sys.modules["builtins"], __cached__=None)
    sys.modules["__main__"] = module
    return module.__dict__


def compiled(source: bytes, path: str) -> CodeType:
    """The script as Python compiles it."""
    return compile(source, path, "exec", dont_inherit=True)


def _run_main(name: str, arguments: Sequence[str]) -> None:
    """Run the __main__.py in a folder or a zip file."""
    path = str(Path(name).absolute())
    if sys.flags.safe_path:
        sys.path.insert(0, path)
    _set_path(path)
    sys.argv = [name, *arguments]
    finder = pkgutil.get_importer(path)
    spec = finder.find_spec("__main__") if isinstance(finder, FileFinder | zipimporter) else None
    if spec is None or not isinstance(spec.loader, SourceFileLoader | zipimporter):
        raise FlatoutError(f"the __main__.py in {name!r} cannot be read; pass the script in it")
    code = spec.loader.get_code("__main__")
    assert code is not None
    main = _main(spec.origin or path)
    main.update(__spec__=spec, __loader__=spec.loader, __package__=spec.parent)
    exec(code, main)


def _run_module(name: str, arguments: Sequence[str]) -> None:
    sys.argv = [name, *arguments]  # runpy puts the file there
    runpy.run_module(name, run_name="__main__", alter_sys=True)


def _find_script(name: str) -> Run:
    path = Path(name)
    if path.is_dir():
        main = (path / "__main__.py").is_file()
    elif path.is_file():
        if not zipfile.is_zipfile(path):
            return _run_file
        with zipfile.ZipFile(path) as packed:
            main = "__main__.py" in packed.namelist()
    else:
        raise FlatoutError(f"the script must be a Python file, but {name!r} is not a file; pass its path")
    if not main:
        raise FlatoutError(
            f"a folder or zip file is run by its __main__.py, but {name!r} has none; pass the script in it"
        )
    return _run_main


def _find_module(name: str) -> Run:
    _set_path(str(Path.cwd()))
    try:
        found = importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:
        found = False
    if not found:
        raise FlatoutError(f"-m takes the name of a module that can be imported from here, but got {name!r}")
    return _run_module


def _set_path(folder: str) -> None:
    if not sys.flags.safe_path:
        sys.path[0] = folder


def _exit_status(error: SystemExit) -> int:
    if error.code is None:
        return 0
    if isinstance(error.code, int):
        return error.code & 0xFF
    print(error.code, file=sys.stderr)  # noqa: T201  as Python does
    return 1


def _wait_for_threads() -> None:
    """Until those have ended for which Python would wait, too."""
    here = threading.current_thread()
    while others := [one for one in threading.enumerate() if one is not here and not one.daemon]:
        for one in others:
            one.join()


def _show(error: BaseException) -> int:
    """Its traceback, without the frames that are flatout's; returns the exit status."""
    _strip(error, set())
    try:
        sys.excepthook(type(error), error, error.__traceback__)
    except SystemExit as leaving:
        return _exit_status(leaving)
    except BaseException as broken:  # noqa: BLE001  a hook of the script's own; Python says so, too
        _strip(broken, set())
        print("Error in sys.excepthook:", file=sys.stderr)  # noqa: T201
        sys.__excepthook__(type(broken), broken, broken.__traceback__)
        print("\nOriginal exception was:", file=sys.stderr)  # noqa: T201
        sys.__excepthook__(type(error), error, error.__traceback__)
    return 1


def _strip(error: BaseException | None, done: set[int]) -> None:
    if error is None or id(error) in done:
        return
    done.add(id(error))
    kept: list[TracebackType] = []
    at = error.__traceback__
    while at is not None:
        file = at.tb_frame.f_code.co_filename
        if not of_profiler(file) and Path(file).name not in _RUNPY:
            kept.append(at)
        at = at.tb_next
    for number, one in enumerate(kept):
        one.tb_next = kept[number + 1] if number + 1 < len(kept) else None
    error.__traceback__ = kept[0] if kept else None
    _strip(error.__cause__, done)
    _strip(error.__context__, done)
