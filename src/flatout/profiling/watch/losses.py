"""Losses that live on with their graph after the step that made them."""

from __future__ import annotations

import sys
import weakref
from collections.abc import Iterator
from threading import get_ident
from typing import Any, Final

from flatout.profiling.patches import Function, Patches
from flatout.profiling.user_lines import Line, user_line
from flatout.profiling.watch.seen import Seen

_KEPT_AFTER: Final = 3  # steps: a loop holds its last loss until the next
_NODES: Final = 8
_KEY: Final = "flatout"


class _Token:
    """Lives as long as the node of the graph that holds it."""


class Losses:
    """Hangs a token on the graph of each loss whose `backward` is called, and looks later whether it lives.

    The node holds it, not the tensor: `total += loss` drops the loss and keeps its graph.

    Attributes:
        thread: where they are watched.
    """

    def __init__(self, seen: Seen) -> None:
        self.thread = 0
        self._seen = seen
        self._tokens: list[tuple[int, Line, list[weakref.ref[_Token]]]] = []

    def watch(self, patches: Patches) -> None:
        """Begin."""
        import torch

        patches.wrap(torch.Tensor, "backward", self._backward)

    def forget(self) -> None:
        """Look at none of the losses so far any more."""
        self._tokens.clear()

    def end_step(self) -> None:
        """Count the losses that are kept; `seen.steps` counts the step that has ended."""
        young = []
        for step, line, tokens in self._tokens:
            if self._seen.steps - step < _KEPT_AFTER:
                young.append((step, line, tokens))
            elif any(token() is not None for token in tokens):
                self._seen.kept[line] = self._seen.kept.get(line, 0) + 1
        self._tokens = young

    def _backward(self, original: Function) -> Function:
        def backward(loss: Any, *args: Any, **kwargs: Any) -> Any:
            if get_ident() == self.thread:
                tokens = [_hang(node) for node in _top(loss)]
                self._tokens.append((self._seen.steps, user_line(sys._getframe(1)), tokens))
            return original(loss, *args, **kwargs)

        return backward


def _top(loss: Any) -> Iterator[Any]:
    """The node of the loss, and some below it: a part of the loss, or the outputs, may be kept."""
    nodes = [loss.grad_fn]
    for node in nodes:
        if node is None or hasattr(node, "variable"):  # a parameter's own node lives on
            continue
        yield node
        if len(nodes) < _NODES:
            nodes += [below for below, _ in node.next_functions]


def _hang(node: Any) -> weakref.ref[_Token]:
    token = _Token()
    node.metadata[_KEY] = token
    return weakref.ref(token)
