"""Take hold of torch when the script imports it.

Not before: a script may set OMP_NUM_THREADS or CUDA_VISIBLE_DEVICES first, and torch reads them as it loads.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType


class WhenTorchLoads(MetaPathFinder):
    """Calls `then` once, as soon as torch is loaded: now, if it is already.

    >>> WhenTorchLoads(lambda: print("loaded")).watch()  # doctest: +SKIP
    """

    def __init__(self, then: Callable[[], None]) -> None:
        self._then = then

    def watch(self) -> None:
        """Begin."""
        if "torch" in sys.modules:
            self._then()
        else:
            sys.meta_path.insert(0, self)

    def stop(self) -> None:
        """End, whether it was loaded or not."""
        if self in sys.meta_path:
            sys.meta_path.remove(self)

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != "torch":
            return None
        self.stop()
        spec = importlib.util.find_spec(fullname)
        if spec is None or spec.loader is None:
            return spec
        loader = spec.loader
        load = loader.exec_module

        def load_and_call(module: ModuleType) -> None:
            vars(loader).pop("exec_module", None)
            load(module)
            self._then()

        loader.exec_module = load_and_call  # type: ignore[method-assign]
        return spec
