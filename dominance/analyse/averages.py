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
PIECE = 2**16
"""Float64 sums that are worked on at a time: they and their temporaries stay in the cache from step to step."""

PATHS = {"additive": "update/update", "solo": "update/solo"}


@dataclass(frozen=True)
class Visit:
    """The state of some coordinates at one step that the analysis asked for.

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
    """What ``averages`` gives back: results[i][point] for the coordinates coords[i], and the steps they came from."""

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
        path, tasks = run.attrs.get("path", "run"), run.attrs.get("tasks", ())
        if "training" in run.attrs and len(tasks) == 1:
            raise NothingRecorded(f"{path}: has one task, {tasks[0]}, and so no shared parameter")
        raise NothingRecorded(
            f"{path}: no parameter is reached by two tasks",
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
    """Stream the updates through Eq. 2 and call ``visit`` for all coordinates, piece by piece, at every chosen step.

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
        job = _Job(path, steps, wanted, points, visit, decay, hold_every(decay) if for_ratio else 0)
        pieces = [piece for part in over_tiles(run, [path], job, wanted=wanted, plan=plan) for piece in part]
        bad = sorted(set().union(*(piece.bad for piece in pieces)))
        if not bad:
            return Streamed([piece.results for piece in pieces], [piece.coords for piece in pieces], points, steps)
        steps = steps.without(bad)


@dataclass(frozen=True)
class _Job(Generic[R]):
    path: str
    steps: UsableSteps
    wanted: NDArray[np.bool_]
    points: NDArray[np.int64]
    visit: Callable[[Visit], R]
    decay: float
    hold_every: int

    def __call__(self, coords: slice, blocks: Blocks) -> list[_Piece[R]]:
        """One tile, in pieces."""
        width = max(1, PIECE // self.steps.absent.shape[1])
        starts = range(coords.start, coords.stop, width)
        pieces = [_Piece(self, slice(start, min(start + width, coords.stop))) for start in starts]
        for rows, arrays in blocks:
            for piece in pieces:
                first = piece.coords.start - coords.start
                piece.take(rows, arrays[self.path][..., first : first + piece.width])
            if rows.stop > self.points[-1]:
                break
        for piece in pieces:
            piece.finish()
        return pieces


class _Piece(Generic[R]):
    """Part of a tile, small enough for the processor's cache: its state, and what came of it so far.

    Attributes:
        results: by point.
        bad: rows that are not finite.
    """

    def __init__(self, job: _Job[R], coords: slice) -> None:
        self.coords = coords
        self.width = coords.stop - coords.start
        self.results: list[R] = []
        self.bad: set[int] = set()
        self._job = job
        self._shared = job.wanted[coords]
        self._sums: NDArray[np.float64] = np.zeros((job.steps.absent.shape[1], self.width))
        self._used = 0

    def take(self, rows: slice, update: NDArray[np.float32]) -> None:
        """The next rows, (step, task, coord)."""
        job, sums = self._job, self._sums
        scratch = np.empty_like(sums)
        for i, row in enumerate(range(rows.start, rows.stop)):
            if job.steps.used[row]:
                accumulate(sums, self._present(update[i], row), job.decay, scratch)
                self._used += 1
                if job.hold_every and self._used % job.hold_every == 0:
                    hold(sums)
            done = len(self.results)
            if done < len(job.points) and job.points[done] == row:
                self.results.append(job.visit(Visit(done, self.coords, sums)))
        if not np.isfinite(sums.sum(axis=0))[self._shared].all():
            numbered = zip(update, range(rows.start, rows.stop), strict=True)
            self.bad |= {row for values, row in numbered if self._is_bad(values[:, self._shared], row)}
            sums[...] = 0  # these results are void; go on only to find the other bad steps

    def finish(self) -> None:
        """Give the memory of the state back."""
        self._sums = self._sums[:, :0].copy()

    def _present(self, update: NDArray[np.float32], row: int) -> NDArray[np.float32]:
        """The update of a task that took no part is 0 where none was recorded."""
        absent = self._job.steps.absent[row]
        if not absent.any():
            return update
        return np.where(absent[:, None] & np.isnan(update), np.float32(0), update)

    def _is_bad(self, update: NDArray[np.float32], row: int) -> bool:
        return bool(self._job.steps.used[row]) and not np.isfinite(self._present(update, row)).all()
