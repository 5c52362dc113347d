"""How long it takes to be there: `import flatout` against `import torch`, and `flatout --help`."""

from __future__ import annotations

import subprocess
import sys

from timing import Ratio, paired, seconds


def run(*arguments: str) -> float:
    """Seconds a Python process with these arguments takes, its own start included."""
    return seconds(lambda: subprocess.run([sys.executable, *arguments], check=True, capture_output=True))


def rows(rounds: int = 11) -> list[tuple[str, str, str, Ratio, int]]:
    """What is compared, against what, the goal, the ratio, and 1 for "a call"."""
    return [
        (
            "import flatout, torch, and fit from it",
            "import torch",
            "none",
            paired(
                lambda: run("-c", "import flatout, torch; flatout.fit"),
                lambda: run("-c", "import torch"),
                rounds,
            ),
            1,
        ),
        (
            "import flatout",
            "import torch",
            "at most 1.1",
            paired(lambda: run("-c", "import flatout"), lambda: run("-c", "import torch"), rounds),
            1,
        ),
        (
            "flatout --help",
            "python -c pass",
            "at most 0.5 s",
            paired(lambda: run("-m", "flatout", "--help"), lambda: run("-c", "pass"), rounds),
            1,
        ),
    ]
