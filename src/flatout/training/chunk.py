"""How many steps run between two looks from Python."""

from __future__ import annotations

TARGET_SECONDS = 0.1
_GROWTH = 4


class ChunkSize:
    """Grows or shrinks so that a chunk takes about 0.1 s.

    A chunk begins at one step, because nothing is known yet, and grows at most fourfold at a time, so
    that a first step that was lucky does not hide progress for long.

    Example:
        >>> size = ChunkSize()
        >>> size.steps
        1
        >>> size.took(1, 0.001); size.steps
        4
    """

    def __init__(self) -> None:
        self.steps = 1

    def took(self, steps: int, seconds: float) -> None:
        """Learn from a chunk of `steps` that took `seconds`."""
        if steps < 1:
            return
        fitting = TARGET_SECONDS * steps / max(seconds, 1e-9)
        self.steps = max(1, min(int(fitting), _GROWTH * max(self.steps, steps)))
