"""Counts of coordinates by bucket, stratum and task, and the shares and errors that follow from them."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from dominance.analyse.averages import Streamed, Visit
from dominance.analyse.groups import Strata
from dominance.analyse.kernels.buckets import bucket_counts
from dominance.analyse.kernels.effective import effective_tasks
from dominance.analyse.kernels.ratio import ratio
from dominance.analyse.kernels.sampling_error import share_error


class Counter:
    """Counts one tile at one step, in whole coordinates of each stratum: nothing that depends on how tiles are cut."""

    def __init__(self, code: NDArray[np.int64], edges: tuple[float, ...]) -> None:
        self.code, self.edges = code, edges

    def runs(self, coords: slice) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """First coordinate, and stratum, of each run of coordinates of one stratum in the tile."""
        code = self.code[coords]
        starts = np.flatnonzero(np.diff(code, prepend=code[0] - 1))
        return starts.astype(np.int64), code[starts]

    def __call__(self, state: Visit) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.float64]]:
        """Coordinates (task, bucket, run), those that are touched (run), and the sum of their effective tasks (run)."""
        starts, _ = self.runs(state.coords)
        split = ratio(state.sums)
        counts = bucket_counts(split, self.edges, starts)
        effective = effective_tasks(split.astype(np.float32))  # 1e-6 is enough, and its logarithm costs half
        touched = ~np.isnan(effective)
        return (
            counts.astype(np.int32),
            np.add.reduceat(touched, starts, dtype=np.int32),
            np.add.reduceat(np.where(touched, effective, 0), starts, dtype=np.float64),
        )


Totals = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]


def totals(
    found: Streamed[tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.float64]]],
    counter: Counter,
    parts: Strata,
    tasks: int,
    buckets: int,
) -> Totals:
    """What the counter counted, by stratum: (step, task, bucket, stratum), (step, stratum), (step, stratum)."""
    points, count = len(found.points), len(parts.sampled)
    inside = np.zeros((points, tasks, buckets, count), dtype=np.int64)
    touched = np.zeros((points, count), dtype=np.int64)
    effective = np.zeros((points, count))
    for coords, results in zip(found.coords, found.results, strict=True):
        _, codes = counter.runs(coords)
        kept = np.flatnonzero(codes >= 0)
        for total, part in zip((inside, touched, effective), zip(*results, strict=True), strict=True):
            np.add.at(np.moveaxis(total, -1, 0), codes[kept], np.moveaxis(np.stack(part)[..., kept], -1, 0))
    return inside, touched, effective


def shares(
    run: xr.DataTree,
    rows: NDArray[np.int64],
    totals: Totals,
    parts: Strata,
    labels: list[Any],
    group_of: NDArray[np.int64],
    edges: tuple[float, ...],
) -> xr.Dataset:
    inside, touched, effective = totals
    points, _, buckets, _ = inside.shape
    tasks = run["task"].to_numpy()
    share = np.full((points, len(labels), len(tasks), buckets), np.nan)
    error = np.full_like(share, np.nan)
    untouched = np.full((points, len(labels)), np.nan)
    mean_effective = np.full_like(untouched, np.nan)
    weight = parts.population / parts.sampled
    for g in range(len(labels)):
        members = np.flatnonzero(group_of == g)
        stands_for = weight[members]
        size = touched[:, members] @ stands_for
        with np.errstate(invalid="ignore"):
            share[:, g] = inside[..., members] @ stands_for / size[:, None, None]
            mean_effective[:, g] = effective[:, members] @ stands_for / size
        untouched[:, g] = 1 - size / parts.population[members].sum()
        error[:, g] = share_error(
            inside[..., members], touched[:, None, None, members], parts.sampled[members], parts.population[members]
        )
    names = [f"{'(' if lo else '['}{100 * lo:g}, {100 * hi:g}]" for lo, hi in pairwise(edges)]
    return xr.Dataset(
        {
            "share": (("step", "layer", "task", "bucket"), share),
            "share_se": (("step", "layer", "task", "bucket"), error),
            "untouched": (("step", "layer"), np.clip(untouched, 0, 1)),
            "effective_tasks": (("step", "layer"), mean_effective),
        },
        coords={
            "step": run["step"].to_numpy()[rows],
            "layer": labels,
            "task": tasks,
            "bucket": names,
            "lower": ("bucket", np.array(edges[:-1])),
            "upper": ("bucket", np.array(edges[1:])),
        },
    )
