"""A run at a glance, in one table."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from dominance.analyse.conflict import degrees
from dominance.analyse.grams import grams, grouped
from dominance.analyse.group_shares import group_shares
from dominance.analyse.groups import ALL_SHARED
from dominance.analyse.prepared import PreparedRun, prepare
from dominance.analyse.rau_buckets import bucket_tables


@dataclass(frozen=True)
class Overview:
    """What :func:`summary` and the verdict are made of; measured once, it serves both.

    Attributes:
        layers, trunk: rau_buckets by layer, and of all shared parameters.
        conflict, trunk_conflict: gcd by layer, and in the whole trunk.
        run: the run, for more that is asked of it.
        norms: ``gradient`` and ``update`` (layer, task), the trunk included: medians over steps of 2-norms.
    """

    layers: xr.Dataset
    trunk: xr.Dataset
    conflict: xr.Dataset
    trunk_conflict: xr.Dataset
    norms: xr.Dataset
    run: PreparedRun

    @cached_property
    def groups(self) -> pd.DataFrame | None:
        """See ``group_shares``."""
        return group_shares(self.run)


def overview(run: xr.DataTree | PreparedRun) -> Overview:
    """Measure what the summary and the verdict need, in one pass over the updates.

    Raises:
        BadOption: not one run.
        NothingRecorded: no usable step, or no shared parameter.
    """
    run = prepare(run)
    run.require_steps()
    layers, trunk = bucket_tables(run, ["layer", "all"], attribution=run.attribution)
    each = grams(run, "layer")
    return Overview(layers, trunk, degrees(each, run), degrees(grouped(each, "all"), run), _norms(run), run)


def summary(run: xr.DataTree | Overview) -> pd.DataFrame:
    """One row a (layer, task) for the shared layers, and for the whole trunk as the layer "all shared".

    Args:
        run: a run, or its :func:`overview`.

    Returns:
        Indexed by layer and task, with the columns

        - one for each of the five buckets: share of the touched parameters at the last usable step
        - ``share_se``: the largest standard error of these shares, from sampling
        - ``untouched``, ``effective_tasks``: of the layer, the same in each of its rows
        - ``gradient_norm``, ``update_norm``: median over steps of the 2-norm of the effective gradient, over those at
          which the task has one, and of the update
        - ``mean_gcd``: mean over steps and over the other tasks

        ``attrs`` holds the last step, and how many were used and left out.

    Raises:
        BadOption: not one run.
        NothingRecorded: no usable step, or no shared parameter.

    >>> from dominance import summary
    >>> table = summary(run)
    >>> table.loc[("all shared", "a"), ["(80, 100]", "effective_tasks", "gradient_norm", "mean_gcd"]].round(2).tolist()
    [1.0, 1.57, 1.5, 2.0]
    """
    seen = run if isinstance(run, Overview) else overview(run)
    tables = []
    for buckets, conflict in ((seen.layers, seen.conflict), (seen.trunk, seen.trunk_conflict)):
        last = buckets.isel(step=-1)
        rows = last.share.to_series().unstack("bucket")[list(last.bucket.values)]
        rows["share_se"] = last.share_se.max("bucket").to_series()
        for name in ("untouched", "effective_tasks"):
            rows[name] = last[name].broadcast_like(last.share.isel(bucket=0, drop=True)).to_series()
        for name in ("gradient", "update"):
            rows[f"{name}_norm"] = seen.norms[name].to_series()
        rows["mean_gcd"] = conflict.mean_gcd.mean("task_other").to_series()
        index = pd.MultiIndex.from_product(
            [last.layer.values.tolist(), last.task.values.tolist()], names=["layer", "task"]
        )
        tables.append(rows.reindex(index))
    table: pd.DataFrame = pd.concat(tables)
    table.columns.name = None
    table.attrs = {"step": int(seen.trunk.step[-1]), **seen.trunk.attrs}
    return table


def _norms(run: PreparedRun) -> xr.Dataset:
    table = run["layer"].to_dataset()
    shared = np.flatnonzero(table["shared"].to_numpy())
    rows = np.flatnonzero(~run.superseded & (run.skipped <= 0))
    names = {"gradient": "gradient_sq", "update": "solo_sq" if run.attribution == "solo" else "update_sq"}
    found = {}
    for name, statistic in names.items():
        squares = table[statistic].isel(step=rows, layer=shared).to_numpy()
        squares = np.concatenate([squares, squares.sum(axis=1, keepdims=True)], axis=1)
        if name == "gradient":
            squares = where_it_takes_part(squares)
        found[name] = (("layer", "task"), known_medians(np.sqrt(squares)))
    layers = [*(run.layers[i] for i in shared), ALL_SHARED]
    return xr.Dataset(found, coords={"layer": layers, "task": run.tasks})


def where_it_takes_part(squares: NDArray[Any]) -> NDArray[Any]:
    """Squared norms with NaN at the steps at which a task has no gradient at all, unless it never has one.

    The median of a task that one step in three has is of these steps; over all of them it would be 0.

    Args:
        squares: (step, layer, task), all shared layers among them.

    >>> where_it_takes_part(np.array([[[4.0, 0.0]], [[0.0, 0.0]], [[9.0, 0.0]]]))[:, 0].tolist()
    [[4.0, 0.0], [nan, 0.0], [9.0, 0.0]]
    """
    absent = (squares == 0).all(axis=1)
    absent[:, absent.all(axis=0)] = False
    return np.where(absent[:, None], np.nan, squares)


def known_medians(values: NDArray[Any]) -> NDArray[np.float64]:
    """Medians over the first axis of what is finite; NaN where nothing is.

    >>> known_medians(np.array([[1.0, np.nan], [3.0, np.nan], [np.inf, np.nan]]))
    array([ 2., nan])
    """
    values = np.where(np.isfinite(values), values, np.nan)
    known = np.isfinite(values).any(axis=0)
    medians = np.full(values.shape[1:], np.nan)
    medians[known] = np.nanmedian(values[:, known], axis=0)
    return medians


def percent(share: float) -> str:
    """A share in words that do not round a part away.

    >>> percent(0.966), percent(0.999), percent(0.001), percent(1.0)
    ('97 %', '>99 %', '<1 %', '100 %')
    """
    if 0 < share < 0.005:
        return "<1 %"
    return ">99 %" if 0.995 < share < 1 else f"{100 * share:.0f} %"
