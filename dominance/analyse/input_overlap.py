"""How much of what tables hold two tasks learn both: where that is little, the angle of their gradients says little."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from dominance.analyse.joining import over_runs
from dominance.analyse.prepared import PreparedRun
from dominance.analyse.tiling import Blocks, over_tiles

LITTLE = 0.3
"""Overlap below which correlations of gradients were found to be noise (Zhang and Cheng 2026)."""
_EACH = "gradient/gradient"


@over_runs
def input_overlap(run: PreparedRun) -> xr.Dataset:
    """Of the parameters that either of two tasks had a gradient of, in any recorded step, the share that both had.

    In a layer that every input goes through it is 1. In a table (an embedding) it is the share of the rows that the
    inputs of both tasks look up: of two genres of films, those that are both. Two tasks with inputs that hardly overlap
    are at an angle for what they are shown, not for what they ask; a conflict of theirs, or the lack of one, is then
    not informative.

    Args:
        run: a run, from ``open_run``; or several (see ``runs_of``).

    Returns:
        Along the shared layers and the pairs of tasks:

        - ``overlap`` (layer, task, task_other): in [0, 1]; 1 on the diagonal, NaN where neither had a gradient. Of the
          sampled coordinates, each counted for as many as it stands for.
        - ``least`` (task, task_other): over the layers.
        - ``informative`` (task, task_other): whether that is at least 0.3. Short runs see few rows: their overlap is
          too low, and it grows with ``steps_recorded``.

    Raises:
        NothingRecorded: no step, or no parameter that two tasks reach.

    Source: Zhang and Cheng 2026, "Information-Theoretic Requirements for Gradient-Based Task Affinity Estimation in
    Multi-Task Learning" (arXiv:2604.07848): with less than 30 % of the samples in common, gradients say nothing of how
    tasks are related. That is of samples; this is of what they look up.

    >>> from dominance import input_overlap
    >>> found = input_overlap(run)  # one parameter, which both tasks had a gradient of
    >>> float(found.overlap.sel(layer="trunk", task="a", task_other="b"))
    1.0
    """
    run.require_steps()
    shared = run.shared
    met = np.concatenate(over_tiles(run.tree, [_EACH], _Met(shared), wanted=shared), axis=-1)
    weight = run.of_coord("coord_weight")[shared]
    layer_of = run.of_coord("coord_layer")[shared]
    layers = [layer for layer in run.layers if (layer_of == layer).any()]
    found = np.stack([_shares(met[:, layer_of == layer], weight[layer_of == layer]) for layer in layers])
    known = ~np.isnan(found).all(axis=0)
    least = np.full(found.shape[1:], np.nan)
    least[known] = np.nanmin(found[:, known], axis=0)
    pairs = ("task", "task_other")
    return xr.Dataset(
        {
            "overlap": (("layer", *pairs), found),
            "least": (pairs, least),
            "informative": (pairs, ~(least < LITTLE)),
        },
        coords={"layer": layers, "task": run.tasks, "task_other": run.tasks},
        attrs={"little": LITTLE, "steps_recorded": len(run.numbers)},
    )


@dataclass(frozen=True)
class _Met:
    """(task, coord) of a tile's shared coordinates: whether there was a gradient in any step."""

    shared: NDArray[np.bool_]

    def __call__(self, coords: slice, blocks: Blocks) -> NDArray[np.bool_]:
        inside = self.shared[coords]
        found: Any = False
        for _, arrays in blocks:
            found = found | (np.nan_to_num(arrays[_EACH][..., inside]) != 0).any(axis=0)
        return np.asarray(found)


def _shares(met: NDArray[np.bool_], weight: NDArray[np.float64]) -> NDArray[np.float64]:
    """(task, task) from (task, coord) and (coord,)."""
    both = (met * weight) @ met.T.astype(np.float64)
    alone = both.diagonal()
    with np.errstate(invalid="ignore"):
        return np.asarray(both / (alone[:, None] + alone - both))
