"""Single-task runs as they are named on the command line."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dominance.schema import DATA_NAME
from dominance_cli.rundir import opened


def singles(paths: Sequence[str]) -> list[Any] | None:
    """What ``verdict`` and ``tci`` take as single-task runs; None where none are named.

    Args:
        paths: runs of one task each, or folders of such as ``dominance train --method stl`` makes them.

    Raises:
        NotARun: one of them is neither.
    """
    if not paths:
        return None
    from dominance.analyse.study.single import single_task_runs

    found: list[Any] = []
    for name in paths:
        path = Path(name)
        folder = "://" not in name and path.is_dir() and not (path / DATA_NAME).exists()
        found.append(single_task_runs(path) if folder else opened(name))
    return found
