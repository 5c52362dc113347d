"""What a remedy is: a fix that flatout can put into a script from outside, while it runs."""

from __future__ import annotations

from abc import ABC, abstractmethod
from types import FrameType

from flatout.profiling.patches import Patches
from flatout.profiling.user_lines import Line, user_line


class Remedy(ABC):
    """One fix, put into the script between `install` and `remove`.

    Args:
        line: of the finding, its file with an absolute path.

    Attributes:
        words: what it does, in a few.
        applied: how often it has changed something; where it stays 0, the script was run as it is.
    """

    words: str

    def __init__(self, line: Line) -> None:
        self.line = line
        self.applied = 0
        self.patches = Patches()

    def prepare(self) -> None:
        """Called before the script is read."""

    @abstractmethod
    def install(self) -> None:
        """Called once torch is loaded, and before the script uses it."""

    def remove(self) -> None:
        """Leave all as it was."""
        self.patches.restore()

    def is_there(self, frame: FrameType | None) -> bool:
        """Whether this is the finding's line at work."""
        return frame is not None and user_line(frame) == self.line
