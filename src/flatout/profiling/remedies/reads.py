"""Reads that are put off: `loss.item()` and `float(loss)` of a line become numbers that are read later.

The line itself is rewritten as the script is compiled; its file stays as it is.
"""

from __future__ import annotations

import ast
import builtins
import os
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import CodeType
from typing import Any, Final

from flatout.profiling import run_script
from flatout.profiling.patches import Function
from flatout.profiling.remedies.later import later, later_float, read_all
from flatout.profiling.remedies.remedy import Remedy

_NAMES: Final = {"item": "__flatout_later__", "float": "__flatout_later_float__"}


class DeferredReads(Remedy):
    """The `.item()` or `float(...)` of one line, read when the number is used."""

    words = "the number is read when it is used"

    def prepare(self) -> None:
        vars(builtins).update({_NAMES["item"]: later, _NAMES["float"]: later_float})
        self.patches.wrap(SourceFileLoader, "get_code", self._get_code)
        self.patches.wrap(run_script, "compiled", self._script)

    def install(self) -> None:
        """Nothing is left to do: the source was rewritten before."""

    def remove(self) -> None:
        super().remove()
        read_all()
        for name in _NAMES.values():
            vars(builtins).pop(name, None)

    def rewritten(self, source: bytes, path: str) -> ast.Module:
        """The script with the line's reads put off."""
        tree = ast.parse(source, path)
        put_off = _PutOff(self.line.line)
        put_off.visit(tree)
        self.applied += put_off.count
        return ast.fix_missing_locations(tree)

    def _is_it(self, path: str) -> bool:
        return os.path.realpath(path) == os.path.realpath(self.line.file)

    def _get_code(self, original: Function) -> Function:
        def get_code(loader: Any, name: str) -> Any:
            path = loader.get_filename(name)
            if not self._is_it(path):
                return original(loader, name)
            return self._compiled(Path(path).read_bytes(), path)  # not what lies in __pycache__

        return get_code

    def _script(self, original: Function) -> Function:
        def script(source: bytes, path: str) -> Any:
            return self._compiled(source, path) if self._is_it(path) else original(source, path)

        return script

    def _compiled(self, source: bytes, path: str) -> CodeType:
        return compile(self.rewritten(source, path), path, "exec", dont_inherit=True)


class _PutOff(ast.NodeTransformer):
    """Replaces `x.item()` and `float(x)` in a line."""

    def __init__(self, line: int) -> None:
        self._line = line
        self.count = 0

    def visit_Call(self, node: ast.Call) -> ast.AST:
        self.generic_visit(node)
        if not node.lineno <= self._line <= (node.end_lineno or node.lineno) or node.keywords:
            return node
        match node:
            case ast.Call(func=ast.Attribute(value=tensor, attr="item"), args=[]):
                return self._call("item", tensor, node)
            case ast.Call(func=ast.Name(id="float"), args=[tensor]):
                return self._call("float", tensor, node)
        return node

    def _call(self, kind: str, tensor: ast.expr, node: ast.Call) -> ast.AST:
        self.count += 1
        name = ast.Name(_NAMES[kind], ast.Load())
        return ast.copy_location(ast.Call(name, [tensor], []), node)
