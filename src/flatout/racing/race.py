"""Every plan on every device, on the task itself: `race`."""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import torch
from torch.utils.data import DataLoader, Dataset, TensorDataset

from flatout.data.check import check_data
from flatout.data.load import load_data
from flatout.data.random_state import random_state, set_random_state
from flatout.data.source import Data
from flatout.errors import PlanRefusedError, SetupTooLongError, TaskError
from flatout.hardware import find_device, try_all_gpus
from flatout.plans.base import Loop, Plan
from flatout.plans.registry import PLANS, find_plan
from flatout.racing.check import NOISY_RUNS, Agreement, compare, first_steps, perturb, spread
from flatout.racing.floors import floor_us, traced
from flatout.racing.kept import keep_decision, kept_decision
from flatout.racing.result import Candidate, Race
from flatout.racing.room import too_little_room
from flatout.racing.split import Split, split_of
from flatout.racing.timing import Stopwatch
from flatout.racing.words import reason_for, too_short
from flatout.report import text
from flatout.step.graph import StepGraph
from flatout.task.check import check_task
from flatout.task.task import Task

Watch = Callable[[tuple[Candidate, ...], str], object]

# All timing together: seconds, and the share of what the training takes in eager.
_MOST_SECONDS = 2.0
_MOST_SHARE = 0.05
_LEAST_BUDGET = 0.002
# Seconds to find out where an eager step spends its time.
_SPLIT_SECONDS = 0.3
# No set-up pays for itself in fewer steps than this, so that training does not even begin a race.
_TOO_FEW = 50


class CopyError(TaskError):
    """The task cannot be copied, so that a race would disturb it; the message says why."""


def race(
    task: Task,
    *,
    plans: Sequence[str] | None = None,
    devices: Sequence[str | torch.device] | None = None,
    watch: Watch | None = None,
    check: bool = True,
    keep_loop: bool = False,
    explain: bool = True,
) -> Race:
    """Time plans on devices for this task and choose by set-up + steps x time.

    Works on copies: the task, and the random generators, are as before. A plan that computes something
    else than eager is thrown out. A plan whose set-up alone takes longer than the best one needs for all
    steps is not tried, so that a short training stays in eager.

    Args:
        task: what would be trained.
        plans: their names; None: all. Eager always takes part.
        devices: None: all that are here.
        watch: called with the candidates so far, and what is tried now in words, whenever that changes.
        check: whether a plan has to agree with eager before it may win.
        keep_loop: leave the winner's prepared loop in `Race.loop`.
        explain: find the floor on every device and where an eager step spends its time, whatever wins;
            without it only what costs next to nothing.

    Returns:
        The Race: `winner`, `reason`, `table`, `splits` and all `candidates`.

    Raises:
        TaskError, DataError: the task cannot be trained as it is described, or cannot be copied.
        PlanRefusedError: there is no plan of that name.

    Example:
        >>> import flatout
        >>> result = race(flatout.load_task("iris", seed=0), plans=["eager"])
        >>> result.winner.plan
        'eager'
    """
    check_task(task)
    names = list(PLANS) if plans is None else ["eager", *(name for name in plans if name != "eager")]
    entrants = [find_plan(name) for name in names if name != "auto"]
    places = all_devices() if devices is None else [find_device(device) for device in devices]
    if is_streaming(task):
        return _not_raced(task, entrants, places)
    with undisturbed():
        race_ = _Racer(task, entrants, places, watch, check, keep_loop, explain).run()
    if check and plans is None and any(c.setup_s is not None and c.plan != "eager" for c in race_.candidates):
        keep_decision(task, race_, places)
    return race_


def decide(task: Task, devices: Sequence[str | torch.device], *, check: bool = True) -> Race:
    """The decision of an earlier race for such a task, else that of a race now; errors as in `race`.

    A training of a few steps on the only device there is stays in eager without a race.
    """
    places = [find_device(device) for device in devices]
    if not is_streaming(task):
        with undisturbed():
            steps = total_steps(task, load_data(task, torch.device("cpu")))
        if steps < _TOO_FEW and len(places) == 1:
            winner = Candidate(str(places[0]), "eager", "ok")
            reason = f"{steps} steps are done before another plan is set up"
            return Race(task.name, steps, winner, reason, (winner,))
        kept = kept_decision(task, steps, places) if check else None
        if kept is not None:
            return kept
    return race(task, devices=places, check=check, keep_loop=True, explain=False)


def all_devices() -> list[torch.device]:
    """The CPU and every accelerator that is here."""
    return [torch.device("cpu"), *(device for device in try_all_gpus() if device.type != "cpu")]


def is_streaming(task: Task) -> bool:
    """Whether the data is read while training: a race would use it up."""
    return isinstance(task.data, (DataLoader, Dataset)) and not isinstance(task.data, TensorDataset)


def total_steps(task: Task, data: Data) -> int:
    """Steps of the whole training on resident data."""
    if task.steps is not None:
        return task.steps
    assert task.epochs is not None and data.steps_per_epoch is not None
    return task.epochs * data.steps_per_epoch


@contextmanager
def undisturbed() -> Iterator[None]:
    """Leave the random generators as they were, and give no warning that training gives again."""
    before = random_state()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        set_random_state(before)


@dataclass
class _Entry:
    """A plan prepared on a copy of the task."""

    task: Task
    data: Data
    loop: Loop
    setup: float


class _Racer:
    """One race: what is known so far."""

    def __init__(
        self,
        task: Task,
        plans: Sequence[Plan],
        devices: Sequence[torch.device],
        watch: Watch | None,
        check: bool,
        keep_loop: bool,
        explain: bool,
    ) -> None:
        self._task, self._plans, self._devices = task, plans, devices
        self._watch, self._check, self._keep_loop, self._explain = watch, check, keep_loop, explain
        self._seed = int(torch.initial_seed() % (1 << 32))
        self._candidates: list[Candidate] = []
        self._best: Candidate | None = None
        self._loop: Loop | None = None
        self._graph: StepGraph | None = None
        self._splits: list[Split] = []
        self._steps = 0
        self._budget = _MOST_SECONDS

    def run(self) -> Race:
        for device in self._devices:
            reference, why = self._eager_if_room(device)
            if why is not None:
                for plan in self._plans:
                    self._note(Candidate(str(device), plan.name, "skipped", why))
                continue
            for plan in self._plans:
                if plan.name != "eager":
                    self._tell(f"{plan.name} on {device}")
                    self._note(self._other(plan, device, reference))
        if self._best is None:
            raise CopyError(f"{self._task.name} is not raced: {self._candidates[0].reason}")
        self._tell("the floor")
        floors = self._floors()
        candidates = tuple(replace(c, floor_us=floors[c.device]) for c in self._candidates)
        winner = candidates[self._candidates.index(self._best)]
        splits = tuple(self._splits)
        reason = reason_for(winner, candidates, self._steps, splits)
        return Race(self._task.name, self._steps, winner, reason, candidates, splits=splits, loop=self._loop)

    def _eager_if_room(self, device: torch.device) -> tuple[dict[str, torch.Tensor] | None, str | None]:
        """What `_eager` returns, and why there is no room for it on this device."""
        why = too_little_room(self._task, device)
        if why is not None:
            return None, why
        self._tell(f"eager on {device}")
        try:
            return self._eager(device), None
        except (MemoryError, torch.OutOfMemoryError) as error:
            return None, f"the memory of {device} is too small for a copy and a step ({_first_words(error)})"

    def _eager(self, device: torch.device) -> dict[str, torch.Tensor] | None:
        """Time eager on a device; returns what its first steps give, where another plan may need that."""
        entry = self._enter(find_plan("eager"), device)
        check_data(entry.task, entry.data)
        self._steps = total_steps(entry.task, entry.data)
        watch = Stopwatch(entry.task, entry.data, entry.loop, self._steps)
        watch.run(1)
        about = watch.run(1) * self._steps
        self._budget = max(_LEAST_BUDGET, min(self._budget, _MOST_SHARE * about))
        seconds = watch.seconds_per_step(budget=self._budget / 2) if self._steps > 1 else about
        self._note(self._ok("eager", device, entry.setup, seconds, None), entry.loop)
        nobody_else = all(plan.name == "eager" or self._hopeless(plan) for plan in self._plans)
        if self._explain or (device.type == "cpu" and not nobody_else):
            budget = _SPLIT_SECONDS if self._explain else min(_SPLIT_SECONDS, self._budget)
            split = split_of(device, seconds * 1e6, watch.run, budget=budget)
            self._splits += [] if split is None else [split]
        if not self._check or nobody_else:
            return None
        entry = self._enter(find_plan("eager"), device)
        return self._first_steps(entry)

    def _floors(self) -> dict[str, float | None]:
        if self._graph is None and self._explain:
            self._graph = traced(self._task)
        return {str(d): floor_us(self._graph, d, measure=self._explain) for d in self._devices}

    def _other(
        self, plan: Plan, device: torch.device, reference: dict[str, torch.Tensor] | None
    ) -> Candidate:
        best = self._best
        assert best is not None and best.predicted_s is not None
        if self._hopeless(plan):
            setup = f"setting {plan.name} up takes {text.seconds(plan.least_setup(self._task))} or more"
            why = too_short(best.predicted_s, self._steps, setup)
            return Candidate(str(device), plan.name, "skipped", why)
        try:
            entry = self._enter(plan, device)
            self._graph = self._graph or entry.loop.graph()
            found = self._first_steps(entry)
        except SetupTooLongError as error:
            why = too_short(best.predicted_s, self._steps, str(error))
            return Candidate(str(device), plan.name, "skipped", why)
        except PlanRefusedError as refusal:
            return Candidate(str(device), plan.name, "refused", str(refusal))
        except Exception as error:  # noqa: BLE001
            # Eager has run these steps, so it is the plan that failed, and the others go on.
            return Candidate(str(device), plan.name, "refused", f"it failed: {_first_words(error)}")
        agreement = None if reference is None else compare(found, reference)
        if agreement is not None and reference is not None and not agreement.agrees:
            agreement = compare(found, reference, self._noise_of(device, reference))
        if agreement is not None and not agreement.agrees:
            return _wrong(plan, device, entry.setup, agreement)
        watch = Stopwatch(entry.task, entry.data, entry.loop, self._steps)
        hopeless = (best.predicted_s - entry.setup) / self._steps
        seconds = watch.seconds_per_step(budget=self._budget / 4, hopeless_above=max(0.0, hopeless))
        off = None if agreement is None else agreement.max_abs_diff
        candidate = self._ok(plan.name, device, entry.setup, seconds, off)
        if self._keep_loop and _better(candidate, best):
            self._loop = entry.loop
        return candidate

    def _noise_of(self, device: torch.device, reference: dict[str, torch.Tensor]) -> dict[str, float]:
        """How far eager is from itself when its parameters differ in the last digit."""
        runs = []
        for seed in range(NOISY_RUNS):
            entry = self._enter(find_plan("eager"), device)
            perturb(entry.task, seed)
            runs.append(self._first_steps(entry))
        return spread(reference, runs)

    def _hopeless(self, plan: Plan) -> bool:
        """Whether the best plan so far is done before this one would be ready."""
        assert self._best is not None and self._best.predicted_s is not None
        return self._best.predicted_s <= plan.least_setup(self._task)

    def _enter(self, plan: Plan, device: torch.device) -> _Entry:
        task = _copy(self._task, device)
        task.model.train()
        data = load_data(task, device)
        torch.manual_seed(self._seed)
        begun = time.perf_counter()
        most = math.inf if self._best is None else self._best.predicted_s or math.inf
        loop = plan.prepare_within(task, data, most)
        return _Entry(task, data, loop, time.perf_counter() - begun)

    def _first_steps(self, entry: _Entry) -> dict[str, torch.Tensor]:
        torch.manual_seed(self._seed)
        return first_steps(entry.task, entry.data, entry.loop)

    def _ok(
        self, plan: str, device: torch.device, setup: float, seconds: float, difference: float | None
    ) -> Candidate:
        return Candidate(
            str(device),
            plan,
            "ok",
            setup_s=setup,
            us_per_step=seconds * 1e6,
            predicted_s=setup + self._steps * seconds,
            max_abs_diff=difference,
        )

    def _note(self, candidate: Candidate, loop: Loop | None = None) -> None:
        self._candidates.append(candidate)
        if candidate.status == "ok" and (self._best is None or _better(candidate, self._best)):
            self._best = candidate
            if loop is not None:
                self._loop = None  # eager costs nothing to prepare
        self._tell("")

    def _tell(self, now: str) -> None:
        if self._watch is not None:
            self._watch(tuple(self._candidates), now)


def _first_words(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"


def _better(one: Candidate, other: Candidate) -> bool:
    assert one.predicted_s is not None and other.predicted_s is not None
    return one.predicted_s < other.predicted_s


def _wrong(plan: Plan, device: torch.device, setup: float, agreement: Agreement) -> Candidate:
    return Candidate(
        str(device),
        plan.name,
        "wrong",
        f"it computes something else than eager: after the checked steps {agreement.in_words()}",
        setup_s=setup,
        max_abs_diff=agreement.max_abs_diff,
    )


def _copy(task: Task, device: torch.device) -> Task:
    try:
        return task.copied_to(device)
    except (MemoryError, torch.OutOfMemoryError):
        raise
    except Exception as error:
        raise CopyError(f"{task.name} cannot be copied ({error}), and a race works on copies") from error


def _not_raced(task: Task, plans: Sequence[Plan], devices: Sequence[torch.device]) -> Race:
    why = "its data streams in, which only eager takes, and timing it would use it up"
    place = next((p.device for p in task.model.parameters()), devices[0])
    winner = Candidate(str(place), "eager", "ok")
    others = [Candidate(str(place), p.name, "skipped", why) for p in plans if p.name != "eager"]
    return Race(task.name, task.steps, winner, f"{task.name} stays in eager: {why}", (winner, *others))
