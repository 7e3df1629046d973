"""What the causes of dominance are worked out from: signal and noise of the gradients, weights, presence."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from dominance.analyse.noise_scale import noise_scale
from dominance.analyse.optimizers import usual
from dominance.analyse.tiling import Blocks, over_tiles
from dominance.errors import NothingRecorded

Floats = NDArray[np.float64]

STEADY = 0.01
"""Part of a weight by which it may change and be called constant: in half precision it is known to some 0.1 %."""


@dataclass(frozen=True)
class Loudness:
    """What the causes are made of, for one run.

    Attributes:
        tasks: names.
        layers: names, along ``signal``, ``noise`` and ``touched``.
        present: (task,) share of the usable steps at which the task takes part.
        signal, noise: (window, layer, task) squares; NaN where a task has fewer than two gradients in the window.
        steps: (window, task) at how many steps of the window the task takes part.
        touched: (layer, task) share of the coordinates with a gradient that is not 0, at steps with the task.
        through: what part of the squared noise of the gradients gets into the updates.
        own_scale: each task's updates are divided by a denominator of its own (AdaTask): no scale is left in them.
        weight: (task,) mean weight of the loss.
        constant: whether no weight changes over the run, to 1 %.
    """

    tasks: list[str]
    layers: list[str]
    present: Floats
    signal: Floats
    noise: Floats
    steps: NDArray[np.int64]
    touched: Floats
    through: float
    own_scale: bool
    weight: Floats
    constant: bool


def loudness(run: xr.DataTree, rows: NDArray[np.int64]) -> Loudness | None:
    """Measured on the usable steps; None where the run has no two gradients of a task near enough to compare."""
    weight = run["loss/weight"].to_numpy()[rows]
    missing = np.isnan(weight)
    part = ~(missing & ~missing.all(axis=1, keepdims=True))
    present = part.mean(axis=0)
    seldom = max(float(present.min()), 1 / max(len(rows), 1))
    window = int(np.clip(math.ceil(4 / seldom), 10, 100))  # four gradients of the rarest task
    try:
        found = noise_scale(run, window=window)
    except NothingRecorded:
        return None
    shared = found.layer.to_numpy()[:-1].tolist()
    with np.errstate(invalid="ignore"):
        in_sum = np.nansum(weight, axis=0) / (~missing).sum(axis=0)
    # What the script multiplied a loss by before it gave it its name stands in no sum, and is its weight all the same.
    tasks = [str(task) for task in run["task"].to_numpy()]
    within = run.attrs.get("loss_constants") or {}
    mean_weight = in_sum * np.array([float(within.get(task, 1.0)) for task in tasks])
    steady = missing | (np.abs(weight - in_sum) <= STEADY * np.abs(in_sum))
    through, own_scale = _optimizer(run)
    # A weight that was not recorded counts as 1; one that a denominator of the task's own takes out again, too.
    mean_weight = np.where(np.isfinite(mean_weight) & (mean_weight > 0) & (not own_scale), mean_weight, 1.0)
    return Loudness(
        tasks,
        shared,
        present,
        found.signal_sq_at.to_numpy()[:, :-1],
        found.noise_sq_at.to_numpy()[:, :-1],
        found.steps.to_numpy(),
        _touched(run, rows, part, shared),
        through,
        own_scale,
        mean_weight,
        bool(steady.all()),
    )


def momentum_lets_through(run: xr.DataTree) -> float:
    """What part of the squared noise of the gradients gets into the updates."""
    return _optimizer(run)[0]


def _optimizer(run: xr.DataTree) -> tuple[float, bool]:
    """(1 - β) / (1 + β) for the momentum β of the first optimizer, the part of white noise that its average keeps."""
    described: list[dict[str, Any]] = run.attrs.get("optimizers", [])
    if not described:
        return 1.0, False
    group = usual((described[0].get("groups") or [{}])[0])
    beta = float(group["betas"][0] if "betas" in group else group.get("momentum", 0.0))
    return (1 - beta) / (1 + beta), str(described[0].get("class", "")).startswith("AdaTask")


def _touched(run: xr.DataTree, rows: NDArray[np.int64], part: NDArray[np.bool_], shared: list[str]) -> Floats:
    """(layer, task) share of the coordinates whose gradient is not 0, over the steps at which the task takes part."""
    place = {name: i for i, name in enumerate(shared)}
    code = np.array([place.get(name, -1) for name in run["coord_layer"].to_numpy().tolist()], dtype=np.int64)
    weight = run["coord_weight"].to_numpy()
    counted = np.zeros((run.sizes["step"], part.shape[1]), dtype=bool)
    counted[rows] = part

    def work(coords: slice, blocks: Blocks) -> Floats:
        sums = np.zeros((part.shape[1], coords.stop - coords.start))
        for steps, arrays in blocks:
            sums += ((arrays["gradient/gradient"] != 0) & counted[steps][:, :, None]).sum(axis=0)
        inside = code[coords] >= 0
        found = np.zeros((len(shared), part.shape[1]))
        np.add.at(found, code[coords][inside], (sums * weight[coords])[:, inside].T)
        return found

    count: Callable[[slice, Blocks], Floats] = work
    total = sum(over_tiles(run, ["gradient/gradient"], count, wanted=code >= 0))
    sizes = np.bincount(code[code >= 0], weight[code >= 0], minlength=len(shared))
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(total / sizes[:, None] / part.sum(axis=0))
