"""Where measured peaks are kept: `peaks.json` in the cache folder, with the versions they depend on.

The cache folder is `$FLATOUT_CACHE`, else `flatout` in the user's cache folder. Delete the file to measure
anew. A file of another format, or a damaged one, counts as empty.
"""

from __future__ import annotations

import datetime
import json
import os
import platform
import tempfile
from pathlib import Path
from typing import Any, Literal

import torch

from flatout.hardware.ask import ask

FORMAT = 2
Kind = Literal["peaks", "measured"]


def read(kind: Kind, key: str) -> dict[str, Any] | None:
    """What is kept under a key; None where there is nothing, or nothing that can be read."""
    kept = _whole()[kind].get(key)
    return kept if isinstance(kept, dict) else None


def write(kind: Kind, key: str, value: dict[str, Any]) -> None:
    """Keep a value; where that cannot be, it is measured again next time."""
    whole = _whole()
    whole[kind][key] = value
    path = _path()
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with tempfile.NamedTemporaryFile("w", dir=path.parent, delete=False, encoding="utf-8") as aside:
            json.dump({"format": FORMAT, **whole}, aside, indent=1)
        Path(aside.name).replace(path)
    except OSError:
        return


def key_of(device: torch.device) -> str:
    """What a measurement on a device depends on: the device, threads of a CPU, versions."""
    threads = f", {torch.get_num_threads()} threads" if device.type == "cpu" else ""
    return f"{name_of(device)}{threads}, {versions()}"


def today() -> str:
    """The date, in UTC."""
    return datetime.datetime.now(datetime.UTC).date().isoformat()


def versions() -> str:
    """Of torch (its build is in its version) and Python."""
    return f"torch {torch.__version__}, Python {platform.python_version()}"


def name_of(device: torch.device) -> str:
    """The name of a device."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    if device.type == "xpu":
        return str(ask(lambda: torch.xpu.get_device_name(device)) or device.type)
    if device.type != "cpu":
        return device.type
    info = Path("/proc/cpuinfo")
    rows = (ask(info.read_text) or "").splitlines()
    named = (row.split(":", 1)[1].strip() for row in rows if row.startswith("model name"))
    return next(named, platform.processor() or platform.machine())


def _whole() -> dict[Kind, dict[str, Any]]:
    """The file; nothing where it is missing, damaged or of another format."""
    try:
        kept = json.loads(_path().read_text(encoding="utf-8"))
        if kept["format"] == FORMAT:
            return {"peaks": dict(kept["peaks"]), "measured": dict(kept["measured"])}
    except (OSError, ValueError, TypeError, LookupError):
        pass
    return {"peaks": {}, "measured": {}}


def _path() -> Path:
    wish = os.environ.get("FLATOUT_CACHE")
    base = os.environ.get("XDG_CACHE_HOME") or str(Path("~/.cache").expanduser())
    return (Path(wish) if wish else Path(base) / "flatout") / "peaks.json"
