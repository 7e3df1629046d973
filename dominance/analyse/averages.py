"""The average of squared updates (AdaTask Eq. 2) of every shared coordinate, streamed through a run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from dominance.analyse.kernels.ema import accumulate, fades, hold, holds, weight_seen
from dominance.analyse.lengths import RunLengths
from dominance.analyse.prepared import PATHS, PreparedRun
from dominance.analyse.steps import UsableSteps
from dominance.analyse.tiling import DEFAULT, Blocks, TilePlan, over_tiles
from dominance.decay import LEAST
from dominance.errors import BadOption

PIECE = 2**16
"""Float64 sums that are worked on at a time: they and their temporaries stay in the cache from step to step."""


@dataclass(frozen=True)
class Visit:
    """The state of some coordinates at one step that the analysis asked for.

    Attributes:
        point: index of the step among those asked for.
        part: index of the attribution among those asked for.
        tile: range of the run's coordinates that are worked on together.
        coords: those of them whose state this is.
        sums: (task, coord) float64, S_t of ``accumulate``: AU = (1 - γ) S. Valid during the call only.
        seen: the share of the weights of all steps up to here that the used ones have: 1 where every step is used.
    """

    point: int
    part: int
    tile: slice
    coords: slice
    sums: NDArray[np.float64]
    seen: float


class Visitor(Protocol):
    """What an analysis makes of the averages. It may be sent to another process, and so must what it makes."""

    def room(self, tile: slice, parts: int, points: int) -> NDArray[Any]:
        """Where the results of one tile go."""

    def visit(self, state: Visit, room: NDArray[Any]) -> None:
        """Put what follows from a state into the room of its tile."""


@dataclass(frozen=True)
class Streamed:
    """What ``averages`` gives back: the rooms of the tiles, in the order of coordinates, and the steps behind them."""

    rooms: list[NDArray[Any]]
    tiles: list[slice]
    points: NDArray[np.int64]
    steps: UsableSteps


def averages(
    run: PreparedRun,
    parts: Sequence[str],
    steps: UsableSteps,
    choose: Callable[[UsableSteps], NDArray[np.int64]],
    visitor: Visitor,
    *,
    decay: float,
    for_ratio: bool,
    plan: TilePlan = DEFAULT,
) -> Streamed:
    """Stream the updates through Eq. 2 and call the visitor for all coordinates, piece by piece, at every chosen step.

    A step whose update proves to be NaN or infinite for a task that took part, though the statistics of its layer did
    not say so, is left out as well, and the run is streamed again without it.

    Args:
        parts: attributions, keys of ``PATHS``.
        steps: those that can be used, as ``PreparedRun.usable`` sorts them.
        choose: used steps in, indices of recorded steps out (increasing).
        for_ratio: only ratios between tasks matter; they outlive the decay of coordinates that are no longer moved.

    Raises:
        BadOption: the decay is out of range.
        NothingRecorded: no usable step is left.
    """
    if not 0 < decay < 1:
        raise BadOption(f"decay={decay} is no decay", fix="give a number between 0 and 1, such as 0.99")
    paths = tuple(PATHS[part] for part in parts)
    while True:
        steps.require(run.tree)
        points = choose(steps)
        over_time = _over_time(steps, decay, for_ratio=for_ratio)
        job = _Job(paths, steps, RunLengths(run.shared), points, visitor, *over_time)
        found = over_tiles(run.tree, paths, job, wanted=run.shared, plan=plan)
        bad = sorted(set().union(*(tile.bad for tile in found)))
        if not bad:
            return Streamed([tile.room for tile in found], [tile.coords for tile in found], points, steps)
        steps = steps.without(bad)


def _over_time(
    steps: UsableSteps, decay: float, *, for_ratio: bool
) -> tuple[NDArray[np.float64], NDArray[np.bool_], NDArray[np.float64]]:
    """By what the sums fade before each step, before which ones they are held, and the weight seen at each."""
    gaps = steps.gaps()
    found = fades(gaps, decay)
    if for_ratio:
        found = np.maximum(found, LEAST)
    return found, holds(found) & for_ratio, weight_seen(gaps, decay)


@dataclass(frozen=True)
class _Tile:
    coords: slice
    room: NDArray[Any]
    bad: set[int]


@dataclass(frozen=True)
class _Job:
    paths: tuple[str, ...]
    steps: UsableSteps
    wanted: RunLengths
    points: NDArray[np.int64]
    visitor: Visitor
    fades: NDArray[np.float64]
    holds: NDArray[np.bool_]
    seen: NDArray[np.float64]

    def __call__(self, coords: slice, blocks: Blocks) -> _Tile:
        """One tile, in pieces."""
        room = self.visitor.room(coords, len(self.paths), len(self.points))
        width = max(1, PIECE // self.steps.absent.shape[1])
        starts = range(coords.start, coords.stop, width)
        ranges = [slice(start, min(start + width, coords.stop)) for start in starts]
        pieces = [(_Piece(self, coords, piece, part, room), path) for piece in ranges for part, path in self._parts()]
        for rows, arrays in blocks:
            for piece, path in pieces:
                first = piece.coords.start - coords.start
                piece.take(rows, arrays[path][..., first : first + piece.width])
            if rows.stop > self.points[-1]:
                break
        return _Tile(coords, room, set().union(*(piece.bad for piece, _ in pieces)))

    def _parts(self) -> list[tuple[int, str]]:
        return list(enumerate(self.paths))


class _Piece:
    """Part of a tile, small enough for the processor's cache: its state.

    Attributes:
        bad: rows that are not finite.
    """

    def __init__(self, job: _Job, tile: slice, coords: slice, part: int, room: NDArray[Any]) -> None:
        self.coords = coords
        self.width = coords.stop - coords.start
        self.bad: set[int] = set()
        self._job, self._tile, self._part, self._room = job, tile, part, room
        self._shared = job.wanted.expand(coords)
        self._sums: NDArray[np.float64] = np.zeros((job.steps.absent.shape[1], self.width))
        self._visited = 0

    def take(self, rows: slice, update: NDArray[np.float32]) -> None:
        """The next rows, (step, task, coord)."""
        job, sums = self._job, self._sums
        scratch = np.empty_like(sums)
        for i, row in enumerate(range(rows.start, rows.stop)):
            if job.steps.used[row]:
                if job.holds[row]:
                    hold(sums)
                accumulate(sums, self._present(update[i], row), job.fades[row], scratch)
            if self._visited < len(job.points) and job.points[self._visited] == row:
                state = Visit(self._visited, self._part, self._tile, self.coords, sums, float(job.seen[row]))
                job.visitor.visit(state, self._room)
                self._visited += 1
        if not np.isfinite(sums.sum(axis=0))[self._shared].all():
            numbered = zip(update, range(rows.start, rows.stop), strict=True)
            self.bad |= {row for values, row in numbered if self._is_bad(values[:, self._shared], row)}
            sums[...] = 0  # these results are void; go on only to find the other bad steps

    def _present(self, update: NDArray[np.float32], row: int) -> NDArray[np.float32]:
        """The update of a task that took no part is 0 where none was recorded."""
        absent = self._job.steps.absent[row]
        if not absent.any():
            return update
        return np.where(absent[:, None] & np.isnan(update), np.float32(0), update)

    def _is_bad(self, update: NDArray[np.float32], row: int) -> bool:
        return bool(self._job.steps.used[row]) and not np.isfinite(self._present(update, row)).all()
