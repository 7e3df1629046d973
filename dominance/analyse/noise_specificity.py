"""Whether noise on a task's own parameters hurts that task more than it should: one number for each owner."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

from dominance.analyse.kernels.perturbation import mean_interval
from dominance.analyse.study.about import labels

AGAINST = ("random", "least", "other tasks")


def add_specificity(result: xr.Dataset, ways: Mapping[tuple[str, str], bool]) -> xr.Dataset:
    """The result of a noise probe with ``specificity`` (owner, against[, layer]) and its limits.

    With the harm H(o, k) that noise on the top parameters of owner o does to task k, the relative change of k's main
    metric for the worse, mean over the settings: H(o, o) less the harm to o of noise on random and on the least owned
    parameters, and H(o, o) - mean over k ≠ o of H(o, k). Mean over repeats, with 95 % limits (Student's t on the paired
    differences). Left out where the direction of a main metric is not known: ``directions_missing`` says which.

    Args:
        ways: (task, metric) -> higher is better.
    """
    main: dict[str, str] = result.attrs["main_metric"]
    missing = _without_direction(result, ways)
    result = result.assign_attrs(
        directions={f"{task}/{metric}": "higher" if higher else "lower" for (task, metric), higher in ways.items()},
        directions_missing=missing,
    )
    if missing:
        return result.drop_vars(["specificity", "specificity_lower", "specificity_upper", "against"], errors="ignore")
    tasks = [str(task) for task in result["task"].values]
    layered = "layer" in result["change"].dims
    change = result["change"].transpose("owner", "task", "metric", "selection", ..., "setting", "repeat")
    harm: Any = np.full((*np.delete(change.shape, [2, -2]),), np.nan)  # (owner, task, selection[, layer], repeat)
    metrics = [str(metric) for metric in result["metric"].values]
    for place, task in enumerate(tasks):
        if task in main:
            sign = -1 if ways[task, main[task]] else 1
            harm[:, place] = sign * change.to_numpy()[:, place, metrics.index(main[task])].mean(axis=-2)
    selections = [str(name) for name in result["selection"].values]
    top = selections.index("top")
    found = np.full((len(result["owner"]), len(AGAINST), *harm.shape[3:]), np.nan)
    for o, owner in enumerate(map(str, result["owner"].values)):
        own = tasks.index(owner)
        others = [place for place, task in enumerate(tasks) if task != owner and task in main]
        for i, selection in enumerate(AGAINST[:2]):
            found[o, i] = harm[o, own, top] - harm[o, own, selections.index(selection)]
        if others:
            found[o, 2] = harm[o, own, top] - harm[o, others, top].mean(axis=0)
    dims = ("owner", "against", "layer") if layered else ("owner", "against")
    names = ("specificity", "specificity_lower", "specificity_upper")
    values = mean_interval(found)
    return result.assign({name: (dims, value) for name, value in zip(names, values, strict=True)}).assign_coords(
        against=labels(AGAINST)
    )


def _without_direction(result: xr.Dataset, ways: Mapping[tuple[str, str], bool]) -> list[str]:
    main: dict[str, str] = result.attrs["main_metric"]
    return list(dict.fromkeys(metric for task, metric in main.items() if (task, metric) not in ways))
