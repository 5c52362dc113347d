"""The result of a training."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from flatout.errors import CheckpointError
from flatout.report.curve import plot_losses
from flatout.report.text import count, number
from flatout.training.run_directory import RUN_FILE, read_document


@dataclass
class Run:
    """What a training did: every loss, the metrics, how long it took, and where it is kept.

    Attributes:
        task: the name of the task.
        plan: the plan that ran the steps.
        device: where, for example "cpu" or "cuda:0".
        losses: the loss of every step, `[steps]`, on the host.
        metrics: loss and metrics on the validation data at the end; without validation data, the
            metrics on the training data, named train_….
        history: one dict a validation: step, epoch, loss and metrics.
        seconds: time spent in steps, without set-up, validation and checkpoints.
        status: "finished", "stopped early", "interrupted", "not finite" or "running".
        best_step: with early stopping, the step whose weights the model holds now.
        directory: where the run is kept, or None.
        details: what else `run.json` holds: options, versions, machine, times.
    """

    task: str
    plan: str
    device: str
    losses: Tensor
    metrics: dict[str, float]
    history: list[dict[str, float]]
    seconds: float
    status: str
    best_step: int | None = None
    directory: Path | None = None
    details: dict[str, Any] = field(default_factory=dict, repr=False)

    @property
    def steps(self) -> int:
        """Optimizer updates that were made."""
        return len(self.losses)

    @property
    def us_per_step(self) -> float:
        """Microseconds a step, the mean over the training."""
        return self.seconds / self.steps * 1e6 if self.steps else math.nan

    def plot(self, path: str | Path) -> Path:
        """Draw the loss over the steps, with the validation figures, as .png, .svg or .pdf.

        Raises:
            ValueError: the path ends in none of these.
        """
        validation = [(int(entry["step"]), entry["loss"]) for entry in self.history if "loss" in entry]
        names = [n for n in (self.history[0] if self.history else {}) if n not in ("step", "epoch", "loss")]
        metrics = {n: [(int(entry["step"]), entry[n]) for entry in self.history] for n in names}
        losses = self.losses.double().numpy()
        if len(losses):
            title = (
                f"{self.task}: loss {number(losses[0])} → {number(losses[-1])} in {count(self.steps)} steps"
            )
        else:
            title = f"{self.task}: no step was made"
        subtitle = (
            f"{self.us_per_step:,.0f} µs a step, plan {self.plan} on {self.device}" if self.steps else ""
        )
        return plot_losses(
            Path(path), losses, title=title, subtitle=subtitle, validation=validation, metrics=metrics
        )

    def document(self) -> dict[str, Any]:
        """The one JSON document that `flatout train --json` prints; NaN and infinity are null."""
        return {
            "task": self.task,
            "device": self.device,
            "plan": self.plan,
            "steps": self.steps,
            "seconds": self.seconds,
            "us_per_step": finite(self.us_per_step),
            "loss": {
                "first": finite(float(self.losses[0])) if self.steps else None,
                "last": finite(float(self.losses[-1])) if self.steps else None,
            },
            "metrics": {name: finite(value) for name, value in self.metrics.items()},
            "run_dir": None if self.directory is None else str(self.directory),
        }

    @classmethod
    def load(cls, directory: str | Path) -> Run:
        """Read a run directory that `fit` wrote.

        Raises:
            CheckpointError: it is not a run directory, or has no losses yet.
        """
        directory = Path(directory)
        document = read_document(directory)
        try:
            losses = torch.from_numpy(np.load(directory / "losses.npy", allow_pickle=False))
        except (OSError, ValueError) as error:
            raise CheckpointError(
                f"{directory} has no readable losses.npy ({error}); a training that was cut off has its "
                "losses in its checkpoint: resume it"
            ) from error
        try:
            return cls(
                task=document["task"],
                plan=document["plan"],
                device=document["device"],
                losses=losses,
                metrics=_numbers(document["metrics"]),
                history=[_numbers(entry) for entry in document["history"]],
                seconds=document["seconds"],
                status=document["status"],
                best_step=document["best_step"],
                directory=directory,
                details=document,
            )
        except KeyError as error:
            raise CheckpointError(f"{directory / RUN_FILE} has no {error}") from error


def finite(value: float | None) -> float | None:
    """The value, or None where JSON has no word for it."""
    return value if value is not None and math.isfinite(value) else None


def _numbers(figures: dict[str, float | None]) -> dict[str, float]:
    return {name: math.nan if value is None else value for name, value in figures.items()}
