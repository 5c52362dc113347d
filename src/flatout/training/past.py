"""The runs that lie in a folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from flatout.errors import CheckpointError
from flatout.report import text
from flatout.training.run_directory import RUN_FILE, process_of, read_document


def past_runs(parent: Path) -> list[dict[str, Any]]:
    """What `run.json` says of each run in `parent`, the oldest first, as rows for a table.

    A run whose training was cut off has the status "cut off"; one whose `run.json` cannot be read,
    "unreadable"; one that came to its end, "done".

    Raises:
        CheckpointError: there is no such folder.
    """
    if not parent.is_dir():
        raise CheckpointError(
            f"there is no folder {parent}: nothing was trained here yet (try flatout train iris)"
        )
    folders = [path.parent for path in parent.glob(f"*/{RUN_FILE}") if not path.parent.name.startswith(".")]
    rows = [_row(folder) for folder in folders]
    return sorted(rows, key=lambda row: (row["started"] or "", row["run"]))


def _row(folder: Path) -> dict[str, Any]:
    try:
        document = read_document(folder)
    except CheckpointError:
        return {"run": folder.name, "status": "unreadable", "started": None}
    status = document.get("status")
    if status == "running" and process_of(document) is None:
        status = "cut off"
    elif status == "finished":
        status = "done"
    metric = [f"{n} {text.metric(n, v)}" for n, v in (document.get("metrics") or {}).items() if n != "loss"]
    return {
        "run": folder.name,
        "task": document.get("task"),
        "plan": document.get("plan"),
        "device": document.get("device"),
        "steps": document.get("steps"),
        "time": document.get("seconds"),
        "loss": (document.get("loss") or {}).get("last"),
        "metric": metric[0] if metric else None,
        "status": status,
        "started": document.get("started"),
    }
