"""Checkpoints that are whole or not there: written aside, synced, renamed, and checked by a checksum.

    checkpoint/
      000000012000/          the step it was taken after
        tensors.safetensors
        state.json
        sha256               one line a file, as `sha256sum -c` reads it

A checkpoint becomes visible with one rename of its folder, so that a process killed at any moment leaves
either the new one or only the earlier ones. The last two are kept.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import safetensors.torch
from safetensors import SafetensorError

from flatout.errors import CheckpointError
from flatout.training.encoding import decode, encode

FORMAT = 1
_KEPT = 2
_FILES = ("tensors.safetensors", "state.json")


def save_checkpoint(folder: Path, step: int, state: dict[str, Any]) -> Path:
    """Write `state` as the checkpoint of `step` in `folder`; returns where it lies.

    Raises:
        CheckpointError: the state holds something that cannot be saved, or the disk is full or
            read-only. Earlier checkpoints are left as they were.
    """
    tensors: dict[str, Any] = {}
    document = {"format": FORMAT, "step": step, "state": encode(state, tensors)}
    contents = (safetensors.torch.save(tensors), json.dumps(document, allow_nan=False).encode())
    final = folder / f"{step:012d}"
    if final.exists() and _is_whole(final):
        return final  # the state after a step is always the same
    aside = folder / f".writing-{step:012d}-{os.getpid()}"
    try:
        shutil.rmtree(aside, ignore_errors=True)
        aside.mkdir(parents=True)
        sums = ""
        for name, content in zip(_FILES, contents, strict=True):
            write_synced(aside / name, content)
            sums += f"{hashlib.sha256(content).hexdigest()}  {name}\n"
        write_synced(aside / "sha256", sums.encode())
        shutil.rmtree(final, ignore_errors=True)
        aside.replace(final)
        sync_folder(folder)
    except OSError as error:
        shutil.rmtree(aside, ignore_errors=True)
        raise CheckpointError(_cannot_write(folder, error)) from error
    _delete_old(folder)
    return final


def load_checkpoint(folder: Path) -> tuple[int, dict[str, Any], Path]:
    """The newest checkpoint in `folder` that is whole: its step, its state, and where it lies.

    Raises:
        CheckpointError: there is none; the message says what is wrong with each.
    """
    faults = []
    for path in reversed(list(checkpoints(folder))):
        try:
            step, state = _read(path)
        except CheckpointError as error:
            faults.append(str(error))
            continue
        return step, state, path
    if faults:
        raise CheckpointError("no checkpoint can be read: " + "; ".join(faults))
    raise CheckpointError(f"there is no checkpoint in {folder}")


def checkpoints(folder: Path) -> Iterator[Path]:
    """The checkpoints in `folder`, oldest first, whole or not."""
    if folder.is_dir():
        yield from sorted(path for path in folder.iterdir() if path.name.isdigit() and path.is_dir())


def _read(path: Path) -> tuple[int, dict[str, Any]]:
    try:
        lines = [line.split() for line in (path / "sha256").read_text().splitlines()]
        sums = {name: checksum for checksum, name in lines}
        contents = {name: (path / name).read_bytes() for name in _FILES}
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path} is not whole ({error})") from error
    for name, content in contents.items():
        if sums.get(name) != hashlib.sha256(content).hexdigest():
            raise CheckpointError(
                f"{path / name} is damaged: its checksum is not the one noted when it was written"
            )
    try:
        document = json.loads(contents["state.json"])
        tensors = safetensors.torch.load(contents["tensors.safetensors"])
    except (ValueError, SafetensorError) as error:
        raise CheckpointError(f"{path} cannot be read ({error})") from error
    found = document.get("format") if isinstance(document, dict) else None
    if found != FORMAT:
        raise CheckpointError(f"{path} has format {found}, this version of flatout reads format {FORMAT}")
    return document["step"], decode(document["state"], tensors)


def _is_whole(path: Path) -> bool:
    try:
        _read(path)
    except CheckpointError:
        return False
    return True


def _delete_old(folder: Path) -> None:
    """Keep the last two checkpoints, and nothing that a killed process left half-written."""
    for path in list(checkpoints(folder))[:-_KEPT]:
        shutil.rmtree(path, ignore_errors=True)
    for path in folder.glob(".writing-*"):
        shutil.rmtree(path, ignore_errors=True)


def _cannot_write(folder: Path, error: OSError) -> str:
    kept = [path.name for path in checkpoints(folder)]
    earlier = f"the checkpoint of step {int(kept[-1]):,} is whole" if kept else "there is no earlier one"
    return (
        f"cannot write a checkpoint to {folder}: {error.strerror or error}; {earlier}. "
        "Free some space or make the folder writable, then resume"
    )


def write_synced(path: Path, content: bytes) -> None:
    """Write a file and wait until the disk has it."""
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def replace_file(path: Path, content: bytes) -> None:
    """Write a file so that a reader sees the old one or the new one whole.

    What a killed process left half-written has the same name, and goes with the next write.
    """
    aside = path.with_name(f".new-{path.name}")
    try:
        write_synced(aside, content)
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)


def sync_folder(folder: Path) -> None:
    """Wait until the disk has the names in a folder; where the system cannot, do without."""
    try:
        handle = os.open(folder, os.O_RDONLY)
    except OSError:
        return
    try:
        os.fsync(handle)
    except OSError:
        pass
    finally:
        os.close(handle)
