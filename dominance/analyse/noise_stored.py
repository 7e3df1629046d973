"""The noise probe in the run: kept there, and read again."""

from __future__ import annotations

import os
from collections.abc import Sequence

import xarray as xr

from dominance.analyse.joining import over_runs
from dominance.analyse.noise_specificity import add_specificity
from dominance.analyse.prepared import PreparedRun
from dominance.analyse.study.about import directions
from dominance.deltas import Directions
from dominance.errors import BadOption, NothingRecorded, RecordingFailed
from dominance.store.probes import read_probes, write_probe


@over_runs
def stored_noise(
    run: PreparedRun,
    *,
    by_layer: bool = False,
    tasks: str | Sequence[str] | None = None,
    higher_is_better: Directions | None = None,
) -> xr.Dataset:
    """The result of :func:`noise_importance` that is stored in a run.

    Raises:
        NothingRecorded: none is.
        BadOption: an unknown task.
    """
    name = "noise_layers" if by_layer else "noise"
    tree, where = run.tree, run.where
    if "probe" in tree.children and name in tree["probe"].children:
        inherited = [str(name) for name in tree.coords if name != "task"]
        found = tree["probe"][name].to_dataset().drop_vars(inherited, errors="ignore")
    else:
        kept = read_probes(where, run.attrs["tasks"]) if os.path.isdir(where) else {}
        if name not in kept:
            raise NothingRecorded(
                f"{where}: no noise probe was made{' by layer' if by_layer else ''}",
                fix="call dominance.evaluate(fn) in the script and record it with --probe noise, or give a NoiseProbe",
            )
        found = kept[name]
    found = found.sel(owner=owners_of(tree, tasks))
    if higher_is_better is None:
        return found
    return add_specificity(found.load(), directions(tree, higher_is_better))


def owners_of(run: xr.DataTree, tasks: str | Sequence[str] | None) -> list[str]:
    """The tasks that are meant, all by default. Raises BadOption for an unknown one."""
    known = [str(task) for task in run.attrs["tasks"]]
    chosen = known if tasks is None else [tasks] if isinstance(tasks, str) else [str(task) for task in tasks]
    for task in chosen:
        if task not in known:
            raise BadOption(f"no task {task!r}", fix=f"choose from {', '.join(known)}")
    return chosen


def save_noise(run: xr.DataTree, name: str, result: xr.Dataset) -> xr.Dataset:
    """Put the result into the run, if that is on disk and has room; ``attrs["stored"]`` says where, or is empty."""
    path = str(run.attrs.get("path", ""))
    if not os.path.isdir(path):
        return result.assign_attrs(stored="")
    result = result.assign_attrs(stored=f"/probe/{name}")
    try:
        write_probe(path, name, result)
    except RecordingFailed as error:
        return result.assign_attrs(stored="", not_stored=error.message)
    return result
