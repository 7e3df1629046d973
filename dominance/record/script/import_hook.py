"""Notice the end of the first import of a package, without importing it and without a trace in the import system."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType


class _Arrival(MetaPathFinder):
    """Stands first in ``sys.meta_path`` and lets the other finders find.

    The spec they return is handed on as it is, with its own loader; only that loader object's ``exec_module`` is
    shadowed by an attribute, which goes when it is called.
    """

    def __init__(self, name: str, call: Callable[[], None]) -> None:
        self.name = name
        self.call = call
        self.done = False

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != self.name or self.done:
            return None
        for finder in list(sys.meta_path):
            if finder is self or not hasattr(finder, "find_spec"):
                continue
            spec = finder.find_spec(fullname, path, target)
            if spec is not None:
                self._shadow(spec)
                return spec
        return None

    def _shadow(self, spec: ModuleSpec) -> None:
        loader = spec.loader

        def exec_module(module: ModuleType) -> None:
            del loader.exec_module  # type: ignore[union-attr]
            with _uncollected():
                loader.exec_module(module)  # type: ignore[union-attr]
                self.arrived()

        if hasattr(loader, "exec_module"):
            with suppress(AttributeError):  # a loader that takes no attribute: the import goes on unnoticed
                loader.exec_module = exec_module  # type: ignore[union-attr,method-assign]

    def arrived(self) -> None:
        """Leave the import system, then call, once."""
        if not self.done:
            self.leave()
            self.call()

    def leave(self) -> None:
        self.done = True
        if self in sys.meta_path:
            sys.meta_path.remove(self)


@contextmanager
def _uncollected() -> Iterator[None]:
    """The garbage collector rests. It would go through what is being imported again and again, and find nothing: a
    fifth of the time that torch takes."""
    resting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if resting:
            gc.enable()


@contextmanager
def when_imported(name: str, call: Callable[[], None]) -> Iterator[None]:
    """Inside the block, ``call()`` once the top-level package ``name`` has been imported; at once if it has been.

    ``call`` runs in the thread of the import, while ``import name`` has not yet returned but the package is whole.
    """
    arrival = _Arrival(name, call)
    if name in sys.modules:
        arrival.arrived()
    else:
        sys.meta_path.insert(0, arrival)
    try:
        yield
    finally:
        arrival.leave()
