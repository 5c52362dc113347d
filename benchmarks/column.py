"""One column of the table of peers, a process of its own that measures when it is asked to.

The framework is imported once. For each workload the process forks, so that every first call is the first
of a process in which nothing has run. Requests and answers are lines of JSON:

    {"row": name}         set it up           {"first_s": s} or {"why": what stands in the way}
    {"seconds": s}        run about so long   {"us": microseconds a step}
    {"end": true}         be done with it     {}
"""

from __future__ import annotations

import importlib
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

COLUMNS = {
    "native": "flatout_plan:native",
    "eager loop": "torch_loops:eager",
    "fused optimizer": "torch_loops:fused",
    "DataLoader loop": "torch_loops:loader",
    "torch.compile": "torch_loops:compiled",
    "scikit-learn": "sklearn_mlp:mlp",
    "Lightning": "lightning_trainer:trainer",
    "Keras 3 on torch": "keras_fit:fit",
    "skorch": "skorch_net:net",
    "JAX lax.scan": "jax_scan:scan",
}
"""Name of a column to the file in `peers/` and the function that makes a workload ready."""

Answer = dict[str, Any]


class Column:
    """The process of a column, as the one who asks sees it.

    Args:
        name: of `COLUMNS`.
        threads: how many it may use, and how many cores.
        limit: the most seconds to wait for an answer.
    """

    def __init__(self, name: str, threads: int, limit: float = 240.0) -> None:
        self.name, self._threads, self._limit = name, threads, limit
        self._process: subprocess.Popen[str] | None = None
        self._caches = tempfile.TemporaryDirectory(prefix="flatout-bench-")  # nothing is built beforehand

    def ask(self, **request: Any) -> Answer:
        """The answer to a request; where none comes, why."""
        process = self._started()
        assert process.stdin is not None and process.stdout is not None
        try:
            print(json.dumps(request), file=process.stdin, flush=True)
            if not select.select([process.stdout], [], [], self._limit)[0]:
                self.stop()
                return {"why": f"it took more than {self._limit:.0f} s"}
            answer: Answer = json.loads(process.stdout.readline())
        except (BrokenPipeError, ValueError):
            self.stop()
            return {"why": "its process ended"}
        return answer

    def stop(self) -> None:
        """End the process and what it started."""
        if self._process is not None and self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        self._process = None

    def _started(self) -> subprocess.Popen[str]:
        if self._process is None:
            count = str(self._threads)
            limits = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), count)
            caches = dict.fromkeys(("FLATOUT_CACHE", "TORCHINDUCTOR_CACHE_DIR"), self._caches.name)
            self._process = subprocess.Popen(
                [sys.executable, "-W", "ignore", __file__, self.name, count],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                start_new_session=True,
                cwd=Path(__file__).parent,
                env=os.environ | limits | caches | {"JAX_PLATFORMS": "cpu"},
            )
        return self._process


def main() -> None:
    """Answer until there are no more requests."""
    name, threads = sys.argv[1], int(sys.argv[2])
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a framework prints is no answer
    if hasattr(os, "sched_setaffinity"):  # not every framework can be told how many threads to use
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[-threads:])
    file, function = COLUMNS[name].split(":")
    prepare, why = None, ""
    try:
        import torch

        torch.set_num_threads(threads)
        prepare = getattr(importlib.import_module(f"peers.{file}"), function)
    except ImportError as error:
        why = f"not installed ({error})"
    for line in iter(sys.stdin.readline, ""):
        request = json.loads(line)
        if prepare is None:
            if "row" in request:
                _say(answers, {"why": why})
        elif os.fork() == 0:
            _serve(prepare, request["row"], answers)
            os._exit(0)
        else:
            os.wait()


def _serve(prepare: Callable[..., Any], name: str, answers: Any) -> None:
    """One workload, from its set-up to its end."""
    from workloads import ROWS

    try:
        begun = time.perf_counter()
        steps = prepare(ROWS[name])
        steps.run(steps.unit)
        first = time.perf_counter() - begun
        steps.run(steps.unit)  # some compile once more
        _say(answers, {"first_s": first})
        count = steps.unit
        for line in iter(sys.stdin.readline, ""):
            request = json.loads(line)
            if "end" in request:
                _say(answers, {})
                return
            us, count = _round(steps, count, request["seconds"])
            _say(answers, {"us": us})
    except NotImplementedError as refusal:
        _say(answers, {"why": str(refusal)})
    except Exception as error:  # noqa: BLE001
        traceback.print_exc()
        _say(answers, {"why": f"{type(error).__name__}: {(str(error).strip().splitlines() or [''])[0]}"})


def _round(steps: Any, count: int, seconds: float) -> tuple[float, int]:
    """Microseconds a step in a run of about so many seconds, and how many steps that are."""
    while True:
        begun = time.perf_counter()
        steps.run(count)
        spent = time.perf_counter() - begun
        if spent > 0.6 * seconds:
            return spent / count * 1e6, count
        more = min(20.0, seconds / max(spent, 1e-6))
        count = max(count + steps.unit, int(count * more) // steps.unit * steps.unit)


def _say(answers: Any, answer: Answer) -> None:
    print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()
