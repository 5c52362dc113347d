"""Profile scripts with planted faults and their clean twins; print what was found, precision and recall.

    python tests/profiling/faults              # all; those that need a GPU only where there is one
    python tests/profiling/faults read_item    # some
    python tests/profiling/faults --trials     # all, also those whose fault an experiment has to show
    python tests/profiling/faults --json       # the scores as one JSON document

In a script, `# FAULT: kind, kind` marks a line that must be found, and `# ALSO: kind` one that may be found,
since it is a fault, too, but not the one that the script is for. All else that is found is wrong; but that a
step starts more than it does is true of all small scripts, and counts in those alone that are for it. `# GPU`
in the first line says that a script needs one, `# TRIALS` that it needs experiments: these take seconds, and
depend on what else the machine does. What they measure besides the fault is neither right nor wrong.

All run in this process, one after another, each in a folder of its own for what it writes.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import re
import sys
import tempfile
import warnings
from dataclasses import asdict, dataclass
from pathlib import Path
from time import perf_counter

HERE = Path(__file__).resolve().parent
# The kinds that experiments measure, and stamps alone cannot show.
_MEASURED = {"float64", "optimizer", "zero-grad", "threads", "channels-last", "precision", "device", "batch"}
_SMALL = "launch-bound"
_MARK = re.compile(r"# (FAULT|ALSO): ([\w-]+(?:, [\w-]+)*)")


@dataclass(frozen=True)
class Score:
    """What was found in one script: each fault as "kind:line"."""

    script: str
    faults: list[str]
    found: list[str]
    missed: list[str]
    wrong: list[str]
    outcome: str


def scripts(names: list[str], *, trials: bool) -> list[Path]:
    """The scripts by these names with their twins, or all, but not those that need what is not there."""
    import torch

    paths = sorted(path for path in HERE.glob("*.py") if not path.name.startswith("_"))
    if names:
        paths = [path for path in paths if path.stem.removesuffix("_clean") in names or path.stem in names]
    here = {"GPU"} if torch.cuda.is_available() else set()
    here |= {"TRIALS"} if trials or names else set()
    return [path for path in paths if needs(path) <= here]


def needs(path: Path) -> set[str]:
    """What the first line of a script says that it needs: "GPU", "TRIALS"."""
    comment = path.read_text().splitlines()[0].partition("  # ")[2]
    return set(comment.split(", ")) - {""}


def marks(path: Path) -> dict[str, set[str]]:
    """What the comments say: "FAULT" and "ALSO", each a set of "kind:line"."""
    marked: dict[str, set[str]] = {"FAULT": set(), "ALSO": set()}
    for number, text in enumerate(path.read_text().splitlines(), 1):
        for what, kinds in _MARK.findall(text):
            marked[what] |= {f"{kind}:{number}" for kind in kinds.split(", ")}
    return marked


def twin(path: Path) -> Path:
    """The script that a clean one is the twin of, or itself."""
    other = path.with_name(path.name.replace("_clean.py", ".py"))
    return other if other.exists() else path


def profiled(path: Path) -> Score:
    """Run one script under the profiler, and put what it set in this process back."""
    import torch

    from flatout.profiling.profile import profile_script

    threads, dtype, handlers = torch.get_num_threads(), torch.get_default_dtype(), logging.root.handlers[:]
    kept = sys.argv, sys.path[0], sys.modules["__main__"], Path.cwd(), logging.root.level
    with (
        tempfile.TemporaryDirectory() as folder,
        Path(os.devnull).open("w") as nowhere,
        contextlib.redirect_stdout(nowhere),
        warnings.catch_warnings(),
    ):
        os.chdir(folder)
        try:
            outcome, seen = profile_script([str(path)], trials="TRIALS" in needs(path))
        finally:
            sys.argv, sys.path[0], sys.modules["__main__"] = kept[:3]
            os.chdir(kept[3])
            logging.root.handlers[:] = handlers
            logging.root.setLevel(kept[4])
            torch.set_num_threads(threads)
            torch.set_default_dtype(dtype)
    marked = marks(path)
    own = {fault.partition(":")[0] for each in (path, twin(path)) for fault in marks(each)["FAULT"]}
    findings = [] if seen is None else [one for one in seen["findings"] if one["file"] == str(path)]
    counts = path.stem.startswith(_SMALL.replace("-", "_"))
    besides = (_MEASURED if counts else _MEASURED | {_SMALL}) - own
    found = {f"{one['kind']}:{one['line']}" for one in findings if one["kind"] not in besides}
    return Score(
        path.stem,
        sorted(marked["FAULT"]),
        sorted(found),
        sorted(marked["FAULT"] - found),
        sorted(found - marked["FAULT"] - marked["ALSO"]),
        outcome.how,
    )


def summary(scores: list[Score]) -> str:
    """Precision and recall, in a sentence."""
    faults = sum(len(one.faults) for one in scores)
    hits = faults - sum(len(one.missed) for one in scores)
    found = sum(len(one.found) for one in scores)
    right = found - sum(len(one.wrong) for one in scores)
    return (
        f"{len(scores)} scripts: recall {hits}/{faults} ({100 * hits / max(1, faults):.0f} %), "
        f"precision {right}/{found} ({100 * right / max(1, found):.0f} %)"
    )


def main(arguments: list[str]) -> int:
    sys.path[0] = ""  # the scripts have names of their own
    as_json = "--json" in arguments
    scores = []
    names = [name for name in arguments if not name.startswith("-")]
    for path in scripts(names, trials="--trials" in arguments):
        began = perf_counter()
        scores.append(one := profiled(path))
        took = perf_counter() - began
        if not as_json:
            trouble = [f"missed {each}" for each in one.missed] + [f"wrong {each}" for each in one.wrong]
            trouble += [one.outcome] if one.outcome != "finished" else []
            found = ", ".join(one.found) or "-"
            print(f"{one.script:22} {took:4.1f} s  {found:50} {'; '.join(trouble) or 'ok'}", flush=True)
    document = {"summary": summary(scores), "scores": [asdict(one) for one in scores]}
    print(json.dumps(document) if as_json else document["summary"], flush=True)
    return any(one.missed or one.wrong or one.outcome != "finished" for one in scores)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
