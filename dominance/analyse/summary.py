"""A run at a glance: one table, and a few plain sentences."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
import xarray as xr

from dominance.analyse.conflict import gcd
from dominance.analyse.groups import ALL_SHARED
from dominance.analyse.steps import superseded
from dominance.analyse.updates import bucket_tables

MOST = 0.5
"""A task that owns more than this share of a group's parameters (rAU in the last bucket) is called its owner."""


@dataclass(frozen=True)
class Overview:
    """What :func:`summary` and :func:`findings` are made of; measured once, it serves both.

    Attributes:
        layers, trunk: rau_buckets by layer, and of all shared parameters.
        conflict, trunk_conflict: gcd by layer, and in the whole trunk.
        norms: ``gradient`` and ``update`` (layer, task), the trunk included: medians over steps of 2-norms.
    """

    layers: xr.Dataset
    trunk: xr.Dataset
    conflict: xr.Dataset
    trunk_conflict: xr.Dataset
    norms: xr.Dataset


def overview(run: xr.DataTree) -> Overview:
    """Measure what the summary says, in one pass over the updates.

    Raises:
        NothingRecorded: no usable step, or no shared parameter.
    """
    attribution = "solo" if run.attrs.get("attribution") == "solo" else "additive"
    layers, trunk = bucket_tables(run, ["layer", "all"], attribution=attribution)
    return Overview(layers, trunk, gcd(run), gcd(run, by="all"), _norms(run, attribution))


def summary(run: xr.DataTree | Overview) -> pd.DataFrame:
    """One row a (layer, task) for the shared layers, and for the whole trunk as the layer "all shared".

    Args:
        run: a run, or its :func:`overview`.

    Returns:
        Indexed by layer and task, with the columns

        - one for each of the five buckets: share of the touched parameters at the last usable step
        - ``share_se``: the largest standard error of these shares, from sampling
        - ``untouched``, ``effective_tasks``: of the layer, the same in each of its rows
        - ``gradient_norm``, ``update_norm``: median over steps of the 2-norm of the effective gradient and the update
        - ``mean_gcd``: mean over steps and over the other tasks

        ``attrs`` holds the last step, and how many were used and left out.

    Raises:
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


def findings(run: xr.DataTree | Overview) -> list[str]:
    """What was measured, in sentences for a terminal: the trunk first, then the layers that differ from it.

    Args:
        run: a run, or its :func:`overview`.

    Raises:
        NothingRecorded: no usable step, or no shared parameter.

    >>> from dominance.analyse.summary import findings
    >>> findings(run)[0]
    'a owns 100 % of the shared parameters (rAU > 80 %) since step 0; b owns 0 %'
    """
    seen = run if isinstance(run, Overview) else overview(run)
    return [
        *_trunk(seen.trunk),
        *_layers(seen.layers, seen.trunk),
        *_conflict(seen.trunk_conflict),
        *_caveats(seen.trunk),
    ]


def _norms(run: xr.DataTree, attribution: str) -> xr.Dataset:
    table = run["layer"].to_dataset()
    shared = np.flatnonzero(table["shared"].to_numpy())
    rows = np.flatnonzero(~superseded(run["step"].to_numpy()) & (run["skipped"].to_numpy() != 1))
    names = {"gradient": "gradient_sq", "update": "solo_sq" if attribution == "solo" else "update_sq"}
    found = {}
    for name, statistic in names.items():
        squares = table[statistic].isel(step=rows, layer=shared).to_numpy()
        squares = np.concatenate([squares, squares.sum(axis=1, keepdims=True)], axis=1)
        squares = np.where(np.isfinite(squares), squares, np.nan)
        known = np.isfinite(squares).any(axis=0)
        medians = np.full(squares.shape[1:], np.nan)
        medians[known] = np.nanmedian(np.sqrt(squares[:, known]), axis=0)
        found[name] = (("layer", "task"), medians)
    layers = [*(run.attrs["layers"][i] for i in shared), ALL_SHARED]
    return xr.Dataset(found, coords={"layer": layers, "task": run["task"].to_numpy()})


def percent(share: float) -> str:
    """A share in words that do not round a part away.

    >>> percent(0.966), percent(0.999), percent(0.001), percent(1.0)
    ('97 %', '>99 %', '<1 %', '100 %')
    """
    if 0 < share < 0.005:
        return "<1 %"
    return ">99 %" if 0.995 < share < 1 else f"{100 * share:.0f} %"


def _owned(table: xr.Dataset) -> dict[str, float]:
    """The last bucket of each task at the last step, largest first; ``table`` is of one layer."""
    shares = table.share.isel(step=-1, bucket=-1).to_series()
    return {str(task): float(share) for task, share in shares.sort_values(ascending=False, kind="stable").items()}


def _owner(owned: dict[str, float]) -> str | None:
    task = next(iter(owned))
    return task if owned[task] > MOST else None


def _list(owned: dict[str, float]) -> str:
    return ", ".join(
        f"{task} {'owns ' if i == 0 else ''}{percent(share)}" for i, (task, share) in enumerate(owned.items())
    )


def _trunk(trunk: xr.Dataset) -> list[str]:
    table = trunk.isel(layer=0)
    owned = _owned(table)
    if table.untouched[-1] == 1:
        return ["no task has moved a shared parameter"]
    bound = f"rAU > {100 * float(table.lower[-1]):g} %"
    effective = f"effective number of tasks {float(table.effective_tasks[-1]):.2f} of {len(owned)}"
    owner = _owner(owned)
    if owner is None:
        if max(owned.values()) <= 0.1:
            return [f"no task dominates: {effective}"]
        return [f"no task owns most of the shared parameters ({bound}): {_list(owned)}; {effective}"]
    over = (table.share.isel(bucket=-1).sel(task=owner) > MOST).to_numpy()
    since = int(table.step[len(over) - int(np.argmin(over[::-1]) if not over.all() else len(over))])
    others = {task: share for task, share in owned.items() if task != owner}
    rest = f"; {_list(others)}" if others else ""
    return [f"{owner} owns {percent(owned[owner])} of the shared parameters ({bound}) since step {since}{rest}"]


def _layers(layers: xr.Dataset, trunk: xr.Dataset, most: int = 5) -> list[str]:
    owner = _owner(_owned(trunk.isel(layer=0)))
    lines: list[str] = []
    if trunk.untouched[-1, 0] == 1:
        return lines
    for layer in layers.layer.values:
        table = layers.sel(layer=layer)
        owned = _owned(table)
        if np.isnan(max(owned.values())):
            lines.append(f"in {layer} no task has moved a parameter")
        elif _owner(owned) != owner:
            says = "no task owns most: " if _owner(owned) is None else ""
            effective = f"effective number of tasks {float(table.effective_tasks[-1]):.2f}"
            lines.append(f"in {layer} {says}{_list(owned)} ({effective})")
    if len(lines) > most:
        lines = [*lines[: most - 1], f"{len(lines) - most + 1} more layers differ from the whole"]
    return lines


def _conflict(conflict: xr.Dataset) -> list[str]:
    means = conflict.mean_gcd.isel(layer=0).to_numpy()
    if np.isnan(means).all():
        return []
    i, j = divmod(int(np.nanargmax(np.triu(np.where(np.isnan(means), -1, means)))), len(means))
    one, other = conflict.task.values[i], conflict.task.values[j]
    share = float(conflict.conflict_share[0, i, j])
    often = f"conflict (GCD > 1) at {percent(share)} of the steps"
    return [f"gradients of {one} and {other} {often}, mean GCD {means[i, j]:.2f}"]


def _caveats(trunk: xr.Dataset) -> list[str]:
    lines = []
    if trunk.attrs["attribution"] == "solo":
        lines.append("updates are solo updates: the step the optimizer would take from one task's gradient alone")
    untouched = float(trunk.untouched[-1, 0])
    if 0.005 <= untouched < 1:
        lines.append(f"{percent(untouched)} of the shared parameters have not been moved by any task")
    if trunk.attrs["coords_sampled"] < trunk.attrs["coords_shared"]:
        lines.append(
            f"shares come from {trunk.attrs['coords_sampled']:,} of {trunk.attrs['coords_shared']:,} shared parameters"
            f" (standard error at most {100 * float(trunk.share_se[-1].max()):.2g} points)"
        )
    reasons = {key.removeprefix("left_out_"): n for key, n in trunk.attrs.items() if key.startswith("left_out_") and n}
    if reasons:
        said = ", ".join(f"{number} {reason.replace('_', '-')}" for reason, number in reasons.items())
        lines.append(f"{sum(reasons.values())} of {trunk.attrs['steps_recorded']} recorded steps are left out: {said}")
    return lines
