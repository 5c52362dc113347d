"""Every error flatout raises on purpose.

    FlatoutError
    ├── TaskError              the task cannot be trained as it is described
    │   └── DataError          its data cannot be trained on
    ├── DeviceError
    │   ├── DeviceNotFoundError    a device was asked for that is not here
    │   └── DeviceMismatchError    tensors of one operation lie on different devices
    ├── CardError              a graphics card or a price cannot be looked up as it is given
    │   ├── CardNotFoundError      no card of the catalogue has this name
    │   └── AmbiguousCardError     several cards have this name; holds them
    ├── PlanRefusedError       a plan cannot run this task; says why
    ├── LabError               a lab cannot be run as it is asked for
    ├── CheckpointError        a run directory or checkpoint cannot be read or written
    └── NonFiniteLossError     the loss became NaN or infinite while training

    KeyboardInterrupt
    └── TrainingInterrupted    Ctrl-C while training; everything so far is saved

Each message says what was expected, what was found and what to do.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path


class FlatoutError(Exception):
    """Base of every error flatout raises on purpose."""


class TaskError(FlatoutError, ValueError):
    """The task cannot be trained as it is described."""


class DataError(TaskError):
    """The data of a task cannot be trained on."""


class DeviceError(FlatoutError, RuntimeError):
    """Something is wrong with a device or with what lies on it."""


class DeviceNotFoundError(DeviceError):
    """A device was asked for that is not here."""


class DeviceMismatchError(DeviceError):
    """Tensors that meet in one operation lie on different devices."""


class CardError(FlatoutError, ValueError):
    """A graphics card, a price or a row of the catalogue is not as it must be."""


class CardNotFoundError(CardError):
    """No card of the catalogue has this name."""


class AmbiguousCardError(CardError):
    """Several cards of the catalogue have this name.

    Attributes:
        choices: the names of these cards.
    """

    def __init__(self, message: str, *, choices: tuple[str, ...]) -> None:
        super().__init__(message)
        self.choices = choices


class PlanRefusedError(FlatoutError):
    """A plan cannot run this task; the message says why."""


class SetupTooLongError(PlanRefusedError):
    """A plan was given up because its set-up was foreseen to take too long."""


class LabError(FlatoutError, ValueError):
    """A lab cannot be run as it is asked for."""


class CheckpointError(FlatoutError):
    """A run directory or checkpoint cannot be read or written."""


class NonFiniteLossError(FlatoutError, ArithmeticError):
    """The loss became NaN or infinite while training.

    Attributes:
        step: the first step (counted from 0) whose loss is not finite.
        checkpoint: the last good checkpoint, or None where none was kept.
        run: the record up to the end of the chunk in which it happened.
    """

    def __init__(self, message: str, *, step: int, checkpoint: Path | None, run: Any) -> None:
        super().__init__(message)
        self.step = step
        self.checkpoint = checkpoint
        self.run = run


class TrainingInterrupted(KeyboardInterrupt):
    """Ctrl-C while training. The chunk was finished and saved; `run` holds the record so far."""

    def __init__(self, message: str, *, run: Any) -> None:
        super().__init__(message)
        self.run = run
