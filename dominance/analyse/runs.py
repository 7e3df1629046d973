"""One run or several, in whatever form they are given: the runs, by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from pathlib import PurePath
from typing import Any, Concatenate, ParamSpec

import numpy as np
import xarray as xr

from dominance.errors import BadOption

Runs = xr.DataTree | Mapping[str, xr.DataTree] | Sequence[xr.DataTree]
P = ParamSpec("P")


def runs_of(source: Runs) -> dict[str, xr.DataTree]:
    """The single runs in ``source``, by name.

    Args:
        source: a run; a tree of ``open_runs``, with the dim ``run``; a mapping from names to runs; or a sequence of
            runs, which are named after the last part of their paths. Runs in a mapping or a sequence may differ in
            their tasks and layers.

    Returns:
        Runs without the dim ``run``, each with its own attributes and the steps that it has.

    Raises:
        BadOption: no run, something that is none, or two runs of one name.
    """
    if isinstance(source, xr.DataTree):
        return _split(source) if "run" in source.dims else {_name(source): source}
    given: Any = source
    named: dict[str, xr.DataTree] = dict(given) if isinstance(given, Mapping) else _named(given)
    if not named:
        raise BadOption("there is no run", fix="give at least one, from open_run")
    for name, run in named.items():
        if not isinstance(run, xr.DataTree):
            raise BadOption(f"{name} is a {type(run).__name__}, no run", fix="give what open_run returns")
        if "run" in run.dims:
            raise BadOption(f"{name} holds several runs", fix="give single runs, or one tree of open_runs")
    return named


def over_runs(
    analyse: Callable[Concatenate[xr.DataTree, P], xr.Dataset],
) -> Callable[Concatenate[Runs, P], xr.Dataset]:
    """Make an analyser of one run take several: their results, joined along a leading dim ``run``.

    Steps are joined; a result that a run lacks is NaN. Attributes on which all runs agree stay; the others become
    lists along ``run``.
    """

    @wraps(analyse)
    def several(run: Runs, /, *args: P.args, **kwargs: P.kwargs) -> xr.Dataset:
        if isinstance(run, xr.DataTree) and "run" not in run.dims:
            return analyse(run, *args, **kwargs)
        found = {name: analyse(one, *args, **kwargs) for name, one in runs_of(run).items()}
        joined = xr.concat(
            list(found.values()),
            dim=xr.Variable("run", _objects(list(found))),
            join="outer",
            data_vars="all",
            coords="different",
            compat="equals",
            combine_attrs="drop_conflicts",
        )
        apart = {key for one in found.values() for key in one.attrs} - set(joined.attrs)
        return joined.assign_attrs({key: [one.attrs.get(key) for one in found.values()] for key in sorted(apart)})

    return several


def _split(tree: xr.DataTree) -> dict[str, xr.DataTree]:
    attrs: Mapping[str, Any] = tree.attrs.get("runs", {})
    found = {}
    for name in tree["run"].to_numpy().tolist():
        run = tree.sel(run=name)
        if "step" in run.dims:
            there = np.flatnonzero(run["skipped"].to_numpy() >= 0)  # a step that the run lacks has -1
            run = run.isel(step=there)
        nodes = {node.path: node.to_dataset(inherit=False).drop_vars("run", errors="ignore") for node in run.subtree}
        run = xr.DataTree.from_dict(nodes)
        run.attrs = {**tree.attrs, **attrs.get(name, {})}
        run.attrs.pop("runs", None)
        found[str(name)] = run
    return found


def _named(runs: Sequence[xr.DataTree]) -> dict[str, xr.DataTree]:
    named: dict[str, xr.DataTree] = {}
    for run in runs:
        name = _name(run)
        if name in named:
            raise BadOption(f"two runs are called {name}", fix='name them: {"a": run, "b": other}')
        named[name] = run
    return named


def _name(run: Any) -> str:
    return PurePath(str(getattr(run, "attrs", {}).get("path", "run"))).name


def _objects(names: Sequence[str]) -> np.ndarray[Any, np.dtype[np.object_]]:
    result = np.empty(len(names), dtype=object)
    result[:] = names
    return result
