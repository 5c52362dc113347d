"""All experiments, one after another, within a budget of seconds."""

from __future__ import annotations

import gc
from collections.abc import Callable, Mapping
from time import perf_counter
from types import MappingProxyType
from typing import Final

import torch

from flatout.hardware.cpu import cpu
from flatout.profiling.evidence import AbstainError
from flatout.profiling.subject import Subject
from flatout.profiling.trials import arithmetic, batches, places, updates
from flatout.profiling.trials.setup import Setup
from flatout.profiling.trials.trial import Sizes, Trial, Trials
from flatout.profiling.trials.undisturbed import undisturbed

NO_SUBJECT: Final = "no step called a module whose parameters its optimizer holds"


def no_grad(setup: Setup) -> Trial | None:
    """Forward alone, with what a gradient needs and without."""
    if not setup.subject.trains:
        return None
    before = setup.base.under(trains=False, grad=True)
    after = setup.base.under(trains=False, grad=False)
    return setup.trial(before, after, "with torch.no_grad():", parts=("forward",), alike=("forward",))


Experiment = Callable[[Setup], Trial | Sizes | None]

# By name; None where there is nothing to change. The surest first: the seconds may not be enough for all.
EXPERIMENTS: Final[dict[str, Experiment]] = {
    "float64": arithmetic.float64,
    "fused": updates.fused,
    "zero-grad": updates.set_to_none,
    "threads": places.threads,
    "channels-last": arithmetic.channels_last,
    "tf32": arithmetic.tf32,
    "bf16": arithmetic.bf16,
    "device": places.device,
    "batch": batches.sizes,
    "foreach": updates.foreach,
    "no-grad": no_grad,
}


def run_trials(
    subject: Subject | None,
    *,
    seconds: float,
    zeroes: bool = False,
    cpus: int | None = None,
    also: Mapping[str, Experiment] = MappingProxyType({}),
    clock: Callable[[], float] = perf_counter,
) -> Trials:
    """Make every experiment that is possible; what cannot be made says why.

    Args:
        subject: whose copy they run, or None.
        seconds: for all of them together.
        zeroes: whether the script's `zero_grad` fills gradients with zeros.
        cpus: that this process may use; asked of the system unless told.
        also: experiments of this script alone, which come first.
        clock: tells the seconds.
    """
    if subject is None:
        return Trials(none=NO_SUBJECT)
    count = cpus if cpus is not None else max(1, int(cpu().usable_cpus or torch.get_num_threads()))
    measured: dict[str, Trial] = {}
    impossible: dict[str, str] = {}
    found: Sizes | None = None
    every = {**also, **EXPERIMENTS}
    try:
        with undisturbed():
            setup = Setup(subject, seconds=seconds, zeroes=zeroes, cpus=count, clock=clock)
            for name, experiment in every.items():
                try:
                    result = experiment(setup)
                except (Exception, SystemExit) as error:  # noqa: BLE001  whatever a person's forward raises
                    impossible[name] = _why(error)
                    continue
                if isinstance(result, Sizes):
                    found = result
                elif result is not None:
                    measured[name] = result
    except KeyboardInterrupt:
        for name in every:
            if name not in measured:
                impossible.setdefault(name, "the experiments were interrupted")
    except (Exception, SystemExit) as error:  # noqa: BLE001  likewise
        return Trials(none=_why(error))
    finally:
        _tidy(subject)
    return Trials(measured, impossible, None, found)


def _why(error: BaseException) -> str:
    if isinstance(error, AbstainError):
        return str(error)
    first = str(error).strip().partition("\n")[0]
    return f"the model's copy failed: {type(error).__name__}: {first}".rstrip(": ")


def _tidy(subject: Subject) -> None:
    if subject.device.type == "cuda":
        gc.collect()
        torch.cuda.empty_cache()
