"""What an experiment measured."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from flatout.profiling.user_lines import Line

STEP: Final = ("forward", "backward", "optimizer")


@dataclass(frozen=True)
class Trial:
    """A step of a copy, as the script does it and with one thing changed; seconds of a step.

    Attributes:
        before_s: what the change is about, as the script does it.
        after_s: with the change.
        gain_s: the median of what single pairs gain.
        low_s, high_s: the bounds of that median, with 95 % confidence or what six pairs allow.
        pairs: how many there were.
        alike: the parts of a step that the copy and the script have in common, by whose time a gain is
            carried over to the script.
        alike_s: the seconds that these take on the copy, before.
        setting: what was changed, as one would write it.
        threads: with the change; None where they are not what was changed.
    """

    before_s: float
    after_s: float
    gain_s: float
    low_s: float
    high_s: float
    pairs: int
    alike: tuple[str, ...]
    alike_s: float
    setting: str = ""
    threads: int | None = None


def read_name(kind: str, line: Line) -> str:
    """The name of the experiment with what a line reads.

    >>> read_name("item", Line("train.py", 7))
    'item at train.py:7'
    """
    return f"{kind} at {line.file}:{line.line}"


@dataclass(frozen=True)
class Sizes:
    """How long a step takes at several batch sizes: about `fixed_s + sample_s * size`.

    Attributes:
        size: of the script's batches.
        step_s: the seconds of a step at each size.
        fixed_s: what a step takes however small its batch.
        sample_s: what each sample adds.
    """

    size: int
    step_s: Mapping[int, float]
    fixed_s: float
    sample_s: float

    @property
    def fixed_share(self) -> float:
        """The fixed part of a step at the script's size, 0 to 1."""
        return self.fixed_s / (self.fixed_s + self.sample_s * self.size)

    @property
    def crossover(self) -> float | None:
        """The batch size at which half of a step is fixed; None where samples add nothing that shows.

        >>> Sizes(8, {}, fixed_s=1.0, sample_s=0.01).crossover
        100.0
        """
        return self.fixed_s / self.sample_s if self.sample_s > 0 else None


@dataclass(frozen=True)
class Trials:
    """All experiments; one that had nothing to change is in neither.

    Attributes:
        measured: by name.
        impossible: why there is none, by name.
        none: why there are none at all, or None.
        sizes: the batch sizes, where they were tried.
    """

    measured: Mapping[str, Trial] = field(default_factory=dict)
    impossible: Mapping[str, str] = field(default_factory=dict)
    none: str | None = None
    sizes: Sizes | None = None

    @staticmethod
    def not_made() -> Trials:
        """None, for nobody asked for any."""
        return Trials(none="no experiments were made")
