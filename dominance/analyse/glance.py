"""What one picture of a run shows: layers, or groups of them, over training, with owner and worst conflict of each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from glob import escape

import numpy as np
import xarray as xr

from dominance.analyse.conflict import gcd
from dominance.analyse.folding import LayerGroups, fold, folded, populations, worst
from dominance.analyse.groups import ALL_SHARED
from dominance.analyse.summary import Overview

MOST_ROWS, MOST_WORST = 20, 4
"""Groups of layers, and single layers above them where there are more layers than that."""


def rows_of(table: xr.Dataset, layers: Sequence[str]) -> tuple[list[str], LayerGroups]:
    """The worst of the layers, where there are too many, and all of them in groups of neighbours."""
    if len(layers) <= MOST_ROWS:
        return [], {name: [name] for name in layers}
    return worst(table.sel(layer=list(layers)), MOST_WORST), fold(layers, MOST_ROWS)


def glance(run: xr.DataTree, seen: Overview, layers: Sequence[str]) -> xr.Dataset:
    """The numbers of :func:`dominance.plots.overview.plot_overview`.

    Returns:
        Along ``step``, ``row`` ("all shared", then the worst layers, then groups) and ``task``:

        - ``owned`` (step, row, task): share of the parameters with rAU over 80 %; NaN where none is moved yet
        - ``effective_tasks`` (step, row)
        - ``task_one``, ``task_other``, ``mean_gcd`` (row): the pair that conflicts most; "" and NaN without one

        Attributes: ``worst``: how many rows after the first are single layers picked out; ``folded``: whether rows
        stand for several layers.
    """
    singles, groups = rows_of(seen.layers, layers)
    sizes = populations(run)
    parts = [seen.trunk, *([seen.layers.sel(layer=singles)] if singles else [])]
    whole = any(len(each) > 1 for each in groups.values())
    parts.append(folded(seen.layers, groups, sizes) if whole else seen.layers.sel(layer=list(layers)))
    names = ["owned", "effective_tasks"]
    tables = [
        part.assign(owned=part["share"].isel(bucket=-1, drop=True))[names].drop_vars("bucket", errors="ignore")
        for part in parts
    ]
    found = xr.concat(tables, dim="layer", join="exact", coords="minimal", compat="override").rename(layer="row")
    pairs = [worst_pair(seen.trunk_conflict, ALL_SHARED)]
    pairs += [worst_pair(seen.conflict, name) for name in singles]
    conflict = gcd(run, by=_globs(groups)) if whole else seen.conflict
    pairs += [worst_pair(conflict, name) for name in groups]
    found["task_one"] = ("row", np.array([one for one, _, _ in pairs], dtype=object))
    found["task_other"] = ("row", np.array([other for _, other, _ in pairs], dtype=object))
    found["mean_gcd"] = ("row", np.array([degree for *_, degree in pairs]))
    order = {"owned": ("step", "row", "task"), "effective_tasks": ("step", "row")}
    found = found.assign({name: found[name].transpose(*dims) for name, dims in order.items()})
    return found.assign_attrs({**seen.trunk.attrs, "worst": len(singles), "folded": whole})


def _globs(groups: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    return {label: [escape(name) for name in layers] for label, layers in groups.items()}


def worst_pair(conflict: xr.Dataset, layer: str) -> tuple[str, str, float]:
    """The two tasks with the largest mean GCD in a layer, and that; ("", "", NaN) without any.

    Args:
        conflict: mean_gcd (layer, task, task_other).
        layer: one of its layers, or a name that it does not have.
    """
    mean = conflict["mean_gcd"].transpose("layer", "task", "task_other").values
    inside = mean[conflict["layer"].values.astype(str) == layer]
    upper = np.where(np.triu(np.ones(mean.shape[1:], dtype=bool), 1), inside, np.nan)
    if not np.isfinite(upper).any():
        return "", "", float("nan")
    place, i, j = np.unravel_index(int(np.nanargmax(upper)), upper.shape)
    return str(conflict["task"].values[i]), str(conflict["task"].values[j]), float(upper[place, i, j])
