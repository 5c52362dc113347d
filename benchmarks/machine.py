"""What the numbers were measured on."""

from __future__ import annotations

import datetime
import importlib.metadata
import os
import platform
from pathlib import Path


def machine(threads: int, *packages: str) -> str:
    """Hardware, date and the versions of packages that are installed, in one line."""
    today = datetime.datetime.now(datetime.UTC).date().isoformat()
    versions = []
    for package in ("flatout", "torch", *packages):
        try:
            versions.append(f"{package} {importlib.metadata.version(package)}")
        except importlib.metadata.PackageNotFoundError:
            continue
    used = "one thread" if threads == 1 else f"{threads} threads"
    return (
        f"Measured on: {processor()}, {os.cpu_count()} cores, {used}; {today}; {', '.join(versions)}, "
        f"Python {platform.python_version()}, {platform.system()}."
    )


def processor() -> str:
    """The name of the CPU."""
    info = Path("/proc/cpuinfo")
    if info.exists():
        for row in info.read_text().splitlines():
            if row.startswith("model name"):
                return row.split(":", 1)[1].strip()
    return platform.processor()
