"""Signal and noise in the gradient of each task: gradient noise scale (McCandlish et al. 2018, arXiv 1812.06162)."""

from __future__ import annotations

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from dominance.analyse.gradient_windows import GradientWindows, span_of, window_sums
from dominance.analyse.grams import ByLayer, groups_of, summed
from dominance.analyse.groups import ALL_SHARED
from dominance.analyse.joining import over_runs
from dominance.analyse.kernels.noise_scale import signal_and_noise, signal_to_noise, weighted_mean
from dominance.analyse.prepared import PreparedRun, prepare
from dominance.analyse.tiling import DEFAULT, TilePlan

Floats = NDArray[np.float64]


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
    span = span_of(window, max_span)
    run = prepare(run)
    names = [run.layers[i] for i in run.shared_layers]
    looked = GradientWindows(run, window, span)
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


def _by_window(run: PreparedRun, looked: GradientWindows, plan: TilePlan) -> tuple[Floats, Floats]:
    """Signal and noise, (window, layer, task) each."""
    sums, scale = window_sums(run, looked, plan)
    signal, noise = signal_and_noise(sums[0], sums[1], looked.count[:, None])
    with np.errstate(invalid="ignore"):
        return signal * scale, noise * scale
