"""A Python file as a task: the file is imported, and the `Task` it makes is picked.

Errors of the file are reported as its author would want to see them: the traceback is cut to the lines
of their own folder.
"""

from __future__ import annotations

import difflib
import hashlib
import importlib.util
import inspect
import keyword
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import torch

from flatout.errors import TaskError
from flatout.task.own_traceback import own_traceback
from flatout.task.task import Task

if TYPE_CHECKING:
    import os


_EXAMPLE = """\
    def task():
        model = torch.nn.Linear(4, 3)
        return flatout.Task(model=model, data=(X, y), optimizer=..., loss=..., epochs=10)"""


def load_python_file(path: str | os.PathLike[str], name: str | None = None, seed: int = 0) -> Task:
    """Import a Python file and return the task it makes.

    `torch.manual_seed(seed)` is called first. The file may import its neighbours: its folder leads
    `sys.path` while it runs, and stays at the end of it, so that worker processes find them too.

    Args:
        path: the file.
        name: which of its tasks: a `Task`, or a function without arguments that returns one. None: what
            is called `task`, or else the only `Task` of the file.
        seed: of PyTorch's random numbers, before the file runs.

    Raises:
        TaskError: there is no such file or task, or the file fails; the message holds its traceback.

    Example:
        >>> load_python_file("train.py", name="small")  # doctest: +SKIP
        Task(...)
    """
    path = _checked(Path(path)).resolve()
    torch.manual_seed(seed)
    with _leading_sys_path(path.parent):
        module = _imported(path)
        found = _picked(module, path, name)
        task = found if isinstance(found, Task) else _called(found, path)
    if task.name == "task":
        task.name = path.stem
    return task


def _checked(path: Path) -> Path:
    if path.is_dir():
        raise TaskError(f"{path} is a folder, and a Python file is needed: give the path of a file in it")
    if not path.exists():
        near = difflib.get_close_matches(path.name, [p.name for p in path.parent.glob("*.py")], n=1)
        hint = f"did you mean {path.parent / near[0]}?" if near else "check the path"
        raise TaskError(f"there is no file {path}: {hint}")
    return path


# --- running the file -------------------------------------------------------------------------------


@contextmanager
def _leading_sys_path(folder: Path) -> Iterator[None]:
    """Put `folder` first in `sys.path`, as `python file.py` does; afterwards it is kept at the end."""
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        sys.path.remove(str(folder))
        if str(folder) not in sys.path:
            sys.path.append(str(folder))


def _imported(path: Path) -> ModuleType:
    """The file as a module in `sys.modules`; run anew each time, never from cached bytecode."""
    name = _module_name(path)
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None:
        raise TaskError(f"{path} is not a Python file: its name must end with .py")
    module = importlib.util.module_from_spec(spec)
    previous = sys.modules.get(name)
    sys.modules[name] = module
    try:
        _guarded(lambda: _execute(module, path), path, "importing it")
    except BaseException:
        del sys.modules[name]
        if previous is not None:
            sys.modules[name] = previous
        raise
    return module


def _execute(module: ModuleType, path: Path) -> None:
    exec(compile(path.read_bytes(), str(path), "exec"), module.__dict__)


def _module_name(path: Path) -> str:
    """The file's own name where nothing else has it, otherwise a private one.

    Under its own name, worker processes that are started anew find the module on `sys.path`, and so can
    unpickle what the file defines. A file called random.py must not take the place of that module.
    """
    private = f"_flatout_{path.stem}_{hashlib.sha256(str(path).encode()).hexdigest()[:8]}"
    if not path.stem.isidentifier() or keyword.iskeyword(path.stem) or path.stem == "__main__":
        return private
    known = sys.modules.get(path.stem)
    if known is not None:
        return path.stem if getattr(known, "__file__", None) == str(path) else private
    without = [entry for entry in sys.path if Path(entry).resolve() != path.parent]
    taken = path.stem in sys.stdlib_module_names or _is_found(path.stem, without)
    return private if taken else path.stem


def _is_found(name: str, folders: list[str]) -> bool:
    """Whether `import name` would find a module in `folders`."""
    return any(
        finder.find_spec(name, folders) is not None
        for finder in sys.meta_path
        if hasattr(finder, "find_spec")
    )


def _guarded(run: Callable[[], Any], path: Path, doing: str) -> Any:
    """`run()`; what the user's code raises becomes a TaskError with the user's own traceback."""
    try:
        return run()
    except SystemExit as error:
        raise TaskError(
            f"{path}: the file ended the program (exit code {error.code}) while {doing}. A task file must "
            'only build the task: move the rest under `if __name__ == "__main__":`\n\n'
            f"{_shown(error, path.parent)}"
        ) from error
    except Exception as error:
        raise TaskError(
            f"{path}: {type(error).__name__} while {doing}\n\n{_shown(error, path.parent)}"
        ) from error


def _shown(error: BaseException, folder: Path) -> str:
    """The user's lines of the traceback; for a syntax error, which has none, the error with its place."""
    return own_traceback(error, folder) or "".join(traceback.format_exception_only(error)).rstrip()


def _picked(module: ModuleType, path: Path, name: str | None) -> Any:
    """The Task, or the function that makes it."""
    members = {key: value for key, value in vars(module).items() if not key.startswith("__")}
    tasks = {key: value for key, value in members.items() if isinstance(value, Task)}
    if name is not None:
        return _named(members, path, name)
    chosen = members.get("task")
    if isinstance(chosen, Task) or inspect.isroutine(chosen):
        return chosen
    if len({id(task) for task in tasks.values()}) == 1:
        return next(iter(tasks.values()))
    if tasks:
        choices = "\n".join(f"    {path.name}:{key}" for key in tasks)
        raise TaskError(f"{path} has {len(tasks)} tasks; say which one:\n{choices}")
    raise TaskError(
        f"{path} makes no task: looked for a function or a Task called `task`, and for any other Task at the "
        f"top level of the file. Add one, for example\n\n{_EXAMPLE}\n\n"
        f"or name the function that makes it: {path.name}:NAME"
    )


def _named(members: dict[str, Any], path: Path, name: str) -> Any:
    if name not in members:
        usable = [
            key for key, value in members.items() if isinstance(value, Task) or inspect.isfunction(value)
        ]
        near = difflib.get_close_matches(name, usable, n=1)
        hint = f"did you mean {path.name}:{near[0]}? " if near else ""
        choices = f"It has: {', '.join(usable)}" if usable else "It has no function and no Task"
        raise TaskError(f"{path} has no {name!r}; {hint}{choices}")
    found = members[name]
    if not isinstance(found, Task) and not callable(found):
        raise TaskError(
            f"{path.name}:{name} must be a Task or a function that returns one, got {type(found).__name__}"
        )
    return found


def _called(make: Callable[[], Any], path: Path) -> Task:
    """What `make()` returns, which must be a Task."""
    name = getattr(make, "__name__", type(make).__name__)
    needed = [
        parameter.name
        for parameter in inspect.signature(make).parameters.values()
        if parameter.default is parameter.empty
        and parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
    ]
    if needed:
        raise TaskError(
            f"{path.name}:{name} is called without arguments, and it needs {', '.join(needed)}: give each a "
            "default"
        )
    made = _guarded(make, path, f"calling {name}()")
    if not isinstance(made, Task):
        raise TaskError(
            f"{path.name}:{name} must return a flatout.Task, got {type(made).__name__}"
            + (": is `return` missing?" if made is None else "")
        )
    return made
