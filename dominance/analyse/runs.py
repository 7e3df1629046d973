"""One run or several, in whatever form they are given: the runs, by name."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from math import prod
from pathlib import PurePath
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from dominance.errors import BadOption
from dominance.store.reader import open_metrics, open_run

Runs = xr.DataTree | xr.Dataset | Mapping[str, xr.DataTree] | Iterable[xr.DataTree]

STUDY = "folder"
"""Attribute of what ``open_study`` returns: where its runs lie."""

_OPEN = "give what open_run returns"


class StudyRuns(Mapping[str, xr.DataTree]):
    """The runs of a study, or of a part of it, by their paths below its folder. Each is opened when it is asked for.

    Args:
        study: what ``open_study`` returns, or a selection of it.

    Attributes:
        paths: name -> run directory, in the order of the study's cells.
        coords: along ``run``: the study's settings and the seed.
        on_dask: whether analyses are to run on dask.
    """

    def __init__(self, study: xr.Dataset) -> None:
        names = [name for name in (*study.attrs["settings"], "seed") if name in study.coords]
        paths, *along = (each.to_numpy().ravel() for each in xr.broadcast(study["path"], *(study[n] for n in names)))
        there = np.array([isinstance(path, str) and path != "" for path in paths], dtype=bool)
        folder = str(study.attrs[STUDY])
        named = {os.path.relpath(path, folder): path for path in paths[there].tolist()}
        self.paths = {name if name != "." else os.path.basename(path): path for name, path in named.items()}
        self.coords = {name: ("run", column[there]) for name, column in zip(names, along, strict=True)}
        self.on_dask = bool(study.attrs.get("dask"))

    def __getitem__(self, name: str) -> xr.DataTree:
        return open_run(self.paths[name])

    def __iter__(self) -> Iterator[str]:
        return iter(self.paths)

    def __len__(self) -> int:
        return len(self.paths)


class StudyMetrics(StudyRuns):
    """The same, each with its attributes and metrics only."""

    def __getitem__(self, name: str) -> xr.DataTree:
        return open_metrics(self.paths[name])


def metrics_of(source: Runs) -> Mapping[str, xr.DataTree]:
    """``runs_of`` for what is said of attributes and metrics alone, and is soon said of a study of many runs."""
    found = runs_of(source)
    return StudyMetrics(source) if isinstance(found, StudyRuns) and isinstance(source, xr.Dataset) else found


def runs_of(source: Runs) -> Mapping[str, xr.DataTree]:
    """The single runs in ``source``, by name.

    Args:
        source: a run; a tree of ``open_runs``, with the dim ``run``; a mapping from names to runs; or a sequence of
            runs, which are named after the last part of their paths; or what ``open_study`` returns. Runs in a
            mapping, a sequence or a study may differ in their tasks and layers. Those of a study are opened one by
            one, when they are asked for.

    Returns:
        Runs without the dim ``run``, each with its own attributes and the steps and events that it has. Out of a tree
        of ``open_runs`` a run keeps the order of tasks and layers that the tree has, and of a step that was recorded
        twice the later row alone.

    Raises:
        BadOption: no run, something that is none (such as a path), or two runs of one name.

    >>> from dominance.analyse.runs import runs_of
    >>> list(runs_of({"before": run, "after": run}))
    ['before', 'after']
    """
    if isinstance(source, xr.DataTree):
        if "run" not in source.coords:
            return {_name(source): source}
        names = np.atleast_1d(source["run"].to_numpy()).tolist()
        return {str(name): _one(source, name) for name in names}
    if isinstance(source, xr.Dataset) and STUDY in source.attrs and "path" in source:
        if not (found := StudyRuns(source)):
            raise BadOption("there is no run in this part of the study", fix="select cells with n > 0")
        return found
    if isinstance(source, str | os.PathLike | xr.Dataset) or not isinstance(source, Iterable):
        raise _no_run(source, "this")
    named: dict[str, xr.DataTree] = {}
    for name, run in source.items() if isinstance(source, Mapping) else ((None, run) for run in source):
        if not isinstance(run, xr.DataTree):
            raise _no_run(run, "one of the runs" if name is None else str(name))
        called = _name(run) if name is None else str(name)
        if "run" in run.dims:
            raise BadOption(f"{called} holds several runs", fix="give single runs, or one tree of open_runs")
        if called in named:
            raise BadOption(f"two runs are called {called}", fix='name them: {"a": run, "b": other}')
        named[called] = next(iter(runs_of(run).values()))
    if not named:
        raise BadOption("there is no run", fix="give at least one, from open_run")
    return named


def only_run(source: Runs) -> xr.DataTree:
    """The run, for what is said of one run at a time.

    Raises:
        BadOption: several runs, or none.
    """
    found = runs_of(source)
    if len(found) > 1:
        raise BadOption(f"this is said of one run, and these are {len(found)}", fix="call it for each of them")
    return next(iter(found.values()))


def _one(tree: xr.DataTree, name: Any) -> xr.DataTree:
    """One run of a tree of ``open_runs``, as ``open_run`` gives it."""
    chosen = tree.sel(run=name) if "run" in tree.dims else tree
    if "step" in chosen.dims and "skipped" in chosen:
        chosen = chosen.isel(step=np.flatnonzero(chosen["skipped"].to_numpy() >= 0))  # a step it lacks has -1
    nodes = {node.path: node.to_dataset(inherit=False).drop_vars("run", errors="ignore") for node in chosen.subtree}
    own: Mapping[str, Any] = tree.attrs.get("runs", {}).get(name, {})
    for path, always in (("/metric", "metric"), ("/unrecorded_loss", "event_task")):  # "" where others have more
        if path in nodes:
            there = np.flatnonzero(nodes[path][always].to_numpy() != "")
            nodes[path] = nodes[path].isel(event=there)
            if not len(there):
                del nodes[path]
    if own.get("parameters") != tree.attrs.get("parameters"):
        nodes = _reached(nodes, own.get("parameters", []))
    run = xr.DataTree.from_dict(nodes)
    order = {key: tree.attrs[key] for key in ("tasks", "layers") if key in tree.attrs}
    run.attrs = {**tree.attrs, **own, **order}
    if "task_since" in own:
        since = dict(zip(own["tasks"], own["task_since"], strict=True))
        run.attrs["task_since"] = [since[task] for task in order["tasks"]]
    run.attrs.pop("runs", None)
    return run


def _reached(nodes: dict[str, xr.Dataset], parameters: list[dict[str, Any]]) -> dict[str, xr.Dataset]:
    """What the run itself says of its parameters: a task may have reached one in this run and not in another."""
    shared = {each["name"]: len(each["tasks"]) >= 2 for each in parameters}
    layers = {each["layer"]: False for each in parameters}
    sizes = dict.fromkeys(layers, 0)
    for each in parameters:
        layers[each["layer"]] |= shared[each["name"]]
        sizes[each["layer"]] += prod(each["shape"])
    found = dict(nodes)
    for path, node in nodes.items():
        if "parameter" in node.coords:
            of = pd.Series(node["parameter"].to_numpy()).map(shared).to_numpy(dtype=bool)
            found[path] = node.assign_coords(shared=("coord", of))
    if "/layer" in nodes:
        names = nodes["/layer"]["layer"].to_numpy().tolist()
        facts = {"shared": [layers[name] for name in names], "size": [sizes[name] for name in names]}
        found["/layer"] = nodes["/layer"].assign({key: ("layer", np.array(each)) for key, each in facts.items()})
    return found


def _no_run(given: object, name: str) -> BadOption:
    if isinstance(given, str | os.PathLike):
        path = os.fspath(given)
        return BadOption(f"{path!r} is a path, no run", fix=f"open it first: open_run({path!r})")
    return BadOption(f"{name} is a {type(given).__name__}, no run", fix=_OPEN)


def _name(run: xr.DataTree) -> str:
    return PurePath(str(run.attrs.get("path", "run"))).name
