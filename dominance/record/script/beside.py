"""A module of the script's that bears the name of one that is loaded already: its folder decides, as in Python.

Python looks into the script's folder first. What the command line loaded before the script began would stand in the
way of a ``shlex.py`` that lies there; it is taken out of ``sys.modules`` when the script begins, and put back while
modules of ours are loaded, which must not get the script's.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from types import ModuleType

_ours: dict[str, ModuleType] = {}
"""What stands back for the script, by name, packages with what is inside them."""

_folders: list[str] = []
"""The script's, where anything stands back for it, or may lie."""


def give_way(folder: str) -> None:
    """Let the script import what lies in this folder, where it stands before all others in ``sys.path``."""
    clashes = {name for name in {name.partition(".")[0] for name in sys.modules} if _lies_in(folder, name)}
    clashes -= {"__main__", "dominance", "dominance_cli", *sys.builtin_module_names}
    if not clashes:
        return
    # What Python itself has loaded before any script begins stays, as it does without us.
    asked = [sys.executable, *subprocess._args_from_interpreter_flags(), "-c", "import sys; print(*sys.modules)"]  # type: ignore[attr-defined]
    said = subprocess.run(asked, capture_output=True, text=True, check=False)
    clashes -= set(said.stdout.split())
    for name in list(sys.modules):
        if name.partition(".")[0] in clashes:
            _ours[name] = sys.modules.pop(name)
    if _ours:
        _folders.append(folder)


def not_from(folder: str) -> None:
    """Let modules of ours not be loaded from this folder of the script's; what is loaded already stays as it is."""
    if folder not in _folders:
        _folders.append(folder)


def _lies_in(folder: str, name: str) -> bool:
    place = os.path.join(folder, name)
    return os.path.isfile(f"{place}.py") or os.path.isfile(os.path.join(place, "__init__.py"))


@contextlib.contextmanager
def apart() -> Iterator[None]:
    """While modules of ours are loaded: the ones that they were written for, and not the script's."""
    if not _ours and not _folders:
        yield
        return
    names = {name.partition(".")[0] for name in _ours}
    before = {name: module for name, module in sys.modules.items() if name.partition(".")[0] in names}
    path = list(sys.path)
    _put(names, _ours)
    sys.path[:] = [entry for entry in path if entry not in _folders]
    try:
        yield
    finally:
        _ours.update({name: module for name, module in sys.modules.items() if name.partition(".")[0] in names})
        _put(names, before)
        added = [entry for entry in sys.path if entry not in path]
        sys.path[:] = added + path


def _put(names: set[str], modules: dict[str, ModuleType]) -> None:
    """Make these the modules of the names, and no others."""
    for name in list(sys.modules):
        if name.partition(".")[0] in names:
            del sys.modules[name]
    sys.modules.update(modules)
