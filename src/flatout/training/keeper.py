"""Keeps a run on disk while it trains and when it ends."""

from __future__ import annotations

import io
import platform
import shutil
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import safetensors.torch
import torch
from torch import nn

import flatout._version
from flatout.errors import CheckpointError
from flatout.task.task import Task
from flatout.training.checkpoint import checkpoints, replace_file, save_checkpoint
from flatout.training.encoding import as_stored
from flatout.training.record import Record
from flatout.training.run import Run
from flatout.training.run_directory import CHECKPOINT_FOLDER, this_process, write_document


class RunKeeper:
    """The run directory of one training.

    Args:
        directory: the folder of the run.
        document: what `run.json` says from the start; the rest is added as it becomes known.
    """

    def __init__(self, directory: Path, document: dict[str, Any]) -> None:
        self.directory = directory
        self.document = document

    @property
    def last_checkpoint(self) -> Path | None:
        """The newest checkpoint."""
        return next(reversed(list(checkpoints(self.directory / CHECKPOINT_FOLDER))), None)

    def save(self, record: Record, state: dict[str, Any]) -> None:
        """Keep a checkpoint of the state after the record's last step."""
        save_checkpoint(self.directory / CHECKPOINT_FOLDER, record.step, state)
        self._write({**progress_of(record), "status": "running"})

    def finish(self, run: Run, model: nn.Module) -> None:
        """Keep the result: losses, picture, weights and `run.json`."""
        try:
            replace_file(self.directory / "losses.npy", _npy(run))
            weights = {
                name: as_stored(tensor)
                for name, tensor in model.state_dict().items()
                if isinstance(tensor, torch.Tensor)
            }
            replace_file(self.directory / "model.safetensors", safetensors.torch.save(weights))
            if run.steps:
                run.plot(self.directory / "loss.png")
        except OSError as error:
            raise CheckpointError(
                f"cannot write the result to {self.directory}: {error.strerror or error}; its checkpoint is "
                "whole: free some space, then resume"
            ) from error
        self._write(
            {
                "status": run.status,
                "steps": run.steps,
                "seconds": run.seconds,
                "us_per_step": run.us_per_step,
                "loss": run.document()["loss"],
                "metrics": run.metrics,
                "history": run.history,
                "best_step": run.best_step,
                "ended": datetime.now(UTC).isoformat(timespec="seconds"),
            }
        )
        run.directory = self.directory
        run.details = self.document

    def discard(self) -> None:
        """Leave nothing of a run whose first step could not be made."""
        shutil.rmtree(self.directory, ignore_errors=True)

    def failed(self, record: Record, error: BaseException) -> None:
        """Note in `run.json` that training ended with an error; what was kept stays."""
        what = f"{type(error).__name__}: {error}"
        # The error under way says more than that its note could not be written.
        with suppress(OSError, CheckpointError):
            self._write({**progress_of(record), "status": "failed", "error": what})

    def _write(self, changes: dict[str, Any]) -> None:
        self.document |= changes
        try:
            write_document(self.directory, self.document)
        except OSError as error:
            raise CheckpointError(f"cannot write to {self.directory}: {error.strerror or error}") from error


def progress_of(record: Record) -> dict[str, Any]:
    """What `run.json` says of a training under way."""
    losses = record.losses
    return {
        "steps": record.step,
        "seconds": record.seconds,
        "us_per_step": record.seconds / record.step * 1e6 if record.step else None,
        "loss": {
            "first": float(losses[0]) if record.step else None,
            "last": float(losses[-1]) if record.step else None,
        },
        "metrics": {k: v for k, v in record.history[-1].items() if k not in ("step", "epoch")}
        if record.history
        else {},
        "history": record.history,
        "first_nonfinite_step": record.first_bad_step,
    }


def first_document(
    task: Task, *, plan: str, device: torch.device, total_steps: int | None, source: dict[str, Any] | None
) -> dict[str, Any]:
    """`run.json` before the first step."""
    return {
        "format": 1,
        "id": None,
        "task": task.name,
        "status": "running",
        "plan": plan,
        "device": str(device),
        "total_steps": total_steps,
        "best_step": None,
        "source": source,
        "options": {
            name: getattr(task, name)
            for name in (
                "epochs",
                "steps",
                "batch_size",
                "shuffled",
                "drop_last",
                "seed",
                "scheduler_per",
                "clip_grad_norm",
                "validate_every",
                "patience",
                "monitor",
                "workers",
            )
        }
        | {
            "model": type(task.model).__name__,
            "parameters": sum(p.numel() for p in task.model.parameters()),
            "optimizer": type(task.optimizer).__name__,
            "scheduler": None if task.scheduler is None else type(task.scheduler).__name__,
        },
        "notes": task.notes,
        "versions": {
            "flatout": flatout._version.__version__,
            "torch": torch.__version__,
            "numpy": np.__version__,
            "python": platform.python_version(),
        },
        "machine": {
            "system": platform.platform(),
            "device": torch.cuda.get_device_name(device) if device.type == "cuda" else platform.processor(),
            "cores": psutil.cpu_count(logical=False),
            "threads": torch.get_num_threads(),
        },
        "process": this_process(),
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        **progress_of(Record()),
    }


def _npy(run: Run) -> bytes:
    file = io.BytesIO()
    np.save(file, run.losses.numpy(), allow_pickle=False)
    return file.getvalue()
