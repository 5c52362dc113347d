"""`flatout.profile`: the same from Python, around a block or of a function that makes a step."""

from __future__ import annotations

import html
import io
import json
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from time import perf_counter
from types import TracebackType
from typing import Any, Final, Self

from flatout.errors import FlatoutError
from flatout.profiling.document import document
from flatout.profiling.finding import Finding
from flatout.profiling.recorder import Recorder
from flatout.profiling.run_script import INTERRUPTED, Outcome
from flatout.profiling.trials.after import seconds_for
from flatout.report.profile_view import profile_view

_LIMIT: Final = 1000  # steps
_CALLS: Final = (24, 100)  # of a step: at least, and at most
_ENOUGH: Final = 10.0  # seconds of them
_WIDTH: Final = 100


def profile(
    step: Callable[[], object] | None = None, *, steps: int | None = None, trials: bool = False
) -> Profile:
    """Measure where the steps of a training loop spend their time, and which lines cost it.

    Args:
        step: a function that makes one step; it is called again and again, and each call is a step. Without
            it the result is for `with`, and the steps of the block are measured.
        steps: how many to measure at most; 1,000 of a block. `step` is called 100 times, and less often (not
            less than 24 times) where that would take more than 10 seconds.
        trials: when the block has ended, a copy of its model runs again, with fixes and without, for 3
            seconds or a tenth of the time of the block. What else its `forward` does happens again.

    Returns:
        What was measured; of a block, once it has ended.

    Raises:
        FlatoutError: another profile is running.

    Example:
        >>> import torch, flatout
        >>> model = torch.nn.Linear(4, 1)
        >>> optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
        >>> with flatout.profile() as p:
        ...     for _ in range(30):
        ...         optimizer.zero_grad()
        ...         model(torch.ones(8, 4)).sum().backward()
        ...         optimizer.step()
        >>> sorted(p.breakdown)
        ['backward', 'data', 'forward', 'optimizer', 'rest']
    """
    if steps is not None and steps < 1:
        raise FlatoutError(f"steps must be at least 1, but got {steps}")
    if step is None:
        return Profile(_LIMIT if steps is None else steps, trials=trials)
    profiled = Profile(10**9, name=getattr(step, "__qualname__", type(step).__name__), trials=trials)
    with profiled:
        profiled._call(step, *(_CALLS if steps is None else (steps, steps)))
    return profiled


class Profile:
    """What was measured of a block, from its end on; `print(p)` shows it.

    Args:
        limit: measuring ends after so many steps.
        name: of what is measured.
        trials: experiments are made with a copy of the model.

    Attributes:
        document: all of it, as `flatout profile --json` prints it.
    """

    def __init__(self, limit: int, *, name: str = "with flatout.profile()", trials: bool = False) -> None:
        self._name, self._trials, self._began = name, trials, 0.0
        self._folder = Path.cwd()
        self._recorder = Recorder(limit)
        self._document: dict[str, Any] | None = None

    def __enter__(self) -> Self:
        if self._document is not None:
            raise FlatoutError("a profile measures one block; call flatout.profile() again for another one")
        self._recorder.install()
        self._began = perf_counter()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._recorder.close()
        outcome = Outcome(0, "finished")
        if isinstance(error, KeyboardInterrupt):
            outcome = Outcome(INTERRUPTED, "interrupted")
        elif error is not None:
            outcome = Outcome(1, "failed")
        seconds = seconds_for(perf_counter() - self._began) if self._trials else None
        self._document = document([self._name], self._recorder, outcome, self._folder, trials=seconds)

    def _call(self, step: Callable[[], object], least: int, most: int) -> None:
        self._recorder.boundaries.only_calls()
        end = perf_counter() + _ENOUGH
        for done in range(most):
            if done >= least and perf_counter() > end:
                break
            step()
            self._recorder.boundaries.call_ends(perf_counter())

    @property
    def document(self) -> dict[str, Any]:
        if self._document is None:
            raise FlatoutError(
                "nothing is known before the block of `with flatout.profile() as p:` has ended"
            )
        return self._document

    @property
    def breakdown(self) -> dict[str, dict[str, float]] | None:
        """For each part of a step "us" (microseconds) and "share"; None where too little was measured."""
        parts: dict[str, dict[str, float]] | None = self.document["breakdown"]
        return parts

    @property
    def findings(self) -> list[Finding]:
        """What costs time, what may gain most first."""
        names = [one.name for one in fields(Finding)]
        return [Finding(**{name: found[name] for name in names}) for found in self.document["findings"]]

    def json(self) -> str:
        """The document as one line of JSON."""
        return json.dumps(self.document)

    def __str__(self) -> str:
        from rich.console import Console

        text = io.StringIO()
        Console(file=text, width=_WIDTH, highlight=False).print(profile_view(self.document))
        return text.getvalue().rstrip("\n")

    def _repr_html_(self) -> str:
        return f"<pre>{html.escape(str(self))}</pre>"
