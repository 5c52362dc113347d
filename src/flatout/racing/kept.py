"""Decisions of earlier races, so that the same training starts at once the next time.

A decision is kept by what it depends on: the model, its shapes and the source of its classes, the
optimizer, the loss, the data's shapes, the batch size, about how many steps (by powers of two), devices,
threads, compiler and versions. It lies in the folder of the libraries, which only its user can write. What
cannot be read is as if it were not there.
"""

from __future__ import annotations

import hashlib
import inspect
import json
import os
import shutil
import tempfile
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.utils import _pytree as pytree

import flatout._version
from flatout.codegen.build import CacheError, cache_folder, edited_source
from flatout.codegen.compiler import cpu
from flatout.plans.registry import PLANS
from flatout.racing.result import Candidate, Race
from flatout.task.task import Task


def kept_decision(task: Task, steps: int, devices: list[torch.device]) -> Race | None:
    """The decision of an earlier race for such a task, or None."""
    with suppress(OSError, CacheError, ValueError, LookupError, TypeError):
        document = json.loads(_path(task, steps, devices).read_text())
        candidates = tuple(Candidate(**entry) for entry in document["candidates"])
        winner = candidates[document["winner"]]
        if winner.plan in PLANS and winner.status == "ok":
            return Race(task.name, steps, winner, str(document["reason"]), candidates, kept=True)
    return None


def keep_decision(task: Task, race: Race, devices: list[torch.device]) -> None:
    """Keep the decision of a race; where that cannot be written, the next training races again."""
    if race.steps is None:
        return
    document = {
        "task": race.task,
        "winner": race.candidates.index(race.winner),
        "reason": race.reason,
        "candidates": [asdict(candidate) for candidate in race.candidates],
    }
    with suppress(OSError, CacheError):
        path = _path(task, race.steps, devices)
        path.parent.mkdir(exist_ok=True, mode=0o700)
        handle, aside = tempfile.mkstemp(dir=path.parent, prefix=".writing-")
        with os.fdopen(handle, "w") as file:
            json.dump(document, file)
        Path(aside).replace(path)


def _path(task: Task, steps: int, devices: list[torch.device]) -> Path:
    signature = json.dumps(_signature(task, steps, devices), sort_keys=True)
    return cache_folder() / "decisions" / f"{hashlib.sha256(signature.encode()).hexdigest()[:32]}.json"


def _signature(task: Task, steps: int, devices: list[torch.device]) -> dict[str, Any]:
    groups = [
        {k: repr(v) for k, v in group.items() if k not in ("params", "lr", "initial_lr")}
        | {"shapes": [list(p.shape) for p in group["params"]]}
        for group in task.optimizer.param_groups
    ]
    data = task.data.tensors if hasattr(task.data, "tensors") else task.data
    return {
        "model": repr(task.model),
        "state": [[n, list(t.shape), str(t.dtype), t.requires_grad] for n, t in _state(task.model)],
        "sources": sorted({_source(type(m)) for part in task.modules() for m in part.modules()}),
        "optimizer": [_name(type(task.optimizer)), groups],
        "loss": [_called(task.loss), _called(task.objective)],
        "scheduler": [None if task.scheduler is None else _name(type(task.scheduler)), task.scheduler_per],
        "data": [[list(leaf.shape), str(leaf.dtype)] for leaf in pytree.tree_leaves(data)],
        "batch": [task.batch_size, task.shuffled, task.drop_last, task.clip_grad_norm],
        "steps": steps.bit_length(),
        "devices": [[str(d), _device_name(d)] for d in devices],
        "plans": list(PLANS),
        "threads": [torch.get_num_threads(), os.environ.get("FLATOUT_THREADS")],
        "compiler": [os.environ.get("CC"), *(shutil.which(name) for name in ("cc", "gcc", "clang"))],
        "edited": edited_source(),
        "versions": [flatout._version.__version__, torch.__version__, cpu()],
    }


def _state(model: nn.Module) -> list[tuple[str, torch.Tensor]]:
    return [*model.named_parameters(), *model.named_buffers()]


def _called(part: Any) -> str | None:
    """A name for a loss that is the same the next time; the text of a function holds its address."""
    if part is None or isinstance(part, nn.Module):
        return None if part is None else repr(part)
    return f"{_name(part if hasattr(part, '__qualname__') else type(part))} {_source(part)}"


def _name(thing: Any) -> str:
    return f"{thing.__module__}.{thing.__qualname__}"


def _source(thing: Any) -> str:
    if getattr(thing, "__module__", "").startswith("torch."):
        return _name(thing)
    try:
        return inspect.getsource(thing)
    except (OSError, TypeError):
        return repr(type(thing))


def _device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
