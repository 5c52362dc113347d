"""The folder a run is kept in.

    runs/<id>/
      run.json            task, plan, device, versions, timings, metrics
      losses.npy          every step's loss
      loss.png            the loss curve
      model.safetensors   the trained weights
      checkpoint/         to resume from

The folder appears with one rename, its first checkpoint inside, so that whatever is there can be resumed.
Until then it is `.new-<host>-<process>-...`; what a killed process left is cleared by the next run.
"""

from __future__ import annotations

import json
import math
import os
import platform
import shutil
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import psutil

from flatout.errors import CheckpointError
from flatout.training.checkpoint import load_checkpoint, replace_file, save_checkpoint, sync_folder

RUN_FILE = "run.json"
CHECKPOINT_FOLDER = "checkpoint"
# Folders under way, by host, because another's processes cannot be seen from here.
_ASIDE = f".new-{''.join(c for c in platform.node() if c.isalnum()) or 'host'}-"
# The start of a process, in seconds, is told from the clock, which is now and then set right.
_SAME_TIME = 2.0


def create_run_directory(parent: Path, name: str, document: dict[str, Any], state: dict[str, Any]) -> Path:
    """Make `parent/<name>-<date>-<time>` with `run.json` and a checkpoint of step 0.

    Raises:
        CheckpointError: it cannot be written; nothing is left behind.
    """
    aside = parent / f"{_ASIDE}{os.getpid()}-{id(document)}"
    _clear_left_over(parent)
    try:
        aside.mkdir(parents=True)
        save_checkpoint(aside / CHECKPOINT_FOLDER, 0, state)
        for run_id in _free_names(parent, name):
            write_document(aside, {**document, "id": run_id})
            try:
                aside.rename(parent / run_id)
            except OSError:
                if not (parent / run_id).exists():
                    raise
                continue  # another process took the name
            sync_folder(parent)
            return parent / run_id
        raise AssertionError("there is always a free name")
    except OSError as error:
        raise CheckpointError(
            f"cannot make a run directory in {parent}: {error.strerror or error}"
        ) from error
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _clear_left_over(parent: Path) -> None:
    """Delete what processes that are no more had begun to write in `parent`."""
    for path in parent.glob(f"{_ASIDE}*"):
        process = path.name.removeprefix(_ASIDE).partition("-")[0]
        if process.isdigit() and not psutil.pid_exists(int(process)):
            shutil.rmtree(path, ignore_errors=True)


def _free_names(parent: Path, name: str) -> Iterator[str]:
    safe = "".join(c if c.isalnum() or c in "-_" else "-" for c in name).strip("-") or "run"
    stem = f"{safe}-{datetime.now().astimezone():%m%d-%H%M%S}"
    turn = 1
    while True:
        run_id = stem if turn == 1 else f"{stem}-{turn}"
        if not (parent / run_id).exists():
            yield run_id
        turn += 1


def write_document(directory: Path, document: dict[str, Any]) -> None:
    """Write `run.json` anew."""
    text = json.dumps(_json_ready(document), indent=2, ensure_ascii=False, allow_nan=False)
    replace_file(directory / RUN_FILE, f"{text}\n".encode())


def _json_ready(value: Any) -> Any:
    """NaN and infinity, for which JSON has no word, become null."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {str(key): _json_ready(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_json_ready(item) for item in value]
    return value if value is None or isinstance(value, (bool, int, str)) else str(value)


def read_document(directory: Path) -> dict[str, Any]:
    """What `run.json` says.

    Raises:
        CheckpointError: there is none, or it is no document of flatout.
    """
    path = directory / RUN_FILE
    try:
        document = json.loads(path.read_text())
    except FileNotFoundError:
        raise CheckpointError(
            f"{directory} is not a run directory: it has no {RUN_FILE} "
            "(flatout runs lists those that are here)"
        ) from None
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path} cannot be read: {error}") from error
    if not isinstance(document, dict) or "task" not in document:
        raise CheckpointError(f"{path} is not a record of flatout: it names no task")
    return document


def read_run(directory: Path) -> tuple[dict[str, Any], int, dict[str, Any]]:
    """`run.json` and the newest whole checkpoint (its step and its state).

    Raises:
        CheckpointError: one of them is missing or damaged, or another process is training here.
    """
    document = read_document(directory)
    other = process_of(document)
    if other is not None and other != os.getpid():
        raise CheckpointError(
            f"process {other} is training in {directory} now; stop it before resuming there"
        )
    step, state, _ = load_checkpoint(directory / CHECKPOINT_FOLDER)
    return document, step, state


def this_process() -> dict[str, Any]:
    """What tells this process from a later one of the same number."""
    return {"pid": os.getpid(), "created": psutil.Process().create_time(), "host": platform.node()}


def process_of(document: dict[str, Any]) -> int | None:
    """The process that is training this run now, or None where none is (or it is on another machine)."""
    noted = document.get("process") or {}
    if document.get("status") != "running" or noted.get("host") != platform.node():
        return None
    try:
        process = psutil.Process(noted["pid"])
        alive = (
            abs(process.create_time() - noted["created"]) < _SAME_TIME
            and process.status() != psutil.STATUS_ZOMBIE
        )
    except (psutil.Error, KeyError, TypeError):
        return None
    return int(noted["pid"]) if alive else None
