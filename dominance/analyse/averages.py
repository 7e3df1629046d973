"""The average of squared updates (AdaTask Eq. 2) of every shared coordinate, streamed through a run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from dominance.analyse.kernels.ema import accumulate, hold, hold_every
from dominance.analyse.steps import UsableSteps
from dominance.analyse.stream import DEFAULT, Blocks, Plan, over_tiles
from dominance.errors import BadOption, NothingRecorded

R = TypeVar("R")
PATHS = {"additive": "update/update", "solo": "update/solo"}


@dataclass(frozen=True)
class Visit:
    """The state of one tile at one step that the analysis asked for.

    Attributes:
        point: index of the step among those asked for.
        coords: range of the run's coordinates.
        sums: (task, coord) float64, S_t of ``accumulate``: AU = (1 - γ) S. Valid during the call only.
    """

    point: int
    coords: slice
    sums: NDArray[np.float64]


@dataclass(frozen=True)
class Streamed(Generic[R]):
    """What ``averages`` gives back: results[tile][point], and the steps it came from."""

    results: list[list[R]]
    coords: list[slice]
    points: NDArray[np.int64]
    steps: UsableSteps


def shared_coords(run: xr.DataTree) -> NDArray[np.bool_]:
    """(coord,) which coordinates belong to a parameter that two tasks reach.

    Raises:
        NothingRecorded: none does.
    """
    shared = np.asarray(run["shared"].to_numpy(), dtype=bool)
    if not shared.any():
        raise NothingRecorded(
            f"{run.attrs.get('path', 'run')}: no parameter is reached by two tasks",
            fix="name the tasks with dominance.observe({...}) before backward()",
        )
    return shared


def update_path(run: xr.DataTree, attribution: str) -> str:
    """Where the updates of an attribution lie.

    Raises:
        BadOption: no such attribution.
        NothingRecorded: the run was recorded without it.
    """
    if attribution not in PATHS:
        raise BadOption(f"attribution {attribution!r} is unknown", fix="choose from additive, solo")
    recorded = run.attrs.get("attribution", "additive")
    if recorded not in (attribution, "both"):
        raise NothingRecorded(
            f"{run.attrs.get('path', 'run')}: recorded with attribution {recorded}, not {attribution}",
            fix=f'say attribution="{recorded}", or record with `--attribution {attribution}`',
        )
    return PATHS[attribution]


def averages(
    run: xr.DataTree,
    path: str,
    steps: UsableSteps,
    choose: Callable[[UsableSteps], NDArray[np.int64]],
    visit: Callable[[Visit], R],
    *,
    decay: float,
    for_ratio: bool,
    plan: Plan = DEFAULT,
) -> Streamed[R]:
    """Stream the updates through Eq. 2 and call ``visit`` for every tile of coordinates at every chosen step.

    A step whose update proves to be NaN or infinite for a task that took part, though the statistics of its layer did
    not say so, is left out as well, and the run is streamed again without it.

    Args:
        choose: used steps in, indices of recorded steps out (increasing).
        for_ratio: only ratios between tasks matter; they outlive the decay of coordinates that are no longer moved.

    Raises:
        BadOption: the decay is out of range.
        NothingRecorded: no usable step is left.
    """
    if not 0 < decay < 1:
        raise BadOption(f"decay={decay} is no decay", fix="give a number between 0 and 1, such as 0.99")
    wanted = shared_coords(run)
    while True:
        steps.require(run)
        points = choose(steps)
        tile = _Tile(path, steps, wanted, points, visit, decay, hold_every(decay) if for_ratio else 0)
        found = over_tiles(run, [path], tile, wanted=wanted, plan=plan)
        bad = sorted(set().union(*(rows for _, _, rows in found)))
        if not bad:
            return Streamed([results for _, results, _ in found], [coords for coords, _, _ in found], points, steps)
        steps = steps.without(bad)


@dataclass(frozen=True)
class _Tile(Generic[R]):
    path: str
    steps: UsableSteps
    wanted: NDArray[np.bool_]
    points: NDArray[np.int64]
    visit: Callable[[Visit], R]
    decay: float
    hold_every: int

    def __call__(self, coords: slice, blocks: Blocks) -> tuple[slice, list[R], set[int]]:
        """Results by point, and the rows that are not finite."""
        width = coords.stop - coords.start
        tasks = self.steps.absent.shape[1]
        sums, scratch = np.zeros((tasks, width)), np.empty((tasks, width))
        shared = self.wanted[coords]
        results: list[R] = []
        bad: set[int] = set()
        used = 0
        for rows, arrays in blocks:
            if len(results) == len(self.points):
                break
            update = arrays[self.path]
            for i, row in enumerate(range(rows.start, rows.stop)):
                if self.steps.used[row]:
                    accumulate(sums, self._present(update[i], row), self.decay, scratch)
                    used += 1
                    if self.hold_every and used % self.hold_every == 0:
                        hold(sums)
                if len(results) < len(self.points) and self.points[len(results)] == row:
                    results.append(self.visit(Visit(len(results), coords, sums)))
            if not np.isfinite(sums.sum(axis=0))[shared].all():
                numbered = zip(update, range(rows.start, rows.stop), strict=True)
                bad |= {row for values, row in numbered if self._is_bad(values[:, shared], row)}
                sums[...] = 0  # these results are void; go on only to find the other bad steps
        return coords, results, bad

    def _present(self, update: NDArray[np.float32], row: int) -> NDArray[np.float32]:
        """The update of a task that took no part is 0 where none was recorded."""
        absent = self.steps.absent[row]
        if not absent.any():
            return update
        return np.where(absent[:, None] & np.isnan(update), np.float32(0), update)

    def _is_bad(self, update: NDArray[np.float32], row: int) -> bool:
        return bool(self.steps.used[row]) and not np.isfinite(self._present(update, row)).all()
