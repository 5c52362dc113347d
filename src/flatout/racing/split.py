"""Where the time of an eager step goes: compute, launch and Python, transfer, sync, idle.

The five parts add up to the step. How they are told apart depends on the device and is said in words with
them; where they cannot be measured there is no Split, and nothing is shown as 0 that is not known to be 0.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

import torch

from flatout.racing.operators import timed_operators
from flatout.racing.timeline import device_parts

_HOW_ON_CPU = (
    "each operator of a step was timed by itself. Compute is what it takes beyond the same operator on a "
    "single element, sync what it loses on threads that wait for each other (it is quicker on one); launch "
    "and Python is the rest of the step. A CPU has no transfer, and no idle of its own."
)
_HOW_ON_GPU = (
    "compute is when kernels ran and transfer when only copies did, by PyTorch's profiler. The rest of the "
    "step the GPU had nothing to run: nothing was launched yet (launch and Python), the CPU was waiting for "
    "it (sync), or work was launched and had not begun (idle)."
)


@dataclass(frozen=True)
class Split:
    """Where a step in eager spends its time; microseconds a step.

    Attributes:
        device: for example "cpu" or "cuda:0".
        step_us: the whole step, of which the following are the parts.
        compute_us: the arithmetic.
        launch_us: starting it: PyTorch's dispatch, the launches, and the Python around them.
        transfer_us: copies between host and device.
        sync_us: one waits for the other: host and device, or the threads of a CPU.
        idle_us: the device has work and has not begun it.
        how: how this was measured, in words.
    """

    device: str
    step_us: float
    compute_us: float
    launch_us: float
    transfer_us: float
    sync_us: float
    idle_us: float
    how: str

    @property
    def compute_share(self) -> float:
        """The part of a step that is arithmetic, from 0 to 1."""
        return self.compute_us / self.step_us


def split_of(
    device: torch.device, step_us: float, run: Callable[[int], object], *, budget: float
) -> Split | None:
    """Split a step of eager, or None where that cannot be measured.

    Args:
        device: where the steps run.
        step_us: what a step takes when nobody looks.
        run: runs so many steps, on a task that nobody needs afterwards.
        budget: seconds to spend, about.
    """
    # The user's own code runs under a tool here; what it makes of that is no reason to end a race.
    with suppress(Exception):
        if device.type == "cpu":
            operators = timed_operators(run, budget)
            computing, waiting, starting = (
                1e6 * sum(getattr(operator, part) for operator in operators)
                for part in ("compute", "waiting", "start")
            )
            return cpu_split(str(device), step_us, computing, waiting, starting)
        if device.type == "cuda":
            steps = max(1, min(20, int(budget / 3 * 1e6 / max(step_us, 1.0))))
            return gpu_split(str(device), step_us, device_parts(run, steps))
    return None


def cpu_split(device: str, step_us: float, compute_us: float, sync_us: float, start_us: float) -> Split:
    """The split on a CPU, where what neither computes nor waits starts something or is Python.

    How long threads wait for each other changes from moment to moment: where the sum is more than the step,
    that part gives way.

    >>> cpu_split("cpu", 100.0, 8.0, 2.0, 40.0).launch_us
    90.0
    """
    compute = min(compute_us, step_us)
    sync = max(0.0, min(sync_us, step_us - compute - start_us))
    return Split(device, step_us, compute, step_us - compute - sync, 0.0, sync, 0.0, _HOW_ON_CPU)


def gpu_split(device: str, step_us: float, parts: dict[str, float]) -> Split:
    """The split on a GPU from the parts a profiler saw, microseconds a step.

    A profiler makes the host slower and not the kernels: compute and transfer are as measured, and the rest
    of the undisturbed step is shared out as the profiler saw it.

    >>> parts = {"compute": 10.0, "transfer": 0.0, "launch": 150.0, "sync": 50.0, "idle": 0.0}
    >>> gpu_split("cuda:0", 110.0, parts).launch_us
    75.0
    """
    busy = parts["compute"] + parts["transfer"]
    fits = min(1.0, step_us / busy) if busy else 1.0
    compute, transfer = parts["compute"] * fits, parts["transfer"] * fits
    rest = max(0.0, step_us - compute - transfer)
    waiting = parts["launch"] + parts["sync"] + parts["idle"]
    launch, sync = (rest * parts[part] / waiting if waiting else 0.0 for part in ("launch", "sync"))
    idle = rest - launch - sync if waiting else rest
    return Split(device, step_us, compute, launch, transfer, sync, idle, _HOW_ON_GPU)
