"""What is said of one run, said of several: the results side by side, along a leading dim ``run``."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from importlib import import_module
from inspect import signature
from typing import Any, Concatenate, ParamSpec

import numpy as np
import pandas as pd
import xarray as xr

from dominance.analyse.prepared import PreparedRun
from dominance.analyse.runs import Runs, StudyRuns, runs_of
from dominance.analyse.tiling import one_thread
from dominance.errors import BadOption, NothingRecorded
from dominance.store.reader import open_run

P = ParamSpec("P")


def over_runs(
    analyse: Callable[Concatenate[PreparedRun, P], xr.Dataset],
) -> Callable[Concatenate[Runs | PreparedRun, P], xr.Dataset]:
    """Make an analyser of a prepared run take any run, and several: their results, joined along a leading dim ``run``.

    Steps are joined, in increasing order; tasks, layers and other names keep the order in which they first appear.
    Where a run lacks one of them its numbers are NaN (truth values then become 1.0, 0.0 and NaN) and its names "".
    Attributes on which all runs agree stay; the others become lists along ``run``, None where a run has no such. Of a
    study, ``run`` has the settings and the seed as further coordinates, and a run of which nothing can be said for lack
    of steps or shared parameters is left out, and named in the attribute ``left_out_runs``.

    Raises:
        BadOption: as :func:`runs_of`; or the runs keep different coordinates, and the result has one value for each.
    """

    @wraps(analyse)
    def several(*args: Any, **kwargs: Any) -> xr.Dataset:
        run, rest = (args[0], args[1:]) if args or "run" not in kwargs else (kwargs.pop("run"), ())
        if isinstance(run, PreparedRun):
            return analyse(run, *rest, **kwargs)
        found = runs_of(run)
        if isinstance(run, xr.DataTree) and "run" not in run.dims:
            return analyse(PreparedRun(next(iter(found.values()))), *rest, **kwargs)
        if isinstance(found, StudyRuns):
            return _of_study(several, found, rest, kwargs)
        return joined({name: analyse(PreparedRun(one), *rest, **kwargs) for name, one in found.items()})

    shown = signature(analyse)
    first, *others = shown.parameters.values()
    vars(several)["__signature__"] = shown.replace(parameters=[first.replace(annotation="Runs"), *others])
    return several


def _of_study(
    analyse: Callable[..., xr.Dataset], runs: StudyRuns, args: Sequence[Any], kwargs: Mapping[str, Any]
) -> xr.Dataset:
    """What an analyser says of a study: one run after the other is open, on dask one in each task."""
    if runs.on_dask:
        dask: Any = import_module("dask")
        # The analyser goes to a worker by its name: no code is sent.
        given = dask.delayed((analyse, tuple(args), dict(kwargs)), pure=False, traverse=False)
        task = dask.delayed(_of_path, pure=False)
        # In full: a worker may stand in another folder.
        each = dask.compute(*(task(os.path.abspath(path), given) for path in runs.paths.values()))
    else:
        each = [_said(analyse, path, args, kwargs) for path in runs.paths.values()]
    found = {name: one for name, one in zip(runs, each, strict=True) if isinstance(one, xr.Dataset)}
    left_out = {name: one for name, one in zip(runs, each, strict=True) if isinstance(one, NothingRecorded)}
    if not found:
        raise next(iter(left_out.values()))
    there = np.array([name in found for name in runs], dtype=bool)
    coords = {name: ("run", column[there]) for name, (_, column) in runs.coords.items()}
    whole = joined(found).assign_coords(coords)
    return whole.assign_attrs(left_out_runs={name: str(why) for name, why in left_out.items()})


def _said(
    analyse: Callable[..., xr.Dataset], path: str, args: Sequence[Any], kwargs: Mapping[str, Any]
) -> xr.Dataset | NothingRecorded:
    """The result; or why there is none of this run, while there may be of others."""
    run = open_run(path)
    try:
        return analyse(run, *args, **kwargs)
    except NothingRecorded as error:
        return error.with_traceback(None)  # whose frames would hold the run
    finally:
        # A tree is a circle: its coordinates would stay in memory until somebody looks for circles.
        for node in reversed(list(run.subtree)):
            node.dataset = xr.Dataset()


def _of_path(path: str, given: tuple[Callable[..., xr.Dataset], Sequence[Any], Mapping[str, Any]]) -> Any:
    with one_thread():  # the scheduler has a task for each of its own
        return _said(given[0], path, given[1], given[2])


def joined(results: Mapping[str, xr.Dataset]) -> xr.Dataset:
    """The results of several runs as one, along a leading dim ``run``; as :func:`over_runs` says.

    >>> from dominance.analyse.joining import joined
    >>> one, other = (xr.Dataset({"x": ("step", [1.0, 2.0])}, {"step": steps}) for steps in ([0, 1], [1, 2]))
    >>> joined({"one": one, "other": other}).x.values
    array([[ 1.,  2., nan],
           [nan,  1.,  2.]])
    """
    found = list(results.values())
    for dim in dict.fromkeys(str(dim) for one in found for dim in one.dims):
        if len({one.sizes.get(dim) for one in found}) > 1 and any(dim not in one.indexes for one in found):
            raise BadOption(f"the runs hold different numbers of {dim}", fix="analyse them one by one")
    if any("coord" in one.dims and not _same_coords(found[0], one) for one in found):
        raise BadOption("the runs keep different coordinates", fix="analyse them one by one")
    labels = {dim: _union(dim, found) for dim in dict.fromkeys(str(dim) for one in found for dim in one.indexes)}
    aligned = [_padded(one, labels) for one in found]
    names = np.empty(len(found), dtype=object)
    names[:] = list(results)
    whole = xr.concat(
        aligned, xr.Variable("run", names), join="exact", data_vars="all", coords="different", compat="equals",
        combine_attrs="drop",
    )  # fmt: skip
    keys = dict.fromkeys(key for one in found for key in one.attrs)
    values = {key: [one.attrs.get(key) for one in found] for key in keys}
    whole.attrs = {key: each[0] if len(set(map(repr, each))) == 1 else each for key, each in values.items()}
    return whole


def _same_coords(one: xr.Dataset, other: xr.Dataset) -> bool:
    """Whether both have the same parameters along coord, of which each is one scalar."""
    names = [name for name in one.coords if one[name].dims == ("coord",)]
    return all(name in other.coords and np.array_equal(one[name].to_numpy(), other[name].to_numpy()) for name in names)


def _union(dim: str, found: list[xr.Dataset]) -> pd.Index[Any]:
    indexes = [one.indexes[dim] for one in found if dim in one.indexes]
    values = list(dict.fromkeys(value for index in indexes for value in index.tolist()))
    if dim == "step":
        values.sort()
    return indexes[0] if all(index.equals(indexes[0]) for index in indexes) else pd.Index(values, name=dim)


def _padded(one: xr.Dataset, labels: Mapping[str, pd.Index[Any]]) -> xr.Dataset:
    wanted = {dim: index for dim, index in labels.items() if dim in one.indexes and not index.equals(one.indexes[dim])}
    if not wanted:
        return one
    touched = {str(name): each for name, each in one.variables.items() if set(map(str, each.dims)) & wanted.keys()}
    words = {name: "" for name, each in touched.items() if each.dtype.kind in "OUST" and name not in wanted}
    fill: Any = dict.fromkeys(map(str, one.variables), np.nan) | words
    return one.reindex(wanted, fill_value=fill)
