"""What a training has done so far; with the state of model and optimizer, all that resuming needs."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor


@dataclass
class Record:
    """Losses, validations and time up to now.

    Attributes:
        chunks: the losses of each chunk, on the host.
        history: one dict a validation.
        seconds: time spent in steps.
        first_bad_step: the first step with a loss that is NaN or infinite.
    """

    chunks: list[Tensor] = field(default_factory=list)
    history: list[dict[str, float]] = field(default_factory=list)
    seconds: float = 0.0
    first_bad_step: int | None = None
    step: int = 0

    def add(self, losses: Tensor, seconds: float) -> None:
        """Note the losses of a chunk, `[steps]` on the host, and how long it took."""
        if losses.itemsize < 4:
            losses = losses.float()  # NumPy has no bfloat16, and nothing is lost
        bad = ~torch.isfinite(losses)
        if self.first_bad_step is None and bool(bad.any()):
            self.first_bad_step = self.step + int(bad.nonzero()[0])
        self.chunks.append(losses)
        self.step += len(losses)
        self.seconds += seconds

    @property
    def losses(self) -> Tensor:
        """Every loss so far, `[steps]`."""
        if len(self.chunks) > 1:
            self.chunks = [torch.cat(self.chunks)]
        return self.chunks[0] if self.chunks else torch.empty(0)

    def state(self) -> dict[str, Any]:
        """What a resumed training needs."""
        return {
            "losses": self.losses,
            "history": self.history,
            "seconds": self.seconds,
            "first_bad_step": self.first_bad_step,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from what `state` returned."""
        self.chunks = [state["losses"]] if len(state["losses"]) else []
        self.step = len(state["losses"])
        self.history = state["history"]
        self.seconds = state["seconds"]
        self.first_bad_step = state["first_bad_step"]
