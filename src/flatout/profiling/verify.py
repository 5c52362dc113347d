"""Whether predicted gains come true: the script runs again, with fixes that flatout can put in and without.

Runs take turns, so that a machine that is busy for a while slows all alike. A gain is the median of the
rounds, and its interval reaches from the least to the most of them: of five rounds that holds the true median
in 94 of 100 cases.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any, Final

from flatout.profiling.remedies import remedy_for
from flatout.profiling.rerun import Call, Job
from flatout.profiling.same import SAME, Ran, same_results

ROUNDS: Final = 5
_PATIENCE: Final = 10  # times as long as without a fix, until a run is given up
_GRACE_S: Final = 60.0
_SELDOM: Final = 0.5  # times a step


@dataclass(frozen=True)
class Script(Call):
    """What is run again.

    Attributes:
        folder: the working directory it was started in.
        environment: the variables it was started with.
    """

    folder: Path
    environment: dict[str, str]


def verify(
    script: Script,
    seen: Mapping[str, Any],
    *,
    rounds: int = ROUNDS,
    on_run: Callable[[int, int], None] | None = None,
) -> list[dict[str, Any]]:
    """Run the script again, as it is and with each fix that can be put in, in turn.

    Args:
        script: it.
        seen: its profile.
        rounds: how often each is run.
        on_run: told before each run which one it is, and how many there are.

    Returns:
        For each finding "kind", "file", "line", "remedy" (what was put in, or None where flatout cannot),
        "predicted_ms", "predicted_low", "predicted_high" and "measured_ms", "low", "high" (None where it was
        not measured), "status" ("within" the predicted interval, "outside", "noise" where no gain can be
        told from none, "unpredicted", "failed", "differs" where the script computes something else, "unused"
        where the fix changed nothing, "manual" where flatout cannot put it in, "unmeasured") and "results"
        ("same", "rounded", "other", or "unknown" where two runs as it is differ, too). Ctrl-C ends it; what
        was measured until then is there.
    """
    found = list(seen["findings"])
    remedies = [remedy_for(one, script.folder, seen["device"]) for one in found]
    chosen: list[Mapping[str, Any] | None] = [
        None,
        *(one for one, remedy in zip(found, remedies, strict=True) if remedy),
    ]
    runs: list[list[Ran]] = [[] for _ in chosen]
    total = rounds * len(chosen)
    if len(chosen) > 1:
        try:
            for number, which in enumerate(_turns(len(chosen), rounds)):
                if on_run is not None:
                    on_run(number + 1, total)
                longest = max((ran.seconds for ran in runs[0]), default=None)
                patience = None if longest is None else _PATIENCE * longest + _GRACE_S
                runs[which].append(_run(script, chosen[which], seen["device"], patience))
                if which == 0 and not runs[0][0].ended:
                    break  # not even as it is
        except KeyboardInterrupt:
            pass
    measured = iter(runs[1:])
    return [
        _brief(one)
        | ({"remedy": remedy.words} | _verdict(one, runs[0], next(measured)) if remedy else _MANUAL)
        for one, remedy in zip(found, remedies, strict=True)
    ]


_UNMEASURED: Final = {"measured_ms": None, "low": None, "high": None}
_MANUAL: Final = _UNMEASURED | {"remedy": None, "status": "manual", "results": None}


def _turns(kinds: int, rounds: int) -> Iterator[int]:
    """Which is run when: all in each round, each round beginning with another."""
    for round_ in range(rounds):
        # The first of all is the script as it is: its time says how long to wait for the others.
        yield from ((round_ + turn) % kinds for turn in range(kinds))


def _brief(one: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "kind": one["kind"],
        "file": one["file"],
        "line": one["line"],
        "predicted_ms": one["gain_ms"],
        "predicted_low": one["gain_low"],
        "predicted_high": one["gain_high"],
    }


def _run(
    script: Script, finding: Mapping[str, Any] | None, device: str | None, patience: float | None
) -> Ran:
    with TemporaryDirectory(prefix="flatout-") as folder:
        job_file, result = Path(folder) / "job.json", Path(folder) / "result.json"
        job = Job(
            script.arguments,
            script.module,
            script.steps,
            script.stop,
            dict(finding) if finding else None,
            device,
            str(result),
        )
        job_file.write_text(json.dumps(asdict(job)), encoding="utf-8")
        began = perf_counter()
        try:
            done = subprocess.run(
                [sys.executable, "-m", "flatout.profiling.rerun", str(job_file)],
                cwd=script.folder,
                env=script.environment,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=patience,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return Ran(perf_counter() - began, None, b"", f"it had not ended after {patience:.0f} s")
        measured = json.loads(result.read_text(encoding="utf-8")) if result.exists() else None
        why = done.stderr.decode(errors="replace").strip().rpartition("\n")[2]
        return Ran(perf_counter() - began, measured, done.stdout, why)


def _verdict(one: Mapping[str, Any], without: Sequence[Ran], with_it: Sequence[Ran]) -> dict[str, Any]:
    """What the runs with a fix say beside those without."""
    pairs = list(zip(without, with_it, strict=False))
    if not pairs or not without[0].ended:
        return _UNMEASURED | {"status": "unmeasured", "results": None}
    if broken := [ran for ran in with_it if not ran.ended or ran.status != without[0].status]:
        return _UNMEASURED | {"status": "failed", "results": "other", "why": broken[0].why}
    if any(not ran.applied for ran in with_it):
        return _UNMEASURED | {"status": "unused", "results": None}
    results = same_results(without, with_it)
    gains = [1e-3 * (before - after) for before, after in _steps(one, pairs)]
    if not gains:
        return _UNMEASURED | {"status": "unmeasured", "results": results}
    measured = {"measured_ms": median(gains), "low": min(gains), "high": max(gains)}
    if results not in (*SAME, "unknown"):
        return measured | {"status": "differs", "results": results}
    return measured | {"status": _status(one, measured), "results": results}


def _status(one: Mapping[str, Any], measured: Mapping[str, float]) -> str:
    if one["gain_high"] is None:
        return "unpredicted"
    if measured["high"] < one["gain_low"] or measured["low"] > one["gain_high"]:
        return "outside"
    return "noise" if measured["low"] <= 0 <= measured["high"] else "within"


def _steps(one: Mapping[str, Any], pairs: Sequence[tuple[Ran, Ran]]) -> Iterator[tuple[float, float]]:
    """The µs of a step without and with a fix, round by round.

    Of what happens in most steps the median tells, which a busy machine disturbs least; what is seldom is
    only in the mean.
    """
    for pair in pairs:
        before, after = (ran.median_us if one["count"] > _SELDOM else ran.mean_us for ran in pair)
        if before is not None and after is not None:
            yield before, after
