"""flatout trains PyTorch models at the speed of the hardware they run on, and says why.

The public names, nothing else. Each is imported when it is first used, so that `import flatout` costs
next to nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from flatout._version import __version__

if TYPE_CHECKING:
    from flatout import gpus
    from flatout.errors import (
        AmbiguousCardError,
        CardError,
        CardNotFoundError,
        CheckpointError,
        DataError,
        DeviceError,
        DeviceMismatchError,
        DeviceNotFoundError,
        FlatoutError,
        NonFiniteLossError,
        PlanRefusedError,
        TaskError,
        TrainingInterrupted,
    )
    from flatout.hardware import explain_device_errors, to_device, try_all_gpus, try_gpu
    from flatout.hardware.doctor import Diagnosis
    from flatout.hardware.doctor import diagnose_machine as doctor
    from flatout.hardware.survey import Survey, devices
    from flatout.profiling.api import profile
    from flatout.racing.race import race
    from flatout.racing.result import Race
    from flatout.step.graph import StepGraph
    from flatout.step.trace_task import trace
    from flatout.task.source import load_task
    from flatout.task.task import Task
    from flatout.training.fit import fit
    from flatout.training.run import Run

_HOMES = {
    "AmbiguousCardError": "flatout.errors",
    "CardError": "flatout.errors",
    "CardNotFoundError": "flatout.errors",
    "CheckpointError": "flatout.errors",
    "DataError": "flatout.errors",
    "DeviceError": "flatout.errors",
    "DeviceMismatchError": "flatout.errors",
    "DeviceNotFoundError": "flatout.errors",
    "Diagnosis": "flatout.hardware.doctor",
    "FlatoutError": "flatout.errors",
    "NonFiniteLossError": "flatout.errors",
    "PlanRefusedError": "flatout.errors",
    "Race": "flatout.racing.result",
    "Run": "flatout.training.run",
    "StepGraph": "flatout.step.graph",
    "Survey": "flatout.hardware.survey",
    "Task": "flatout.task.task",
    "TaskError": "flatout.errors",
    "TrainingInterrupted": "flatout.errors",
    "devices": "flatout.hardware.survey",
    "doctor": "flatout.hardware.doctor",
    "explain_device_errors": "flatout.hardware",
    "fit": "flatout.training.fit",
    "gpus": "flatout.gpus",
    "load_task": "flatout.task.source",
    "profile": "flatout.profiling.api",
    "race": "flatout.racing.race",
    "to_device": "flatout.hardware",
    "trace": "flatout.step.trace_task",
    "try_all_gpus": "flatout.hardware",
    "try_gpu": "flatout.hardware",
}

__all__ = [
    "AmbiguousCardError",
    "CardError",
    "CardNotFoundError",
    "CheckpointError",
    "DataError",
    "DeviceError",
    "DeviceMismatchError",
    "DeviceNotFoundError",
    "Diagnosis",
    "FlatoutError",
    "NonFiniteLossError",
    "PlanRefusedError",
    "Race",
    "Run",
    "StepGraph",
    "Survey",
    "Task",
    "TaskError",
    "TrainingInterrupted",
    "__version__",
    "devices",
    "doctor",
    "explain_device_errors",
    "fit",
    "gpus",
    "load_task",
    "profile",
    "race",
    "to_device",
    "trace",
    "try_all_gpus",
    "try_gpu",
]


# Public names that are another one at home.
_NAMES_AT_HOME = {"doctor": "diagnose_machine"}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'flatout' has no attribute {name!r}")
    home = import_module(_HOMES[name])
    return home if _HOMES[name] == f"flatout.{name}" else getattr(home, _NAMES_AT_HOME.get(name, name))


def __dir__() -> list[str]:
    return __all__
