"""How the gradients of the tasks lie to each other in the shared layers."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from dominance.analyse.grams import ByLayer, grams
from dominance.analyse.joining import over_runs
from dominance.analyse.kernels.gcd import gcd as degree
from dominance.analyse.kernels.geometry import condition_number, curvature_bound, magnitude_similarity, norms
from dominance.analyse.noise_scale import measure
from dominance.analyse.prepared import PreparedRun
from dominance.errors import NothingRecorded


@over_runs
def geometry(run: PreparedRun, *, by: ByLayer = "layer", window: int = 10) -> xr.Dataset:
    """Angles, lengths and conditioning of the tasks' gradients at every step, and their signal and noise.

    From the Gram matrices, which are exact over all coordinates of a layer, sampled or not; but for the noise, see
    ``noise_scale``. The gradients are the effective ones: angles do not depend on the weights of the losses, the other
    measures do.

    Args:
        run: a run, from ``open_run``; or several (see ``runs_of``).
        by: "layer", "all" (the whole shared trunk), or a mapping from labels to globs of shared layers.
        window: most steps in a window of ``noise_scale``.

    Returns:
        Two gradients with the angle φ, NaN where there are no two:

        - ``cosine`` (step, layer, task, task_other): cos φ, 1 - GCD
        - ``magnitude_similarity`` (step, layer, task, task_other): 2 |g_i| |g_j| / (|g_i|² + |g_j|²), 1 for equal
          lengths (PCGrad, Yu et al. 2020, Definition 2)
        - ``curvature_bound`` (step, layer, task, task_other): (1 - cos² φ) |g_i - g_j|² / |g_i + g_j|² (PCGrad,
          Definition 4)
        - ``condition_number`` (step, layer): of the matrix of the gradients, σ_max / σ_min: 1 for orthogonal ones of
          one length, inf for dependent ones (Aligned-MTL, Senushkin et al. 2023)
        - ``conflict_score`` (step, layer): share of the pairs of tasks with cos φ < 0
        - ``norm`` (step, layer, task): |g_i|; NaN where a task has no gradient
        - ``mean_cosine``, ``mean_magnitude_similarity`` (layer, task, task_other), ``mean_conflict_score`` (layer):
          means over the steps that have one
        - ``median_curvature_bound`` (layer, task, task_other), ``median_condition_number`` (layer): medians, as a step
          at which two gradients nearly cancel or align outweighs all others in a mean
        - ``noise_scale``, ``snr`` (layer, task): as ``noise_scale`` gives them; left out where the run does not tell
          them, and then ``attrs["noise_scale"]`` says why

    Raises:
        BadOption: ``by`` is none of these, or the window too short.
        NothingRecorded: no step, or no layer that two tasks share.

    >>> from dominance import geometry
    >>> found = geometry(run)  # gradients (-1, 0), then (-2, 1)
    >>> found.magnitude_similarity.sel(step=1, layer="trunk", task="a", task_other="b").item()
    0.8
    >>> found.cosine.sel(layer="trunk", task="a", task_other="b").values
    array([nan, -1.])
    """
    found = grams(run, by)
    gram = found.values
    cosine = 1 - degree(gram)
    similarity, bound, condition = magnitude_similarity(gram), curvature_bound(gram), condition_number(gram)
    tasks = run.tasks
    first, second = np.array(list(combinations(range(len(tasks)), 2)), dtype=np.int64).reshape(-1, 2).T
    pairs = cosine[..., first, second]
    with np.errstate(invalid="ignore"):
        score = (pairs < 0).sum(axis=-1) / np.isfinite(pairs).sum(axis=-1)
    pair = ("layer", "task", "task_other")
    result = xr.Dataset(
        {
            "cosine": (("step", *pair), cosine),
            "magnitude_similarity": (("step", *pair), similarity),
            "curvature_bound": (("step", *pair), bound),
            "condition_number": (("step", "layer"), condition),
            "conflict_score": (("step", "layer"), score),
            "norm": (("step", "layer", "task"), norms(gram)),
            "mean_cosine": (pair, _over_steps(np.mean, cosine)),
            "mean_magnitude_similarity": (pair, _over_steps(np.mean, similarity)),
            "mean_conflict_score": ("layer", _over_steps(np.mean, score)),
            "median_curvature_bound": (pair, _over_steps(np.median, bound)),
            "median_condition_number": ("layer", _over_steps(np.median, condition)),
        },
        coords={"step": found.steps, "layer": found.layers, "task": tasks, "task_other": tasks},
        attrs=found.attrs | {"steps_with_a_pair": int(np.isfinite(pairs).any(axis=(1, 2)).sum())},
    )
    try:
        noise = measure(run, window=window, by=by)
    except NothingRecorded as missing:
        return result.assign_attrs(noise_scale=str(missing))
    told = noise[["noise_scale", "snr"]].sel(layer=found.layers)
    return result.merge(told.drop_attrs(), join="exact").assign_attrs(noise_window=window)


def _over_steps(mean: Any, values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean or median over the first axis of what is no NaN; NaN where all is."""
    flat = values.reshape(len(values), -1)
    known = ~np.isnan(flat)
    found = [mean(column[there]) if there.any() else np.nan for column, there in zip(flat.T, known.T, strict=True)]
    return np.array(found, dtype=np.float64).reshape(values.shape[1:])
