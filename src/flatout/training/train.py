"""From a Task to a Run: check, place, prepare, train, keep."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from flatout.data.check import check_data
from flatout.data.load import load_data, load_validation
from flatout.data.source import Data
from flatout.errors import NonFiniteLossError, TaskError, TrainingInterrupted
from flatout.hardware import find_device
from flatout.plans.registry import find_plan
from flatout.racing.race import all_devices
from flatout.report.progress import Progress
from flatout.task.check import check_task
from flatout.task.task import Task
from flatout.training.choose import Choice, choose
from flatout.training.evaluate import evaluate, metric_names
from flatout.training.keeper import RunKeeper, first_document
from flatout.training.record import Record
from flatout.training.run import Run
from flatout.training.run_directory import create_run_directory, read_run, this_process
from flatout.training.session import Session
from flatout.training.spot_check import SpotCheck
from flatout.training.state import restore_training_state, training_state
from flatout.training.stopping import EarlyStopping, early_stopping


@dataclass(frozen=True)
class Options:
    """How to train, beside what: the arguments of `fit` that are not the task's."""

    plan: str
    device: str | torch.device
    progress: Progress
    run_dir: Path | None
    resume: Path | None
    checkpoint_every: float
    keep_going: bool
    source: dict[str, Any] | None
    check: bool = True


def train(task: Task, options: Options) -> Run:
    """Train `task`; the errors are those of `flatout.fit`."""
    check_task(task)
    if options.plan != "auto":
        find_plan(options.plan)
    _check_folders(options)
    places = _devices_for(task.model, options)
    resumed = None if options.resume is None else read_run(options.resume)
    recorded = None if resumed is None else resumed[0].get("plan")
    training_modes = [(module, module.training) for module in task.model.modules()]
    data, validation = _placed(task, places[0])
    choice = choose(task, options.plan, places, recorded, check=options.check)
    if choice.device != data.device:
        data.close()
        data, validation = _placed(task, choice.device)
    session = _session(task, data, validation, choice, options, None if resumed is None else resumed[2])
    keeper = _keeper(session, options, None if resumed is None else resumed[0])
    if keeper is not None:
        session.save = lambda: _save(session, keeper)
    try:
        session.progress.start(
            name=task.name,
            plan=session.plan,
            device=str(data.device),
            total_steps=session.total_steps,
            done=session.record.step,
        )
        if choice.why is not None:
            session.progress.note(f"plan {session.plan}: {choice.why}")
        if options.resume is not None and session.finished:
            session.progress.note(
                f"nothing left to do: {session.record.step:,} steps are done; "
                "give more epochs (or steps) to go on"
            )
        status = session.run()
        run = _finish(session, keeper, status)
    except BaseException as error:
        if keeper is not None and options.resume is None and _never_began(session, error):
            keeper.discard()
        elif keeper is not None:
            keeper.failed(session.record, error)
        raise
    finally:
        session.progress.finish()
        data.close()
        for module, training in training_modes:
            module.training = training
    _raise_unless_done(run, session, keeper, options)
    return run


def _check_folders(options: Options) -> None:
    """A resumed run goes on in its own folder."""
    run_dir, resume = options.run_dir, options.resume
    if run_dir is None or resume is None or resume.resolve().parent == run_dir.resolve():
        return
    raise TaskError(
        f"run_dir is {run_dir}, but a resumed run goes on in its own folder, {resume}: leave run_dir "
        "(--runs-dir) out, or leave resume (--resume) out to begin a new run there"
    )


def _never_began(session: Session, error: BaseException) -> bool:
    """Whether the first step failed, so that there is nothing to resume."""
    return session.record.step == 0 and isinstance(error, Exception)


def _devices_for(model: nn.Module, options: Options) -> list[torch.device]:
    """Where training may run: the device asked for, else where the model lies.

    A model on the CPU for which nothing was asked may go to any device that is here, if it is faster there.
    """
    if options.device != "auto":
        return [find_device(options.device)]
    here = next((p.device for p in model.parameters()), torch.device("cpu"))
    free = here.type == "cpu" and options.plan == "auto" and options.resume is None
    return all_devices() if free else [here]


def _placed(task: Task, device: torch.device) -> tuple[Data, Data | None]:
    """Bring the task to a device; its data there, checked."""
    task.to(device)
    data, validation = load_data(task, device), load_validation(task, device)
    check_data(task, data)
    if validation is not None:
        check_data(task, validation, "validation")
    return data, validation


def _session(
    task: Task,
    data: Data,
    validation: Data | None,
    choice: Choice,
    options: Options,
    state: dict[str, Any] | None,
) -> Session:
    """Everything ready to run; where a run is resumed, as it was at its checkpoint."""
    record = Record()
    stopping = None
    if validation is not None:
        stopping = early_stopping(task, metric_names(task, validation))
    if state is not None:
        restore_training_state(task, data, state, str(options.resume))
        record.restore(state["record"])
        if stopping is not None and state["stopping"] is not None:
            stopping.restore(state["stopping"])
    task.model.train()
    loop = choice.prepare(task, data)
    name = choice.plan.name
    return Session(
        task=task,
        data=data,
        validation=validation,
        loop=loop,
        record=record,
        stopping=stopping,
        progress=options.progress,
        save=None,
        save_every=options.checkpoint_every,
        keep_going=options.keep_going,
        plan=name,
        spot_check=_spot_check(task, data, record, stopping) if options.check and name != "eager" else None,
    )


def _spot_check(task: Task, data: Data, record: Record, stopping: EarlyStopping | None) -> SpotCheck:
    """The checks of this training.

    Raises:
        TaskError: the task cannot be copied, and the checks work on a copy.
    """
    try:
        return SpotCheck(task, data, record, stopping)
    except Exception as error:
        raise TaskError(
            f"{task.name} cannot be copied ({error}), and checking a plan works on a copy: "
            "take plan='eager', or check=False (--no-check) to go without"
        ) from error


def _save(session: Session, keeper: RunKeeper) -> None:
    """Keep a checkpoint, and by which plan it was made."""
    keeper.document |= {"plan": session.plan, **session.fell_back}
    keeper.save(session.record, _state(session))


def _state(session: Session) -> dict[str, Any]:
    """All that resuming needs."""
    return {
        **training_state(session.task, session.data),
        "record": session.record.state(),
        "stopping": None if session.stopping is None else session.stopping.state(),
    }


def _keeper(session: Session, options: Options, document: dict[str, Any] | None) -> RunKeeper | None:
    """The run directory: the one resumed, a new one, or none."""
    if options.resume is not None:
        assert document is not None
        document |= {
            "process": this_process(),
            "total_steps": session.total_steps,
            "plan": session.plan,
            "check": options.check,
            "device": str(session.data.device),
        }
        document.pop("error", None)
        keeper = RunKeeper(options.resume, document)
        keeper.save(session.record, _state(session))
        return keeper
    if options.run_dir is None:
        return None
    document = first_document(
        session.task,
        plan=session.plan,
        device=session.data.device,
        total_steps=session.total_steps,
        source=options.source,
    ) | {"check": options.check}
    directory = create_run_directory(options.run_dir, session.task.name, document, _state(session))
    return RunKeeper(directory, document | {"id": directory.name})


def _finish(session: Session, keeper: RunKeeper | None, status: str) -> Run:
    """The last checkpoint, the best weights, the final figures, and the files of the run."""
    record, stopping, task = session.record, session.stopping, session.task
    if keeper is not None and status != "not finite":
        _save(session, keeper)
    best_step = None
    if stopping is not None and stopping.weights is not None and status in ("finished", "stopped early"):
        task.model.load_state_dict(stopping.weights)
        best_step = stopping.best_step
    run = Run(
        task=task.name,
        plan=session.plan,
        device=str(session.data.device),
        losses=record.losses,
        metrics={} if status == "not finite" else _final_metrics(session, best_step),
        history=record.history,
        seconds=record.seconds,
        status=status,
        best_step=best_step,
    )
    if keeper is not None:
        keeper.finish(run, task.model)
    return run


def _final_metrics(session: Session, best_step: int | None) -> dict[str, float]:
    """The figures of the model as it is now: on the validation data, else on the training data."""
    task, history = session.task, session.record.history
    if session.validation is not None:
        step = session.record.step if best_step is None else best_step
        for entry in history:
            if entry["step"] == step:
                return {name: value for name, value in entry.items() if name not in ("step", "epoch")}
        return evaluate(task, session.validation, task.metrics)
    if session.data.sample() is None or not metric_names(task, session.data):
        return {}  # data that can be read only once, or without end, is not read again
    figures = evaluate(task, session.data, task.metrics)
    return {f"train_{name}": value for name, value in figures.items() if name != "loss"}


def _raise_unless_done(run: Run, session: Session, keeper: RunKeeper | None, options: Options) -> None:
    """Where training was interrupted, or its loss left the numbers, the exception holds the run."""
    if run.status == "interrupted":
        how = "nothing was kept on disk, because no run_dir was given"
        if keeper is not None:
            how = f"go on with {_resume_command(keeper, options)}"
        raise TrainingInterrupted(f"interrupted after step {run.steps:,}: {how}", run=run)
    if run.status == "not finite":
        step = session.record.first_bad_step
        assert step is not None
        checkpoint = None if keeper is None else keeper.last_checkpoint
        kept = "" if checkpoint is None else f" The last good checkpoint is {checkpoint}."
        rates = sorted({float(group["lr"]) for group in session.task.optimizer.param_groups if "lr" in group})
        now = f" (now {', '.join(f'{rate:g}' for rate in rates)})" if rates else ""
        raise NonFiniteLossError(
            f"the loss became {float(run.losses[step]):g} at step {step:,} and training stopped.{kept} "
            f"Try a smaller learning rate{now}, clip_grad_norm=1.0, or look for a logarithm or division of 0 "
            "in the loss; keep_going=True (--keep-going) records on regardless",
            step=step,
            checkpoint=checkpoint,
            run=run,
        )


def _resume_command(keeper: RunKeeper, options: Options) -> str:
    if options.source is not None:
        return f"flatout train --resume {keeper.directory}"
    return f"fit(..., resume={str(keeper.directory)!r})"
