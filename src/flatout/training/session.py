"""The chunk loop: run steps, look, validate, save, stop."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.optim.lr_scheduler import ReduceLROnPlateau

from flatout.data.source import Data
from flatout.plans.base import Loop, scheduler_of_steps
from flatout.plans.eager import EagerPlan
from flatout.racing.check import Agreement
from flatout.report.progress import Progress
from flatout.task.task import Task
from flatout.training.chunk import ChunkSize
from flatout.training.evaluate import evaluate
from flatout.training.interrupt import interrupts
from flatout.training.record import Record
from flatout.training.spot_check import SpotCheck
from flatout.training.stopping import EarlyStopping

# Without a wish of the user, a training is validated about this often.
_VALIDATIONS = 20
# Checkpoints may cost at most this share of the time.
_CHECKPOINT_SHARE = 0.05


@dataclass
class Session:
    """One training under way.

    Attributes:
        task: whose model and optimizer are trained; they lie on the device.
        data: the training data there.
        validation: the validation data there, or None.
        loop: the prepared plan.
        record: what was done so far; with steps in it where a training is resumed.
        stopping: early stopping, or None.
        progress: the live display.
        save: called after a chunk to keep a checkpoint, or None.
        save_every: seconds between two checkpoints.
        keep_going: whether to record on where the loss becomes NaN or infinite.
        plan: the name of the plan the loop belongs to.
        spot_check: replays a step in eager now and then, or None.
    """

    task: Task
    data: Data
    validation: Data | None
    loop: Loop
    record: Record
    stopping: EarlyStopping | None
    progress: Progress
    save: Callable[[], object] | None
    save_every: float
    keep_going: bool
    plan: str = "eager"
    spot_check: SpotCheck | None = None

    def __post_init__(self) -> None:
        self._size = ChunkSize()
        self._saved_at = time.perf_counter()
        self._save_cost = 0.0
        self._order = torch.empty(0)
        self.fell_back: dict[str, Any] = {}
        per_step = scheduler_of_steps(self.task, self.data) is not None
        self._epoch_scheduler = None if per_step else self.task.scheduler
        self.loop.step = self.record.step

    def run(self) -> str:
        """Train to the end; returns the status: how it ended."""
        self.task.model.train()
        with interrupts() as interrupt:
            status = "stopped early" if self.stopping is not None and self.stopping.exhausted else "running"
            while status == "running":
                status = self._chunk()
                if interrupt.requested and status == "running":
                    status = self._checked_end()
        self.loop.store()
        seen = self.record.history[-1]["step"] if self.record.history else None
        if status == "finished" and self.validation is not None and seen != self.record.step:
            self.validate()
        return status

    def _checked_end(self) -> str:
        """Interrupted: where steps are checked, after one more that is, so that the state kept agrees."""
        if self.spot_check is not None and self.spot_check.agreed_step != self.record.step:
            self.spot_check.hurry()
            status = self._chunk()
            if status != "running":
                return status
        return "interrupted"

    def _chunk(self) -> str:
        """One chunk and the look after it; returns how things stand."""
        if self.finished:
            return "finished"
        validations = len(self.record.history)
        check = self.spot_check if self.spot_check and self.spot_check.is_due(self._to_last_step) else None
        if check is not None:
            self.loop.store()
            check.before_step()
        before = time.perf_counter()
        losses = self._steps(self._budget() if check is None else 1)
        seconds = time.perf_counter() - before
        if check is not None:
            self.loop.store()
            agreement = check.after_step(self._order, losses)
            if not agreement.agrees:
                self._fall_back(check, agreement)
                return "running"
        self.record.add(losses, seconds)
        self._size.took(len(losses), seconds)
        if self.record.first_bad_step is not None and not self.keep_going:
            return "not finite"
        if len(losses):
            self.progress.chunk(
                done=self.record.step, steps=len(losses), seconds=seconds, loss=float(losses[-1])
            )
        validated = self._validation_due(validations)
        if validated:
            self.validate()
        if check is not None and self.spot_check is not None:
            self.loop.store()
            check.agreed()
        if validated and self.stopping is not None and self.stopping.exhausted:
            return "stopped early"
        self._save_now_and_then()
        return "finished" if self.finished else "running"

    def _steps(self, budget: int) -> Tensor:
        """Run up to `budget` steps without a look; returns their losses on the host."""
        pieces: list[Tensor] = []
        done = 0
        while done < budget:
            epoch = self.data.epoch
            order = self.data.take(budget - done, cross_epochs=self._epoch_scheduler is None)
            self._order = order
            losses = self.loop.advance(order)
            pieces.append(losses)
            done += len(losses)
            if self.data.epoch > epoch:
                if self._epoch_scheduler is not None and not isinstance(
                    self._epoch_scheduler, ReduceLROnPlateau
                ):
                    self._epoch_scheduler.step()
                if self.data.steps_per_epoch is None:
                    break  # how far the next look is depends on epochs nobody can foresee
            if not len(losses) and self.data.epoch == epoch:
                raise AssertionError("a loop made no step and no epoch ended")
        return torch.cat(pieces).cpu() if len(pieces) > 1 else pieces[0].cpu()

    @property
    def finished(self) -> bool:
        """Whether all steps are done."""
        if self.task.steps is not None:
            return self.record.step >= self.task.steps
        assert self.task.epochs is not None
        return self.data.epoch >= self.task.epochs

    @property
    def total_steps(self) -> int | None:
        """Steps of the whole training; None where only its epochs are known."""
        if self.task.steps is not None:
            return self.task.steps
        per_epoch = self.data.steps_per_epoch
        assert self.task.epochs is not None
        return None if per_epoch is None else self.task.epochs * per_epoch

    @property
    def _to_last_step(self) -> int | None:
        """Steps until the next that may be the last: of all, or before the validation that may end it."""
        left = None if self.total_steps is None else self.total_steps - self.record.step
        to_validation = self._to_validation
        if self.stopping is None or to_validation is None or not self.stopping.may_stop_next:
            return left
        return to_validation if left is None else min(left, to_validation)

    @property
    def _to_validation(self) -> int | None:
        """Steps until the next validation; None where there is none, or nobody can foresee it."""
        per_epoch = self.data.steps_per_epoch
        if self.validation is None or per_epoch is None:
            return None
        epochs = self._validate_every - self.data.epoch % self._validate_every
        return epochs * per_epoch - self.data.position

    def _fall_back(self, check: SpotCheck, agreement: Agreement) -> None:
        """Go back to the last state that agreed, and go on in eager."""
        at = self.record.step
        check.go_back()
        self.task.model.train()
        message = (
            f"the plan {self.plan} computes something else than eager at step {at:,}: "
            f"{agreement.in_words()}. Training went back to step {self.record.step:,} and goes on in eager"
        )
        self.fell_back = {"fell_back_from": self.plan, "fell_back_at": at, "fell_back_reason": message}
        self.plan, self.spot_check = "eager", None
        self.loop = EagerPlan().prepare(self.task, self.data)
        self._size = ChunkSize()
        self.progress.note(message)
        warnings.warn(message, RuntimeWarning, stacklevel=2)

    def _budget(self) -> int:
        """Steps until the next look: a chunk, less where a validation or the end comes first."""
        budget = self._size.steps
        if self.total_steps is not None:
            budget = min(budget, self.total_steps - self.record.step)
        if self._to_validation is not None:
            budget = min(budget, self._to_validation)
        last = self._to_last_step
        if self.spot_check is not None and last is not None:
            budget = min(budget, max(1, last - 1))  # the last step is left for a look of its own
        return budget

    @property
    def _validate_every(self) -> int:
        """Epochs between two validations."""
        if self.task.validate_every is not None:
            return self.task.validate_every
        per_epoch, total = self.data.steps_per_epoch, self.total_steps
        if per_epoch is None or total is None:
            return 1
        return max(1, round(total / per_epoch / _VALIDATIONS))

    def _validation_due(self, validations: int) -> bool:
        if self.validation is None or self.data.position or len(self.record.history) > validations:
            return False
        seen = self.record.history[-1]["epoch"] if self.record.history else 0
        return self.data.epoch > seen and self.data.epoch % self._validate_every == 0

    def validate(self) -> dict[str, float]:
        """Look at the validation data now, and note what it gives."""
        assert self.validation is not None
        self.loop.store()
        figures = evaluate(self.task, self.validation, self.task.metrics)
        self.record.history.append({"step": self.record.step, "epoch": self.data.epoch, **figures})
        self.progress.validated(step=self.record.step, metrics=figures)
        if self.stopping is not None:
            self.stopping.saw(figures, self.record.step, self.task.model)
        if isinstance(self._epoch_scheduler, ReduceLROnPlateau):
            self._epoch_scheduler.step(figures[self.task.monitor or "loss"])
        return figures

    def _save_now_and_then(self) -> None:
        """A checkpoint where the last is old enough; rarer where writing one takes long."""
        if self.save is None:
            return
        begun = time.perf_counter()
        if begun - self._saved_at < max(self.save_every, self._save_cost / _CHECKPOINT_SHARE):
            return
        if self.spot_check is not None and self.spot_check.agreed_step != self.record.step:
            self.spot_check.hurry()  # only a state that agrees with eager is kept
            return
        self.loop.store()
        if not self._is_finite():
            return  # the last good checkpoint stays the last one
        self.save()
        self._saved_at = time.perf_counter()
        self._save_cost = self._saved_at - begun

    def _is_finite(self) -> bool:
        """Whether the weights are worth keeping: the loss shows a NaN only one step later."""
        return self.keep_going or all(
            bool(torch.isfinite(parameter).all()) for parameter in self.task.model.parameters()
        )
