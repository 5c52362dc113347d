"""Reads the user's source for what a window cannot see: where a loss is put that lives on."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Final

from flatout.profiling.user_lines import Line

_FREES: Final = ("item", "detach", "float", "tolist", "numpy", "cpu", "format", "backward", "print")
_PUTS: Final = ("append", "add", "extend", "insert", "update", "appendleft")


def line_that_keeps(backward: Line) -> Line:
    """The line near a backward that keeps its loss: `losses.append(loss)`, `total += loss`, `log[1] = loss`.

    The line of the backward itself where there is no such line, or more than one.
    """
    for body in _bodies(backward.file):
        if body.lineno <= backward.line <= (body.end_lineno or 0):
            losses = set(_losses(body, backward.line))
            for names in (losses, _made_of(body, losses)):
                lines = {at for name in names for at in _keepers(body, name)}
                if len(lines) == 1:
                    return Line(backward.file, lines.pop())
    return backward


@cache
def _bodies(file: str) -> list[ast.stmt]:
    """The loops and functions of a file, the shortest first."""
    try:
        tree = ast.parse(Path(file).read_text(encoding="utf-8"))
    except (OSError, SyntaxError, ValueError):
        return []
    kinds = (ast.For, ast.While, ast.AsyncFor, ast.FunctionDef, ast.AsyncFunctionDef)
    found: list[ast.stmt] = [node for node in ast.walk(tree) if isinstance(node, kinds)]
    return sorted(found, key=lambda node: (node.end_lineno or 0) - node.lineno)


def _losses(body: ast.AST, line: int) -> Iterator[str]:
    """The names in `loss.backward()` or `accelerator.backward(loss)` of a line."""
    for node in ast.walk(body):
        if isinstance(node, ast.Call) and node.lineno == line and _called(node) == "backward":
            yield from (name.id for name in ast.walk(node) if isinstance(name, ast.Name))


def _made_of(body: ast.AST, losses: set[str]) -> set[str]:
    """The names in what the losses are assigned from."""
    made = (node for node in ast.walk(body) if isinstance(node, ast.Assign))
    values = [
        node.value for node in made if any(isinstance(t, ast.Name) and t.id in losses for t in node.targets)
    ]
    return {name.id for value in values for name in ast.walk(value) if isinstance(name, ast.Name)} - losses


def _keepers(body: ast.AST, name: str) -> Iterator[int]:
    """The lines that put the named tensor, or what was computed from it, where it lives on."""
    for node in ast.walk(body):
        if isinstance(node, ast.AugAssign) and _holds(node.value, name):
            yield node.lineno
        elif isinstance(node, ast.Assign) and _holds(node.value, name):
            kept = [target for target in node.targets if isinstance(target, (ast.Subscript, ast.Attribute))]
            itself = [target for target in node.targets if _same(target, node.value)]
            if kept or itself:
                yield node.lineno
        elif (
            isinstance(node, ast.Call) and _called(node) in _PUTS and any(_holds(a, name) for a in node.args)
        ):
            yield node.lineno


def _called(call: ast.Call) -> str:
    match call.func:
        case ast.Attribute(attr=name) | ast.Name(id=name):
            return name
    return ""


def _holds(value: ast.AST, name: str) -> bool:
    """Whether a tensor is in the value, with its graph."""
    match value:
        case ast.Call() if _called(value) in _FREES:
            return False
        case ast.Attribute(attr="data"):
            return False
        case ast.Name(id=found):
            return found == name
    return any(_holds(child, name) for child in ast.iter_child_nodes(value))


def _same(target: ast.AST, value: ast.AST) -> bool:
    """`total = total + loss`."""
    return isinstance(target, ast.Name) and _holds(value, target.id)
