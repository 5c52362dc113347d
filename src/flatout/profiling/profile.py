"""Profile a script: run it, and measure it meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from time import perf_counter
from typing import Any

from flatout.profiling.document import document
from flatout.profiling.recorder import Order, Recorder
from flatout.profiling.run_script import Outcome, run_script
from flatout.profiling.step_words import child_seconds
from flatout.profiling.stopping import Stop
from flatout.profiling.sudden_end import SuddenEnd
from flatout.profiling.torch_import import WhenTorchLoads
from flatout.profiling.tracing.file import TraceFile
from flatout.profiling.trials.after import seconds_for


def profile_script(
    arguments: Sequence[str],
    *,
    module: bool = False,
    steps: int = 1000,
    stop: bool = False,
    trials: bool = True,
    last_words: Callable[[dict[str, Any]], None] | None = None,
    windows: Order | None = None,
    with_torch: Callable[[], None] | None = None,
    trace_file: TraceFile | None = None,
) -> tuple[Outcome, dict[str, Any] | None]:
    """Run a script unchanged and measure its first steps.

    Args:
        arguments: the script (or the module) and its own arguments.
        module: it is the name of a module.
        steps: measuring ends after so many.
        stop: the script ends then.
        trials: when the script has come to its end, a copy of its model runs again, with fixes and without.
        last_words: given the document where the process ends at once (os._exit, SIGTERM, a script that
            catches all that would stop it); this then does not return.
        windows: those of `Recorder`, where they are not the usual ones.
        with_torch: called once torch is loaded, and before the script uses it.
        trace_file: filled with what the profiler saw; it is for the caller to write.

    Returns:
        How the script ended, and the document of `document`; None in a process that the script has forked.

    Raises:
        FlatoutError: there is no such script.
    """
    folder = Path.cwd()
    children = child_seconds()

    def seen(outcome: Outcome, seconds: float | None = None) -> dict[str, Any]:
        used = child_seconds() - children
        found = document(arguments, recorder, outcome, folder, children=used, trials=seconds)
        if trace_file is not None:
            trace_file.fill(recorder.trace, found)
        return found

    def report(outcome: Outcome) -> None:
        recorder.close()
        if last_words is not None:
            last_words(seen(outcome))

    sudden = SuddenEnd(report)
    ending = Stop(lambda: sudden.now(Outcome(0, "stopped"))) if stop else None
    recorder = Recorder(steps, stop=ending, windows=windows)

    def install() -> None:
        if with_torch is not None:
            with_torch()
        recorder.install()

    torch = WhenTorchLoads(install)
    sudden.watch()
    torch.watch()
    began = perf_counter()
    try:
        outcome = run_script(arguments, module=module)
    finally:
        torch.stop()
        sudden.stop()
        recorder.close()
    if not recorder.here:
        return outcome, None
    if ending is not None and ending.wanted and outcome.how == "finished":
        outcome = Outcome(outcome.status, "stopped")  # it has caught what stopped it
    return outcome, seen(outcome, seconds_for(perf_counter() - began) if trials else None)
