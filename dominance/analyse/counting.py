"""Counts of coordinates by bucket, stratum and task, and the shares and errors that follow from them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from dominance.analyse.averages import Visit
from dominance.analyse.groups import Strata
from dominance.analyse.kernels.buckets import bucket_counts
from dominance.analyse.kernels.effective import effective_tasks
from dominance.analyse.kernels.ratio import ratio
from dominance.analyse.kernels.sampling_error import share_error
from dominance.analyse.lengths import RunLengths
from dominance.analyse.prepared import PreparedRun

_UNIT = 2.0**24
"""Effective numbers of tasks are added up as whole multiples of 1 / _UNIT: the sum is the same in every order."""


class Counter:
    """Counts the coordinates of each stratum, in whole numbers: nothing that depends on how tiles are cut.

    A room is (attribution, point, row, run), where a run is a range of coordinates of one stratum; rows are the counts
    of each task and bucket, the number of coordinates that are touched, and the sum of their effective tasks.

    Args:
        code: (coord,) stratum, -1 for none.
        edges: of the buckets.
        tasks: how many.
    """

    def __init__(self, code: NDArray[np.int64], edges: tuple[float, ...], tasks: int) -> None:
        self._code = RunLengths(code)
        self._edges, self._tasks = edges, tasks

    def room(self, tile: slice, parts: int, points: int) -> NDArray[np.int64]:
        rows = self._tasks * (len(self._edges) - 1) + 2
        return np.zeros((parts, points, rows, len(self._code.within(tile)[0])), dtype=np.int64)

    def visit(self, state: Visit, room: NDArray[np.int64]) -> None:
        starts, _ = self._code.within(state.coords)
        first = self._code.number(state.coords.start) - self._code.number(state.tile.start)
        room[state.part, state.point, :, first : first + len(starts)] += self.counts(state.sums, starts)

    def counts(self, sums: NDArray[np.float64], starts: NDArray[np.int64]) -> NDArray[np.int64]:
        """(row, run) of sums of squares (task, coord), which are cut into runs at ``starts``."""
        found = np.empty((self._tasks * (len(self._edges) - 1) + 2, len(starts)), dtype=np.int64)
        split = ratio(sums)
        found[:-2] = bucket_counts(split, self._edges, starts).reshape(-1, len(starts))
        effective = effective_tasks(split.astype(np.float32))  # 1e-6 is enough, and its logarithm costs half
        touched = ~np.isnan(effective)
        found[-2] = np.add.reduceat(touched, starts, dtype=np.int64)
        units = np.rint(np.where(touched, effective, 0) * np.float32(_UNIT))
        found[-1] = np.add.reduceat(units, starts, dtype=np.float64).astype(np.int64)  # exact: whole numbers < 2^53
        return found

    def totals(self, rooms: Sequence[NDArray[Any]], tiles: Sequence[slice], strata: int) -> list[Totals]:
        """For each attribution what was counted, by stratum."""
        return self.added(rooms, [self._code.within(tile)[1] for tile in tiles], strata)

    def added(self, rooms: Sequence[NDArray[Any]], strata_of: Sequence[NDArray[Any]], strata: int) -> list[Totals]:
        """The same, from the stratum of each place of each room."""
        parts, points, rows, _ = rooms[0].shape
        total = np.zeros((strata, parts, points, rows), dtype=np.int64)
        for codes, room in zip(strata_of, rooms, strict=True):
            kept = np.flatnonzero(codes >= 0)
            np.add.at(total, codes[kept], np.moveaxis(room[..., kept], -1, 0))
        total = np.moveaxis(total, 0, -1)
        inside = total[:, :, :-2].reshape(parts, points, self._tasks, len(self._edges) - 1, strata)
        return list(zip(inside, total[:, :, -2], total[:, :, -1] / _UNIT, strict=True))


class ScatteredCounter(Counter):
    """The same where the coordinates of a stratum do not lie side by side: they are brought together to be counted.

    In a room a row is as long as there are strata in the tile.
    """

    def __init__(self, code: NDArray[np.int64], edges: tuple[float, ...], tasks: int) -> None:
        super().__init__(code[:0], edges, tasks)
        self._strata = code.astype(np.int32)

    def room(self, tile: slice, parts: int, points: int) -> NDArray[np.int64]:
        rows = self._tasks * (len(self._edges) - 1) + 2
        return np.zeros((parts, points, rows, len(np.unique(self._strata[tile]))), dtype=np.int64)

    def visit(self, state: Visit, room: NDArray[np.int64]) -> None:
        there = np.unique(self._strata[state.tile])
        mine = self._strata[state.coords]
        order = np.argsort(mine, kind="stable")
        starts = np.flatnonzero(np.append(True, np.diff(mine[order]) != 0))
        places = np.searchsorted(there, mine[order][starts])
        found = self.counts(state.sums[:, order], starts)
        room[state.part, state.point][:, places] += found

    def totals(self, rooms: Sequence[NDArray[Any]], tiles: Sequence[slice], strata: int) -> list[Totals]:
        return self.added(rooms, [np.unique(self._strata[tile]) for tile in tiles], strata)


_MOST_AT_ONCE = 1 << 19
"""Numbers of which an error is worked out at once: of all strata it takes several arrays of that many."""


def _blocks(points: int, each: int) -> Iterator[slice]:
    length = max(1, _MOST_AT_ONCE // max(each, 1))
    return (slice(start, start + length) for start in range(0, points, length))


Totals = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]
"""Coordinates (step, task, bucket, stratum), those that are touched, and the sum of effective tasks (step, stratum)."""


def shares(
    run: PreparedRun,
    steps: NDArray[np.int64],
    totals: Totals,
    parts: Strata,
    labels: list[Any],
    group_of: NDArray[np.int64],
    edges: tuple[float, ...],
) -> xr.Dataset:
    inside, touched, effective = totals
    points, _, buckets, _ = inside.shape
    tasks = run.tasks
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
        sampled, population = parts.sampled[members], parts.population[members]
        for some in _blocks(points, len(tasks) * buckets * len(members)):
            counts = inside[some][..., members], touched[some, None, None][..., members]
            error[some, g] = share_error(*counts, sampled, population)
    names = [f"{'(' if lo else '['}{100 * lo:g}, {100 * hi:g}]" for lo, hi in pairwise(edges)]
    return xr.Dataset(
        {
            "share": (("step", "layer", "task", "bucket"), share),
            "share_se": (("step", "layer", "task", "bucket"), error),
            "untouched": (("step", "layer"), np.clip(untouched, 0, 1)),
            "effective_tasks": (("step", "layer"), mean_effective),
        },
        coords={
            "step": steps,
            "layer": labels,
            "task": tasks,
            "bucket": names,
            "lower": ("bucket", np.array(edges[:-1])),
            "upper": ("bucket", np.array(edges[1:])),
        },
    )
