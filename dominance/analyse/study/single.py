"""Single-task runs: found in the folder of an stl training, and sorted by their task."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import xarray as xr

from dominance.analyse.study.about import About
from dominance.errors import BadOption, NotARun, NothingRecorded
from dominance.schema import DATA_NAME
from dominance.store.reader import open_run

OneOrMore = xr.DataTree | Sequence[xr.DataTree]
Single = xr.DataTree | Mapping[str, OneOrMore] | Sequence[xr.DataTree | Mapping[str, OneOrMore]]
"""Single-task runs: task -> run or runs; or a sequence of runs with one task each, or of such mappings."""


def single_task_runs(path: str | os.PathLike[str]) -> dict[str, xr.DataTree]:
    """Open what ``dominance train BENCHMARK --method stl`` left behind: a folder with a run for each task.

    Returns:
        task -> its run, in the order of the tasks' names.

    Raises:
        NotARun: the folder holds no run of one task.
    """
    folder = Path(path)
    inside = sorted(child for child in folder.iterdir() if (child / DATA_NAME).exists()) if folder.is_dir() else []
    runs = [open_run(child) for child in inside]
    found = {str(run.attrs["tasks"][0]): run for run in runs if len(run.attrs["tasks"]) == 1}
    if not found:
        raise NotARun(
            f"{folder}: there is no run of a single task in it",
            fix="give the folder that `dominance train BENCHMARK --method stl` wrote",
        )
    return found


def by_task(single: Single) -> dict[str, list[xr.DataTree]]:
    """Single-task runs, sorted by task.

    Raises:
        BadOption: something is no run, or a run was trained on several tasks.
    """
    found: dict[str, list[xr.DataTree]] = {}
    for task, run in _flat(single):
        if not isinstance(run, xr.DataTree):
            raise BadOption(
                f"a {type(run).__name__} is no single-task run",
                fix="give {task: run}, or single_task_runs(folder) of an stl training",
            )
        tasks = run.attrs["tasks"]
        if len(tasks) != 1:
            raise BadOption(
                f"{run.attrs.get('path', 'run')} was trained on {', '.join(tasks)}, not on a single task",
                fix="give runs of one task each, such as those of `dominance train BENCHMARK --method stl`",
            )
        if task is not None and task != tasks[0]:
            raise BadOption(
                f"{run.attrs.get('path', 'run')} is given as the run of {task}, and its task is called {tasks[0]}",
                fix="call the task by the same name in both runs",
            )
        found.setdefault(str(tasks[0]), []).append(run)
    if not found:
        raise BadOption("there is no single-task run", fix="give {task: run} with at least one")
    return found


def missing(task: str, joint: About, there: Iterable[str]) -> NothingRecorded:
    """The error for a task that was never trained alone."""
    benchmark = joint.benchmark or "BENCHMARK"
    seed = f" --seed {joint.seed}" if joint.benchmark and joint.seed is not None else ""
    how = f"`dominance train {benchmark} --method stl --tasks {task}{seed}`"
    own = "" if joint.benchmark else ", or your script with this task's loss alone"
    return NothingRecorded(
        f"there is no run of {task} alone, only of {', '.join(there) or 'nothing'}", fix=f"make one: {how}{own}"
    )


def _flat(single: Any) -> Iterable[tuple[str | None, Any]]:
    if isinstance(single, Mapping) and not isinstance(single, xr.DataTree):
        for task, runs in single.items():
            yield from ((str(task), run) for run in (runs if isinstance(runs, list | tuple) else [runs]))
    elif isinstance(single, list | tuple):
        for one in single:
            yield from _flat(one)
    else:
        yield None, single
