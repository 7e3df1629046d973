"""Single-task runs as they are named on the command line."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dominance.schema import DATA_NAME
from dominance_cli.rundir import opened

HELP = "A run of one task alone, or the folder of `train --method stl`, to tell harm by. May be repeated."
HIGHER = "Of this metric more is better, when comparing with --baseline runs that do not say so. May be repeated."
HIGHER_FLAGS, LOWER_FLAGS = ("--higher-is-better", "--higher"), ("--lower-is-better", "--lower")
LOWER = "Of this metric less is better."


def directions(higher: Sequence[str] | None, lower: Sequence[str] | None) -> dict[str, bool] | None:
    """Which direction of a metric is better, as ``verdict`` takes it; None where nothing is said.

    >>> directions(["auc"], ["rmse"])
    {'auc': True, 'rmse': False}
    """
    return {**dict.fromkeys(higher or [], True), **dict.fromkeys(lower or [], False)} or None


def singles(paths: Sequence[str] | None) -> list[Any] | None:
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
