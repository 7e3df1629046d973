"""Results in the form of the analysers, filled with numbers that are easy to check."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xarray as xr

EDGES = (0, 0.2, 0.4, 0.6, 0.8, 1)


def buckets(
    tasks: Sequence[str] = ("left", "right"),
    layers: Sequence[str] = ("all shared",),
    steps: int = 6,
    *,
    last: float | None = None,
    seed: int = 0,
) -> xr.Dataset:
    """Random shares that sum to 1; with ``last`` all have that share in the last bucket, and the rest in the first."""
    rng = np.random.default_rng(seed)
    share = rng.dirichlet(np.ones(5), size=(steps, len(layers), len(tasks)))
    if last is not None:
        share[:] = [1 - last, 0, 0, 0, last]
    per_layer = (steps, len(layers))
    return xr.Dataset(
        {
            "share": (("step", "layer", "task", "bucket"), share),
            "share_se": (("step", "layer", "task", "bucket"), np.zeros_like(share)),
            "untouched": (("step", "layer"), np.zeros(per_layer)),
            "effective_tasks": (("step", "layer"), rng.uniform(1, len(tasks), per_layer)),
        },
        coords={
            "step": np.arange(steps) * 10,
            "layer": list(layers),
            "task": list(tasks),
            "bucket": ["[0, 20]", "(20, 40]", "(40, 60]", "(60, 80]", "(80, 100]"],
            "lower": ("bucket", list(EDGES[:-1])),
            "upper": ("bucket", list(EDGES[1:])),
        },
        attrs={"steps_recorded": steps, "steps_used": steps, "max_unattributed": 0.1},
    )


def degrees(
    tasks: Sequence[str] = ("left", "right"),
    layers: Sequence[str] = ("all shared",),
    steps: int = 6,
    value: float = 1.5,
) -> xr.Dataset:
    """The same GCD for every pair at every step, NaN on the diagonal."""
    k = len(tasks)
    gcd = np.full((steps, len(layers), k, k), value)
    gcd[:, :, np.arange(k), np.arange(k)] = np.nan
    names = list(tasks)
    return xr.Dataset(
        {"gcd": (("step", "layer", "task", "task_other"), gcd)},
        coords={"step": np.arange(steps) * 10, "layer": list(layers), "task": names, "task_other": names},
    )


def losses(values: np.ndarray, tasks: Sequence[str], weight: float = 1.0) -> xr.Dataset:
    """loss (step, task) with a constant weight."""
    values = np.asarray(values, dtype=float)
    return xr.Dataset(
        {"loss": (("step", "task"), values), "weight": (("step", "task"), np.full(values.shape, weight))},
        coords={"step": np.arange(len(values)), "task": list(tasks)},
    )
