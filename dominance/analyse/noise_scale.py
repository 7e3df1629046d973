"""Signal and noise in the gradient of each task: gradient noise scale (McCandlish et al. 2018, arXiv 1812.06162)."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from dominance.analyse.grams import ByLayer, groups_of, summed
from dominance.analyse.groups import ALL_SHARED
from dominance.analyse.joining import over_runs
from dominance.analyse.kernels.noise_scale import signal_and_noise, signal_to_noise, weighted_mean, windows
from dominance.analyse.prepared import PreparedRun, prepare
from dominance.analyse.steps import blocks
from dominance.analyse.tiling import DEFAULT, TilePlan, over_tiles
from dominance.analyse.window_sums import PATH, WindowSums
from dominance.errors import BadOption, NothingRecorded


@over_runs
def noise_scale(
    run: PreparedRun, *, window: int = 10, max_span: int | None = None, by: ByLayer = "layer"
) -> xr.Dataset:
    """How much of each task's gradient points the same way from batch to batch, and how much is noise of the batch.

    The gradients of nearby steps are taken for gradients of independent batches at the same parameters. Within a window
    of n of them, two different ones have the inner product |G|² on average, and one has the square |G|² + tr(Σ)/B, for
    the expected gradient G and the covariance Σ of one example's gradient:

        signal_sq = (|Σ g|² - Σ |g|²) / (n (n - 1))      noise_sq = Σ |g|² / n - signal_sq

    What a gradient drifts within a window, because the parameters move, counts as noise: with a high learning rate take
    a shorter window. The squares are exact over all coordinates of a layer. Inner products of different steps are known
    for the kept coordinates only; they give the share of the signal, each coordinate counting for as many as it was
    sampled to stand for. A layer with parameters that only one task reaches counts them too, as in ``gcd``.

    The gradients are the effective ones, which contain the weight of the loss: it multiplies ``signal_sq`` and
    ``noise_sq`` by its square, and leaves ``noise_scale`` and ``snr`` as they are.

    Args:
        run: a run, from ``open_run``; or several (see ``runs_of``).
        window: most gradients in a window, at least 2.
        max_span: most training steps from the first to the last of a window; default 10 times ``window``. Bursts that
            lie further apart are not mixed.
        by: "layer"; "all": the whole shared trunk only; or a mapping from labels to globs of shared layers.

    Returns:
        Along ``layer`` all shared layers (or labels), then "all shared", the sum of all layers. Means over the windows,
        each weighing as many steps as it holds of the task:

        - ``signal_sq``, ``noise_sq`` (layer, task): |G|² and tr(Σ)/B, squared units of the effective gradient. The
          estimate of the signal has no bias, and so may fall below 0 where there is next to none.
        - ``noise_scale`` (layer, task): noise_sq / signal_sq, tr(Σ)/|G|² in units of the batch that was used: times the
          batch size it is B_simple, the batch at which signal and noise are equal. inf where no signal is to be seen.
        - ``snr`` (layer, task): signal_sq / noise_sq, 0 where the signal is negative. NaN where a task has no gradient.
        - ``signal_sq_se``, ``noise_sq_se``, ``snr_se`` (layer, task): standard errors from the spread over windows,
          which contains what changed in the course of training, not the choice of coordinates. NaN for one window.
        - ``signal_sq_at``, ``noise_sq_at`` (window, layer, task): of each window, with ``first_step``, ``last_step``
          and ``steps`` (window, task). NaN for a task with fewer than two gradients in it.

        A step is left out when it was superseded by a resumed training or skipped by the optimizer; a task is left out
        of steps in which it took no part or its gradient was not finite. ``attrs`` count them.

    Raises:
        BadOption: an option is out of range, or a label fits no shared layer.
        NothingRecorded: no step, no shared layer, no gradients by coordinate, or no two gradients within ``max_span``.

    >>> from dominance import noise_scale
    >>> found = noise_scale(run)  # gradients of a: -1, -2; of b: 0, 1
    >>> found.signal_sq.sel(layer="all shared").values, found.noise_sq.sel(layer="all shared").values
    (array([2., 0.]), array([0.5, 0.5]))
    >>> found.snr.sel(layer="all shared").values
    array([4., 0.])
    """
    return measure(run, window=window, max_span=max_span, by=by)


def measure(
    run: xr.DataTree | PreparedRun,
    *,
    window: int = 10,
    max_span: int | None = None,
    by: ByLayer = "layer",
    plan: TilePlan = DEFAULT,
) -> xr.Dataset:
    """:func:`noise_scale` of one run, under a plan for reading it."""
    if isinstance(by, str):
        groups_of(by, [])
    if window < 2:
        raise BadOption(f"window={window}: one gradient does not tell signal from noise", fix="give 2 or more")
    span = 10 * window if max_span is None else max_span
    if span < 1:
        raise BadOption(f"max_span={span} holds one step", fix="give 1 or more")
    run = prepare(run)
    names = [run.layers[i] for i in run.shared_layers]
    if "coord" not in run.dims:
        raise NothingRecorded(
            f"{run.where}: holds no gradients by coordinate",
            fix="give the runs one by one, from open_run: open_runs drops coordinates that its runs do not all keep",
        )
    looked = _Windows(run, window, span)
    signal, noise = _by_window(run, looked, plan)
    labels, sums = names, [[signal], [noise]]
    if by != "layer":
        labels, inside = groups_of(by, names)
        sums = [[summed(part, inside)] for part in (signal, noise)]
    if ALL_SHARED not in labels:
        labels = [*labels, ALL_SHARED]
        for part, parts in zip((signal, noise), sums, strict=True):
            parts.append(part.sum(axis=1)[:, None])
    signal, noise = (np.concatenate(parts, axis=1) for parts in sums)
    known = np.isfinite(signal) & np.isfinite(noise)
    attrs = {
        "by": by if isinstance(by, str) else "custom",
        "window": window,
        "max_span": span,
        **looked.attributes(),
        "windows_used": int(known.any(axis=(1, 2)).sum()),
        "windows_not_finite": int(((looked.count > 1)[:, None] & ~known).any(axis=(1, 2)).sum()),
        "coords_sampled": sum(map(set(names).__contains__, run.of_coord("coord_layer"))),
        "coords_shared": int(run["layer/size"].to_numpy()[run.shared_layers].sum()),
    }
    found = _means(signal, noise, looked.count).assign_coords(layer=labels, task=run.tasks, **looked.coords())
    return found.assign_attrs(attrs)


class _Windows:
    """The windows of nearby steps.

    Attributes:
        place: (step,) window of each step, -1 for none.
        present: (step, task) which tasks have a gradient to use.
        count: (window, task) how many.

    Raises:
        NothingRecorded: no task has two gradients in one.
    """

    def __init__(self, run: PreparedRun, window: int, span: int) -> None:
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


def _means(signal: NDArray[np.float64], noise: NDArray[np.float64], count: NDArray[np.int64]) -> xr.Dataset:
    """From (window, layer, task) to the result without its coordinates; count: (window, task)."""
    weight = np.where(np.isfinite(signal) & np.isfinite(noise), count[:, None], 0.0)
    signal_mean, signal_error = weighted_mean(signal, weight)
    noise_mean, noise_error = weighted_mean(noise, weight)
    snr, scale = signal_to_noise(signal_mean, noise_mean)
    with np.errstate(invalid="ignore", divide="ignore"):
        # The error of a ratio, to first order: that of the mean of signal - snr * noise, in units of the noise.
        _, apart = weighted_mean(signal - signal_mean / noise_mean * noise, weight)
        snr_error = np.where(noise_mean > 0, apart / noise_mean, np.nan)
    dims = ("layer", "task")
    return xr.Dataset(
        {
            "signal_sq": (dims, signal_mean),
            "noise_sq": (dims, noise_mean),
            "noise_scale": (dims, scale),
            "snr": (dims, snr),
            "signal_sq_se": (dims, signal_error),
            "noise_sq_se": (dims, noise_error),
            "snr_se": (dims, snr_error),
            "signal_sq_at": (("window", *dims), signal),
            "noise_sq_at": (("window", *dims), noise),
        }
    )


def _present(run: PreparedRun, shared: NDArray[np.int64]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """(step, task) which tasks have a gradient to use, and (step,) where one that took part has none that is finite."""
    part = ~run.absent
    finite = np.empty_like(part)
    squares = run["layer/gradient_sq"]
    for rows in blocks(len(part)):
        finite[rows] = np.isfinite(squares.isel(step=rows, layer=shared).to_numpy()).all(axis=1)
    return part & finite, np.asarray((part & ~finite).any(axis=1))


def _by_window(run: PreparedRun, looked: _Windows, plan: TilePlan) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Signal and noise, (window, layer, task) each."""
    shared, place, present, count = run.shared_layers, looked.place, looked.present, looked.count
    names = {run.layers[i]: number for number, i in enumerate(shared)}
    code = np.array([names.get(name, -1) for name in run.of_coord("coord_layer").tolist()], dtype=np.int64)
    job = WindowSums(code, run.of_coord("coord_weight"), place, present, len(count))
    sampled = np.zeros((2, len(count), len(shared), present.shape[1]))
    for layers, sums in over_tiles(run.tree, [PATH], job, wanted=code >= 0, plan=plan):
        sampled[:, :, layers] += sums
    signal, noise = signal_and_noise(sampled[0], sampled[1], count[:, None])
    counted = np.where(count[:, None] > 1, sampled[1], 0).sum(axis=0)
    exact = np.zeros_like(counted)
    present = present & (count > 1)[place]  # a step in no window is present for no task
    squares = run["layer/gradient_sq"]
    for rows in blocks(len(place)):
        values = squares.isel(step=rows, layer=shared).to_numpy()
        exact += np.where(present[rows, None], values, 0).sum(axis=0)
    # The kept coordinates tell signal from noise; how large the two are together is known exactly.
    with np.errstate(invalid="ignore", divide="ignore"):
        scale = np.where(exact == 0, 0.0, exact / counted)
        return signal * scale, noise * scale
