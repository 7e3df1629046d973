"""Sums of gradients within windows of steps, streamed through a run a tile at a time."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dominance.analyse.tiling import Blocks

PATH = "gradient/gradient"
PIECE = 2**16
"""Float64 sums that are worked on at a time: they stay in the cache from step to step."""


@dataclass(frozen=True)
class WindowSums:
    """Sums over one tile: |Σ g|² and Σ |g|² of each window, weighted by what each coordinate stands for.

    Attributes:
        code: (coord,) shared layer, -1 for none.
        weight: (coord,).
        place: (step,) window, -1 for none.
        present: (step, task).
        windows: how many there are.
        factor: (step, task) by which gradients are multiplied; None for 1.
    """

    code: NDArray[np.int64]
    weight: NDArray[np.float64]
    place: NDArray[np.int64]
    present: NDArray[np.bool_]
    windows: int
    factor: NDArray[np.float64] | None = None

    def __call__(self, coords: slice, blocks: Blocks) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """The layers that the tile touches, and (2, window, layer, task)."""
        width = max(1, PIECE // self.present.shape[1])
        starts = range(coords.start, coords.stop, width)
        pieces = [_Piece(self, slice(start, min(start + width, coords.stop))) for start in starts]
        for rows, arrays in blocks:
            for piece in pieces:
                first = piece.coords.start - coords.start
                piece.take(rows, arrays[PATH][..., first : first + piece.coords.stop - piece.coords.start])
        layers = np.unique(np.concatenate([piece.layers for piece in pieces]))
        found = np.zeros((2, self.windows, len(layers), self.present.shape[1]))
        for piece in pieces:
            found[:, :, np.searchsorted(layers, piece.layers)] += piece.finish()
        return layers, found


class _Piece:
    """Part of a tile, small enough for the processor's cache."""

    def __init__(self, job: WindowSums, coords: slice) -> None:
        self.coords = coords
        self._job = job
        code = job.code[coords]
        self.layers = np.unique(code[code >= 0])
        tasks, width = job.present.shape[1], len(code)
        self._weight = job.weight[coords]
        # Neighbours are mostly of one layer: where its coordinates begin, and which of the layers it is.
        self._starts = np.flatnonzero(np.diff(code, prepend=-2))
        self._known = code[self._starts] >= 0
        self._layer = np.searchsorted(self.layers, code[self._starts][self._known])
        self._sum, self._squares, self._scratch = (np.zeros((tasks, width)) for _ in range(3))
        self._found = np.zeros((2, job.windows, len(self.layers), tasks))
        self._window = -1

    def take(self, rows: slice, gradient: NDArray[np.float32]) -> None:
        """The next rows, (step, task, coord)."""
        for i, row in enumerate(range(rows.start, rows.stop)):
            window = int(self._job.place[row])
            if window < 0:
                continue
            if window != self._window:
                self._close()
                self._window = window
            self._scratch[...] = gradient[i]
            self._scratch[~self._job.present[row]] = 0
            if self._job.factor is not None:
                self._scratch *= self._job.factor[row][:, None]
            self._sum += self._scratch
            np.multiply(self._scratch, self._scratch, out=self._scratch)
            self._squares += self._scratch

    def finish(self) -> NDArray[np.float64]:
        """(2, window, layer, task)"""
        self._close()
        return self._found

    def _close(self) -> None:
        """Put the sums of a window into its layers."""
        if self._window >= 0:
            np.multiply(self._sum, self._sum, out=self._sum)
            for found, sums in zip(self._found, (self._sum, self._squares), strict=True):
                sums *= self._weight
                by_stretch = np.add.reduceat(sums, self._starts, axis=1)[:, self._known]
                np.add.at(found[self._window], self._layer, by_stretch.T)
        self._sum[...] = self._squares[...] = 0
