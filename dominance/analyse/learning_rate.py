"""Whose learning rate the shared parameters have (AdaTask, App. D "Dominance of Learning Rates", Fig. 7)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from zlib import crc32

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from dominance.analyse.joining import over_runs
from dominance.analyse.kernels.second_moment import MomentRule, SecondMoment, closeness
from dominance.analyse.optimizers import Accumulation, Optimizer, accumulation
from dominance.analyse.prepared import PreparedRun
from dominance.analyse.steps import UsableSteps, sort_steps
from dominance.analyse.tiling import Blocks, over_tiles
from dominance.errors import BadOption, NothingRecorded

_EACH, _TOTAL = "gradient/gradient", "gradient/total"

Floats = NDArray[np.float64]


@over_runs
def lr_dominance(
    run: PreparedRun,
    *,
    per_layer: int = 10,
    seed: int = 0,
    optimizer: Optimizer = None,
    points: int = 200,
) -> xr.Dataset:
    """The learning rate that a shared parameter has, beside the one that each task alone would give it.

    An adaptive optimizer divides its learning rate η by the root of accumulated squared gradients G. Where one task's
    gradients are much larger than another's, G is its own, and so is the learning rate: the other task learns more
    slowly than it would alone. For randomly chosen parameters of each shared layer this gives

        η / (sqrt(G^k) + ε)    with G^k = f(G^k, (g^k)²): task k's own gradients    (LR-A, LR-B of Fig. 7)
        η / (sqrt(G) + ε)      with G = f(G, g²): the gradient that the optimizer was fed    (LR-Whole)

    f is that of the run's own optimizer, with its hyper-parameters: the sum of Adagrad, the moving average of RMSprop
    (centered as well), the average of Adam and AdamW with its bias correction (and AMSGrad's maximum). ε stands outside
    the root, as in torch. Under AdaTask a task steps at its own rate; the whole one is what Adam would use.

    Averages start at 0 (Adagrad: at its initial value) and count *recorded* steps that were not skipped: with
    ``every=1`` from a fresh optimizer on they are those of the optimizer, up to the rounding of the record. A task that
    took no part in a step keeps its average. A step whose gradients are NaN or infinite is left out.

    Args:
        run: a run, from ``open_run``, or several.
        per_layer: how many parameters of each layer to choose, or all where it has fewer.
        seed: of the choice; a layer's choice does not depend on the other layers.
        optimizer: which of the run's optimizers, counted from 0, where it has several that differ; or another one, as
            if the run had been trained with it: a class of torch.optim by its name, or a mapping with "class" and what
            differs from torch's defaults (``{"class": "RMSprop", "alpha": 0.9}``).
        points: steps at which to give it: this many of the usable ones, evenly spread, the last included.

    Returns:
        Along ``step``, ``layer``, ``task`` and ``coord`` (the chosen parameters):

        - ``learning_rate`` (step, layer, task), ``whole`` (step, layer): medians over the chosen parameters.
        - ``closeness`` (step, layer, task): mean over them of min(own, whole) / max(own, whole), in (0, 1]: whose
          learning rate the shared one is. 1: the task's own. 1 / sqrt(K) each: K tasks with gradients of equal size at
          right angles. A task whose gradients are 100 times smaller than the other's has 0.01.
        - ``learning_rate_coord`` (step, coord, task), ``whole_coord`` (step, coord).

        NaN where a task (or any task) has had no gradient yet, and where the optimizer did not step the layer.
        ``coord`` has ``parameter``, ``coord_layer``, ``index``. In the attributes: the ``optimizer``, its ``family``,
        ``decay`` and ``eps``, whether tasks have their ``own_rates`` (AdaTask), ``exact``: whether every step since the
        first was recorded and nothing else went into the averages, ``inexact_because``, and the steps left out.

    Raises:
        BadOption: an option is out of range.
        NothingRecorded: the optimizer has one learning rate for all (SGD), or is of another family; the run has several
            optimizers or parameter groups that differ, and ``optimizer`` does not choose; no usable step, no shared
            parameter.

    Source: AdaTask, Sec. "Task Dominance Analysis" and App. D, Fig. 7; Eq. 4-7. The paper averages over ten parameters.

    >>> from dominance import lr_dominance
    >>> found = lr_dominance(run, optimizer={"class": "Adagrad", "eps": 0})  # η 0.001; a: g = -1, -2; b: 0, 1
    >>> found.learning_rate.sel(layer="trunk", step=1).values.round(6), found.whole.sel(layer="trunk").values.round(6)
    (array([0.000447, 0.001   ]), array([0.001   , 0.000707]))
    >>> found.closeness.sel(layer="trunk", step=1).values.round(2)  # g of both: -1, -1
    array([0.63, 0.71])
    """
    for name, value in (("per_layer", per_layer), ("points", points)):
        if value < 1:
            raise BadOption(f"{name}={value} chooses nothing", fix="give 1 or more")
    how = accumulation(run.tree, optimizer)
    chosen = choice(run, per_layer, seed)
    steps = gradient_steps(run)
    steps.require(run.tree)
    rows = steps.rows()
    back = np.linspace(len(rows) - 1, 0, min(points, len(rows))).round()  # backwards: one point is the last step
    at = rows[np.unique(back.astype(np.int64))]

    layer_of = pd.Index(run["learning_rate"]["layer"].to_numpy()).get_indexer(run.of_coord("coord_layer"))
    nominal = run["learning_rate/learning_rate"].to_numpy()
    job = _Job(how.rule, steps, nominal, at, chosen, layer_of)
    rates = np.concatenate(over_tiles(run.tree, [_EACH, _TOTAL], job, wanted=chosen), axis=-1)
    if not np.isfinite(nominal[at][:, layer_of[chosen]]).any():
        raise NothingRecorded(f"{run.where}: no learning rate was recorded", fix="record it again")
    own, whole = rates[:, :-1], rates[:, -1]
    near = closeness(own, whole[:, None])

    names = run.of_coord("coord_layer")[chosen]
    layers = [layer for layer in run.layers if (names == layer).any()]
    members = [np.flatnonzero(names == layer) for layer in layers]
    coords = {name: ("coord", run.of_coord(name)[chosen]) for name in ("parameter", "coord_layer", "index")}
    by_layer = ("step", "layer", "task")
    return xr.Dataset(
        {
            "learning_rate": (by_layer, np.stack([_known(np.nanmedian, own[..., each]) for each in members], axis=1)),
            "whole": (by_layer[:2], np.stack([_known(np.nanmedian, whole[..., each]) for each in members], axis=1)),
            "closeness": (by_layer, np.stack([_known(np.nanmean, near[..., each]) for each in members], axis=1)),
            "learning_rate_coord": (("step", "coord", "task"), own.transpose(0, 2, 1)),
            "whole_coord": (("step", "coord"), whole),
        },
        coords={"step": run.numbers[at], "layer": layers, "task": run.tasks, **coords},
        attrs={
            **_about(run, how, steps),
            "per_layer": per_layer,
            "seed": seed,
            **steps.attributes(),
        },
    )


def choice(run: PreparedRun, per_layer: int, seed: int) -> NDArray[np.bool_]:
    """(coord,) ``per_layer`` shared coordinates of each layer, drawn without replacement.

    Each is drawn as often as the coordinates that it stands for; the draw does not depend on the order of coordinates.
    """
    shared, parameter, index = run.shared, run.of_coord("parameter"), run.of_coord("index")
    layer, weight = run.of_coord("coord_layer"), run.of_coord("coord_weight")
    chosen = np.zeros(len(shared), dtype=bool)
    for name in pd.unique(layer[shared]):
        there = np.flatnonzero(shared & (layer == name))
        codes, _ = pd.factorize(parameter[there], sort=True)
        there = there[np.lexsort((index[there], codes))]
        generator = np.random.default_rng([seed, crc32(str(name).encode())])
        keys = np.log(weight[there]) + generator.gumbel(size=len(there))  # the largest are a weighted draw
        chosen[there[np.argsort(-keys)[:per_layer]]] = True
    return chosen


@dataclass(frozen=True)
class _Job:
    """One tile: the rates of its chosen coordinates at the wanted steps, (point, task and whole, coord)."""

    rule: MomentRule
    steps: UsableSteps
    nominal: Floats
    at: NDArray[np.int64]
    chosen: NDArray[np.bool_]
    layer_of: NDArray[np.int64]

    def __call__(self, coords: slice, blocks: Blocks) -> Floats:
        inside = np.flatnonzero(self.chosen[coords])
        layer = self.layer_of[coords][inside]
        tasks = self.steps.absent.shape[1]
        moment = SecondMoment(self.rule, (tasks + 1, len(inside)))
        found: list[Floats] = []
        for rows, arrays in blocks:
            each, total = arrays[_EACH][..., inside], arrays[_TOTAL][..., inside]
            gradient = np.concatenate([each, total[:, None]], axis=1)
            for i, row in enumerate(range(rows.start, rows.stop)):
                if not self.steps.used[row]:
                    continue
                nominal = self.nominal[row, layer]
                stepped = np.broadcast_to(~np.isnan(nominal), (tasks + 1, len(inside))).copy()
                stepped[:-1] &= ~self.steps.absent[row][:, None]
                moment.take(gradient[i], stepped)
                if row == self.at[len(found)]:
                    found.append(moment.rate(nominal))
                    if len(found) == len(self.at):
                        return np.stack(found)
        raise AssertionError("the wanted steps are among the used ones")


def gradient_steps(run: PreparedRun) -> UsableSteps:
    """Steps with finite gradients in the shared layers, whatever is known of the update."""
    table = run["layer"].to_dataset()
    inside = np.flatnonzero(table["shared"].to_numpy())
    each = np.isfinite(table["gradient_sq"].isel(layer=inside).to_numpy()) | run.absent[:, None]
    finite = each.all(axis=(1, 2)) & np.isfinite(table["total_gradient_sq"].isel(layer=inside).to_numpy()).all(axis=1)
    seen = np.zeros(len(finite), dtype=bool)  # momentum that nobody saw is a matter of updates
    return sort_steps(run.reasons(finite, seen), run.absent, 1.0)


def _about(run: PreparedRun, how: Accumulation, steps: UsableSteps) -> dict[str, str | float | bool]:
    decay = {} if how.rule.decay is None else {"decay": how.rule.decay}
    return {
        "optimizer": how.name,
        "family": how.family,
        **decay,
        "eps": how.rule.eps,
        "own_rates": how.own,
        **exactness(run, how, steps),
    }


def exactness(run: PreparedRun, how: Accumulation, steps: UsableSteps) -> dict[str, str | bool]:
    """Whether averages over these steps are the optimizer's own, and if not why, for the attributes of a result."""
    numbers = run.numbers[~run.superseded]
    reasons = []
    if not np.array_equal(numbers, np.arange(len(numbers))):
        reasons.append(f"averages count the {len(numbers)} recorded of the first {numbers[-1] + 1} steps")
    if steps.left_out["non_finite"]:
        reasons.append(f"{steps.left_out['non_finite']} steps with gradients that are not finite are left out")
    if how.coupled:
        reasons.append(f"{how.name} accumulates the weight decay as well, which is of no task")
    return {"exact": not reasons, "inexact_because": "; ".join(reasons)}


def _known(average: Callable[..., Floats], values: Floats) -> Floats:
    """A NaN-average over the last axis; NaN where there is nothing but NaN."""
    found = np.full(values.shape[:-1], np.nan)
    some = ~np.isnan(values).all(axis=-1)
    if some.any():
        found[some] = average(values[some], axis=-1)
    return found
