"""Windows of nearby steps, whose gradients are taken for gradients of independent batches at the same parameters."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from dominance.analyse.kernels.noise_scale import windows
from dominance.analyse.prepared import PreparedRun
from dominance.analyse.steps import blocks
from dominance.analyse.tiling import DEFAULT, TilePlan, over_tiles
from dominance.analyse.window_sums import PATH, WindowSums
from dominance.errors import BadOption, NothingRecorded

Floats = NDArray[np.float64]


def span_of(window: int, max_span: int | None) -> int:
    """The most training steps from the first to the last of a window: 10 times ``window``, unless it is said.

    Raises:
        BadOption: a window of one gradient, or a span of one step.
    """
    if window < 2:
        raise BadOption(f"window={window}: one gradient does not tell signal from noise", fix="give 2 or more")
    span = 10 * window if max_span is None else max_span
    if span < 1:
        raise BadOption(f"max_span={span} holds one step", fix="give 1 or more")
    return span


class GradientWindows:
    """The windows of nearby steps.

    Attributes:
        place: (step,) window of each step, -1 for none.
        present: (step, task) which tasks have a gradient to use.
        count: (window, task) how many.

    Raises:
        NothingRecorded: no task has two gradients in one, or the run holds no gradients by coordinate.
    """

    def __init__(self, run: PreparedRun, window: int, span: int) -> None:
        if "coord" not in run.dims:
            raise NothingRecorded(
                f"{run.where}: holds no gradients by coordinate",
                fix="give the runs one by one, from open_run: open_runs drops coordinates that not all runs keep",
            )
        self._run, self._skipped = run, run.skipped > 0
        present, bad = _present(run, run.shared_layers)
        self._used = ~run.superseded & ~self._skipped & present.any(axis=1)
        self._lost = int((bad & ~run.superseded & ~self._skipped).sum())
        self.place = np.full(len(run.numbers), -1, dtype=np.int64)
        self.place[self._used] = windows(run.numbers[self._used], window, span)
        self.present = present & self._used[:, None]
        self.count = np.zeros((int(self.place.max(initial=-1)) + 1, present.shape[1]), dtype=np.int64)
        np.add.at(self.count, self.place[self._used], self.present[self._used])
        if (self.count > 1).any():
            return
        raise NothingRecorded(
            f"{run.where}: no task has two gradients within {span} training steps"
            + (f" ({self._lost} steps with gradients that are not finite)" if self._lost else ""),
            fix="the training diverged: lower the learning rate or clip the gradients"
            if self._lost
            else "record in bursts (`--burst 10`), or say max_span=",
        )

    def coords(self) -> dict[str, Any]:
        """Number, first and last step of each window, and how many gradients of each task lie in it."""
        first, last = np.empty((2, len(self.count)), dtype=np.int64)
        rows = np.flatnonzero(self._used)
        last[self.place[rows]] = self._run.numbers[rows]
        first[self.place[rows[::-1]]] = self._run.numbers[rows[::-1]]
        return {
            "window": np.arange(len(self.count)),
            "first_step": ("window", first),
            "last_step": ("window", last),
            "steps": (("window", "task"), self.count),
        }

    def attributes(self) -> dict[str, int]:
        """How many steps there are, and how many are left out."""
        old = self._run.superseded
        return {
            "steps_recorded": len(self.place),
            "steps_used": int((self._used & (self.count[self.place] > 1).any(axis=1)).sum()),
            "left_out_superseded": int(old.sum()),
            "left_out_skipped": int((self._skipped & ~old).sum()),
            "non_finite": self._lost,
        }


def _present(run: PreparedRun, shared: NDArray[np.int64]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """(step, task) which tasks have a gradient to use, and (step,) where one that took part has none that is finite."""
    part = ~run.absent
    finite = np.empty_like(part)
    squares = run["layer/gradient_sq"]
    for rows in blocks(len(part)):
        finite[rows] = np.isfinite(squares.isel(step=rows, layer=shared).to_numpy()).all(axis=1)
    return part & finite, np.asarray((part & ~finite).any(axis=1))


def window_sums(
    run: PreparedRun, looked: GradientWindows, plan: TilePlan = DEFAULT, factor: Floats | None = None
) -> tuple[Floats, Floats]:
    """|Σ f g|² and Σ |f g|² of each window, from the kept coordinates; and what makes them those of all.

    Args:
        factor: (step, task) f; None for 1. 0 leaves a gradient out.

    Returns:
        (2, window, layer, task), and (layer, task) by which to multiply: the kept coordinates tell signal from noise,
        and how large the two are together is known exactly.
    """
    shared, place, present, count = run.shared_layers, looked.place, looked.present, looked.count
    names = {run.layers[i]: number for number, i in enumerate(shared)}
    code = np.array([names.get(name, -1) for name in run.of_coord("coord_layer").tolist()], dtype=np.int64)
    job = WindowSums(code, run.of_coord("coord_weight"), place, present, len(count), factor)
    sampled = np.zeros((2, len(count), len(shared), present.shape[1]))
    for layers, sums in over_tiles(run.tree, [PATH], job, wanted=code >= 0, plan=plan):
        sampled[:, :, layers] += sums
    counted = np.where(count[:, None] > 1, sampled[1], 0).sum(axis=0)
    exact = np.zeros_like(counted)
    present = present & (count > 1)[place]  # a step in no window is present for no task
    squares = run["layer/gradient_sq"]
    for rows in blocks(len(place)):
        values = squares.isel(step=rows, layer=shared).to_numpy()
        if factor is not None:
            values = values * factor[rows, None] ** 2
        exact += np.where(present[rows, None], values, 0).sum(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        return sampled, np.where(exact == 0, 0.0, exact / counted)
