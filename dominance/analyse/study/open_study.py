"""open_study: the runs below a folder as settings x seeds, without their arrays."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from dominance.analyse.runs import STUDY
from dominance.analyse.study.about import labels
from dominance.analyse.study.listing import ListedRun, Listing, listing
from dominance.analyse.study.settings import Value
from dominance.errors import BadOption, NotARun
from dominance.store.reader import check_chunks

MOST_CELLS = 1_000_000
"""Of a grid: beyond it, the settings are no grid."""

_TAKEN = (
    *("setting", "seed", "task", "split", "metric", "n", "path", "state", "steps", "steps_taken", "seconds"),
    *("trial", "loss", "score", "direction", "run"),
)


def open_study(
    folder: str | os.PathLike[str],
    *,
    settings: Sequence[str] | None = None,
    grid: bool = False,
    dask: bool = False,
) -> xr.Dataset:
    """Open the runs at any depth below a folder as settings x seeds. Arrays of the runs are not read.

    A setting is what a person or a sweep has set: an option of ``dominance train``, the method of ``record`` and
    ``try``, an argument of the script (``--name value``, ``name=value``), a parameter of Hydra, Optuna or W&B. Those
    that differ over the study make the dim ``setting``. Where runs are the same in all of them and in their seeds,
    what the recorder has seen (optimizer, hyper-parameters, tasks, which model of the process) tells them apart.

    Args:
        folder: below it lie runs; links are not followed.
        settings: make the dim of these settings only, whether they differ or not.
        grid: make a dim of each setting instead, sorted; cells without a run are empty. Of the dim "method" say
            ``study.sel({"method": "uw"})``: xarray has an argument of that name.
        dask: analyses of the study are one graph of dask's, with a task for each run, on the cluster where a
            ``distributed.Client`` is active, whose workers must reach the folder. Each task streams its run.

    Returns:
        Along ``setting`` (labels such as "method=pcgrad, lr=0.001") and ``seed``; each setting has a coordinate along
        ``setting``, "" or NaN where a run lacks it:

        - ``n`` (setting, seed): how many runs there are, int64. 0: none, and all else is NaN or "". More than 1: the
          others are in the attribute ``repeated``; shown is the last one that is complete.
        - ``path``, ``state``: of the run; "recording", "complete", "interrupted", "failed" or "killed"
        - ``steps``, ``steps_taken``, ``seconds``, float64: recorded, taken, and how long it took
        - ``trial``: what the sweep calls it, "" for none
        - ``loss`` (setting, seed, task): unweighted, mean over the last fifth of the recorded steps
        - ``score`` (setting, seed, split, task, metric): the last value that was logged
        - ``direction`` (task, metric): "higher", "lower", or "" where no run says

        A run whose seed is not known has -1, and further ones of the same settings -2, -3... Attributes: ``folder``;
        ``settings``, the names of those along ``setting``; ``same``, those that all runs have alike; ``missing``, the
        number of empty cells; ``unreadable`` and ``no_run``, name -> why.

        Analysers take it as they take several runs: ``rau_buckets(study)``, ``final_scores(study.sel(seed=0))``. They
        open one run after the other, and their results have the settings and the seed along ``run``.

    Raises:
        NotARun: there is no run below the folder that can be read.
        BadOption: it is no local folder; a setting is unknown; a grid of more than a million cells; or dask is
            asked for and not installed.
    """
    if dask:
        check_chunks({})
    found = listing(folder)
    if not found.there:
        raise NotARun(f"{found.folder}: no job has left a run", fix="see their logs")
    names = _names(found, settings)
    table, cells, extra = _cells(found, names)
    study = _dataset(found, names, table, cells, extra)
    study.attrs["dask"] = dask
    return _grid(study, names) if grid else study


def _names(found: Listing, asked: Sequence[str] | None) -> list[str]:
    if asked is None:
        return found.names
    known = dict.fromkeys(name for run in found.there for name in {**run.settings, **run.by_itself})
    for name in asked:
        if name not in known:
            raise BadOption(f"settings: no run has {name}", fix=f"choose from {', '.join(known)}")
    return list(dict.fromkeys(asked))


Cell = tuple[int, int]
"""Places along setting and seed."""


def _cells(
    found: Listing, names: Sequence[str]
) -> tuple[tuple[list[tuple[Value, ...]], list[int]], dict[Cell, ListedRun], dict[Cell, list[ListedRun]]]:
    """The settings and seeds, the run to show of each cell, and the others."""
    inside: dict[tuple[tuple[Value, ...], int], list[ListedRun]] = {}
    unseeded: dict[tuple[Value, ...], int] = {}
    for run in found.there:
        chosen = found.chosen(run, names)
        seed = run.seed
        if seed is None:
            seed = unseeded[chosen] = unseeded.get(chosen, 0) - 1
        inside.setdefault((chosen, seed), []).append(run)
    rows = list(dict.fromkeys(chosen for chosen, _ in inside))
    seeds = sorted({seed for _, seed in inside}, key=lambda seed: (seed < 0, abs(seed)))
    places = [{key: place for place, key in enumerate(keys)} for keys in (rows, seeds)]
    shown, others = {}, {}
    for (chosen, seed), runs in inside.items():
        cell = places[0][chosen], places[1][seed]
        first, *rest = sorted(runs, key=lambda run: (run.state == "complete", run.changed), reverse=True)
        shown[cell], others[cell] = first, rest
    return (rows, seeds), shown, others


def _dataset(
    found: Listing,
    names: Sequence[str],
    table: tuple[list[tuple[Value, ...]], list[int]],
    cells: Mapping[Cell, ListedRun],
    others: Mapping[Cell, list[ListedRun]],
) -> xr.Dataset:
    rows, seeds = table
    cell_dims = ("setting", "seed")
    n = np.zeros((len(rows), len(seeds)), dtype=np.int64)
    for cell in cells:
        n[cell] = 1 + len(others[cell])
    return xr.Dataset(
        {"n": (cell_dims, n), **_said(cells, n.shape)},
        coords={
            "setting": labels(_label(names, row) for row in rows),
            "seed": np.array(seeds, dtype=np.int64 if max(seeds) < 2**63 else object),
            **{_own(name): ("setting", _column([row[i] for row in rows])) for i, name in enumerate(names)},
        },
        attrs={
            STUDY: found.folder,
            "settings": [_own(name) for name in names],
            "same": found.same,
            "missing": int((n == 0).sum()),
            "repeated": {cells[cell].path: [run.path for run in more] for cell, more in others.items() if more},
            "unreadable": found.unreadable,
            "no_run": {run.name: run.said for run in found.runs if run.state == "no run"},
        },
    ).merge(_scores(cells, n.shape))


def _said(cells: Mapping[Cell, ListedRun], shape: Cell) -> dict[str, Any]:
    """What each run says of itself (setting, seed): "" or NaN where there is none."""
    texts = {name: np.full(shape, "", dtype=object) for name in ("path", "state", "trial")}
    numbers = {name: np.full(shape, np.nan) for name in ("steps", "steps_taken", "seconds")}
    for cell, run in cells.items():
        for name, values in texts.items():
            said = getattr(run, name)
            values[cell] = "" if said is None else str(said)
        for name, known in numbers.items():
            known[cell] = np.nan if getattr(run, name) is None else getattr(run, name)
    return {name: (("setting", "seed"), values) for name, values in {**texts, **numbers}.items()}


def _scores(cells: Mapping[Cell, ListedRun], shape: Cell) -> xr.Dataset:
    """``loss``, ``score`` and ``direction``, of the tasks, splits and metrics of all runs."""
    keys = list(dict.fromkeys(key for run in cells.values() for key in run.metrics))
    splits, metrics = (list(dict.fromkeys(key[i] for key in keys)) for i in (0, 2))
    tasks = list(dict.fromkeys(task for run in cells.values() for task in run.tasks))
    tasks += [task for task in dict.fromkeys(task for _, task, _ in keys) if task not in tasks]
    at = [{name: place for place, name in enumerate(each)} for each in (splits, tasks, metrics)]
    loss = np.full((*shape, len(tasks)), np.nan)
    score = np.full((*shape, len(splits), len(tasks), len(metrics)), np.nan)
    direction = np.full((len(tasks), len(metrics)), "", dtype=object)
    for cell, run in cells.items():
        for task, value in run.losses.items():
            loss[(*cell, at[1][task])] = value
        for (split, task, metric), value in run.metrics.items():
            score[(*cell, at[0][split], at[1][task], at[2][metric])] = value
        for (task, metric), way in run.directions.items():
            if task in at[1] and metric in at[2]:
                direction[at[1][task], at[2][metric]] = way
    return xr.Dataset(
        {
            "loss": (("setting", "seed", "task"), loss),
            "score": (("setting", "seed", "split", "task", "metric"), score),
        },
        coords={
            "task": labels(tasks),
            "split": labels(splits),
            "metric": labels(metrics),
            "direction": (("task", "metric"), direction),
        },
    )


def _label(names: Sequence[str], row: Sequence[Value]) -> str:
    said = [f"{name}={value}" for name, value in zip(names, row, strict=True) if value is not None]
    return ", ".join(said) or ("all" if not names else "none")


def _own(name: str) -> str:
    """The coordinate of a setting: not one that the study has already."""
    return f"{name} of the run" if name in _TAKEN else name


def _column(values: Sequence[Value]) -> np.ndarray[Any, Any]:
    """Numbers as numbers, NaN for none; all else as it is, "" for none."""
    known = [value for value in values if value is not None]
    if known and all(isinstance(value, int | float) and not isinstance(value, bool) for value in known):
        whole = len(known) == len(values) and all(isinstance(value, int) for value in known)
        return np.array([np.nan if value is None else value for value in values], dtype=np.int64 if whole else float)
    found = np.empty(len(values), dtype=object)
    found[:] = ["" if value is None else value for value in values]  # xarray makes NaN of None
    return found


def _grid(study: xr.Dataset, names: Sequence[str]) -> xr.Dataset:
    """A dim of each setting in the place of all together."""
    names = [_own(name) for name in names]
    if not names:
        return study.isel(setting=0, drop=True)
    values, places = zip(*(_sorted(study[name].to_numpy()) for name in names), strict=True)
    cells = int(np.prod([len(each) for each in values], dtype=float)) * study.sizes["seed"]
    if cells > MOST_CELLS:
        raise BadOption(f"a grid of {cells} cells", fix="leave grid out: settings are then one dim, of those there are")
    sizes = tuple(len(each) for each in values)
    flat = study.drop_vars(["setting", *names])
    variables = {}
    for name, variable in flat.data_vars.items():
        moved = variable.transpose("setting", ...)
        fill: Any = {"i": 0, "O": ""}.get(moved.dtype.kind, np.nan)
        whole = np.full((*sizes, *moved.shape[1:]), fill, dtype=moved.dtype)
        whole[places] = moved.to_numpy()
        variables[name] = ((*names, *moved.dims[1:]), whole)
    coords = {name: each for name, each in flat.coords.items() if "setting" not in each.dims}
    coords |= {name: (name, each) for name, each in zip(names, values, strict=True)}
    found = xr.Dataset(variables, coords, study.attrs)
    return found.assign_attrs(missing=int((found["n"] == 0).sum()))


def _sorted(column: np.ndarray[Any, Any]) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """The distinct values, numbers by size and others as they come; and the place of each among them."""
    keys = [None if value == "" or value != value else value for value in column.tolist()]
    known = dict.fromkeys(keys)
    given = [key for key in known if key is not None]
    ordered: list[Any] = sorted(given) if all(isinstance(key, int | float) for key in given) else given
    ordered += [None] if None in known else []
    return _column(ordered), np.array([ordered.index(key) for key in keys])
