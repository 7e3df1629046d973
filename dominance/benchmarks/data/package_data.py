"""Data that other packages bring: found by path, and said how to get when it is not there."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from dominance.errors import MissingData


def packaged(module: str, path: str, install: str) -> Path:
    """A file or folder inside an installed package, which is not imported.

    Args:
        module: top-level name of the package.
        path: below its folder; its last part may be a glob, of which the first match in order is taken.
        install: the line that installs it.

    Raises:
        MissingData: the package is not installed, or has no such file.
    """
    spec = find_spec(module)
    if spec is None or not spec.submodule_search_locations:
        raise MissingData(f"the package {module} is not installed, and the data comes with it", fix=install)
    folder = Path(spec.submodule_search_locations[0])
    found = sorted((folder / path).parent.glob(Path(path).name))
    if not found:
        raise MissingData(f"the installed package {module} has no {path}", fix=install)
    return found[0]
