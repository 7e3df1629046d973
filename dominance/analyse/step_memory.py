"""How much of each step this step's gradients decide, and how much what the optimizer remembers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from dominance.analyse.joining import over_runs
from dominance.analyse.kernels.known_mean import known_mean
from dominance.analyse.kernels.second_moment import SecondMoment
from dominance.analyse.learning_rate import exactness, gradient_steps
from dominance.analyse.optimizers import Accumulation, accumulation, usual
from dominance.analyse.prepared import PreparedRun
from dominance.analyse.steps import UsableSteps
from dominance.analyse.tiling import Blocks, over_tiles
from dominance.errors import NothingRecorded

Floats = NDArray[np.float64]
_GRADIENT, _FED, _UPDATE, _STEP = "gradient/gradient", "gradient/total", "update/update", "update/total"


@over_runs
def step_memory(run: PreparedRun) -> xr.Dataset:
    """How much of each step the gradients of this step decide, against momentum and accumulated squares.

    A step of Adam is -η m̂ / (sqrt(v̂) + ε). Of m, the share 1 - β1 is this step's gradient, and the rest is remembered;
    of v, 1 - β2. Where most of a step is remembered, methods that weigh or bend the gradients of one step change little
    of it, and the updates that each task alone would make are nearly the same one, so that PUB's weights are near 1.

    Of a coordinate i, task k's part of the step, Δ_i^k, is this step's in the share c g_i^k / s_i^k, where s is the
    average of the task's gradients that the step was made from, and c what this step's gradient counts in it: 1 - β1 of
    Adam, 1 of SGD with momentum. That part is projected on the step Δ that was taken, over the sampled coordinates of a
    layer, each as often as it stands for others:

        current^k = Σ_i Δ_i Δ_i^k c g_i^k / s_i^k / Σ_i Δ_i²

    Args:
        run: a run, from ``open_run``; or several (see ``runs_of``). Of Adam, AdamW, SGD, RMSprop and Adagrad, and of
            AdaTask on them.

    Returns:
        For each shared layer:

        - ``current_of`` (step, layer, task): the above; the tasks' add up to
        - ``current`` (step, layer): the share of the step that this step's gradients make. 1 without momentum, weight
          decay and residual; a part against the step counts below 0, one that the rest undoes above 1
        - ``accumulator`` (step, layer): how much of the accumulated squares is this step's g², (1 - β2) g² / v for
          Adam; a mean over coordinates, weighed by Δ². NaN for SGD, and for AdaTask, whose tasks have their own
        - ``mean_current``, ``mean_accumulator`` (layer): means over steps

        NaN at steps that took nothing. The first step of a burst has no average but its own gradient: what was before
        is ``unattributed``, and belongs to no task. ``attrs``: the ``optimizer``, its ``momentum``, and whether the
        squares are ``exact``, or ``inexact_because``.

    Raises:
        NothingRecorded: no usable step, no shared parameter; or an optimizer whose step is no average of gradients over
            one denominator: RMSprop with momentum, and those that the run does not know.

    >>> from dominance import step_memory
    >>> run.attrs["optimizers"] = [{"class": "SGD", "groups": [{"momentum": 0.5}]}]
    >>> found = step_memory(run)  # a: g = -1, -2; b: 0, 1; steps 1 and 3, of which 2 and 1 are a's and b's
    >>> found.current.sel(layer="trunk").values.round(3)  # 2 / (2 + 0.5) of a's 2, all of b's 1
    array([1.   , 0.867])
    """
    momentum = _momentum(run)
    how = _accumulation(run)
    steps = run.usable("additive", 1.0)
    steps.require(run.tree)
    shared = run.shared
    names = run.of_coord("coord_layer")
    layers = [layer for layer in run.layers if (names[shared] == layer).any()]
    place = np.full(len(shared), -1)
    for i, layer in enumerate(layers):
        place[shared & (names == layer)] = i
    job = _Job(momentum, how, steps, run.numbers, place, run.of_coord("coord_weight"), len(layers))
    paths = [_GRADIENT, _FED, _UPDATE, _STEP]
    sums = np.sum(over_tiles(run.tree, paths, job, wanted=shared), axis=0)[steps.rows()]
    with np.errstate(divide="ignore", invalid="ignore"):
        parts = sums / np.where(sums[..., -1:] > 0, sums[..., -1:], np.nan)
    current_of, squares = parts[..., :-2], parts[..., -2]
    if how is None or how.own:
        squares = np.full_like(squares, np.nan)
    current = current_of.sum(axis=-1)
    about = {} if how is None else exactness(run, how, gradient_steps(run))
    return xr.Dataset(
        {
            "current_of": (("step", "layer", "task"), current_of),
            "current": (("step", "layer"), current),
            "accumulator": (("step", "layer"), squares),
            "mean_current": ("layer", known_mean(current)),
            "mean_accumulator": ("layer", known_mean(squares)),
        },
        coords={"step": run.numbers[steps.rows()], "layer": layers, "task": run.tasks},
        attrs={"optimizer": momentum.name, "momentum": momentum.fades, **about, **steps.attributes()},
    )


@dataclass(frozen=True)
class Momentum:
    """How a step's numerator is made from gradients.

    Attributes:
        name: the optimizer's class.
        fades: by what the average is multiplied in a step; 0: it remembers nothing.
        gains: by what this step's gradient is multiplied in it.
        nesterov: the step is made from this step's gradient and the average once more.
    """

    name: str
    fades: float
    gains: float
    nesterov: bool = False


def _momentum(run: PreparedRun) -> Momentum:
    found = {
        _momentum_of(each, group, run.where) for each in run.attrs.get("optimizers", ()) for group in _groups(each)
    }
    if len(found) != 1:
        says = "has several optimizers or groups with another momentum each" if found else "names no optimizer"
        raise NothingRecorded(f"{run.where}: {says}")
    return found.pop()


def _groups(optimizer: Mapping[str, Any]) -> Sequence[dict[str, Any]]:
    return [usual(group) for group in optimizer["groups"]]


def _momentum_of(optimizer: Mapping[str, Any], group: Mapping[str, Any], where: str) -> Momentum:
    name = str(optimizer["class"])
    plain = name.removeprefix("AdaTask")
    if plain in ("Adam", "AdamW", "Clippy"):
        fades = float(group.get("betas", (0.9, 0.999))[0])
        return Momentum(name, fades, 1 - fades)
    fades = float(group.get("momentum") or 0.0)
    if plain == "SGD":
        return Momentum(name, fades, 1.0, bool(group.get("nesterov")))
    if plain == "Adagrad" or (plain == "RMSprop" and not fades):
        return Momentum(name, 0.0, 1.0)
    raise NothingRecorded(f"{where}: a step of {name} is no average of gradients over one denominator")


def _accumulation(run: PreparedRun) -> Accumulation | None:
    """None of SGD, which accumulates no squares."""
    classes = {str(each["class"]) for each in run.attrs.get("optimizers", ())}
    return None if classes <= {"SGD"} else accumulation(run.tree)


@dataclass(frozen=True)
class _Job:
    """One tile's sums over its coordinates, (step, layer, tasks and 2): Δ Δ^k_current, Δ² g² / G, Δ²."""

    momentum: Momentum
    how: Accumulation | None
    steps: UsableSteps
    numbers: NDArray[np.int64]
    place: NDArray[np.int64]
    weight: Floats
    layers: int

    def __call__(self, coords: slice, blocks: Blocks) -> Floats:
        inside = np.flatnonzero(self.place[coords] >= 0)
        weight = self.weight[coords][inside]
        member = self.place[coords][inside] == np.arange(self.layers)[:, None]
        member = member.astype(float)
        tasks = self.steps.absent.shape[1]
        found = np.zeros((len(self.numbers), self.layers, tasks + 2))
        moment = None if self.how is None else SecondMoment(self.how.rule, (len(inside),))
        average, before = np.zeros((tasks, len(inside))), None
        for rows, arrays in blocks:
            for i, row in enumerate(range(rows.start, rows.stop)):
                if not self.steps.used[row]:
                    continue
                g, update = (np.nan_to_num(arrays[path][i][..., inside].astype(float)) for path in (_GRADIENT, _UPDATE))
                fed, step = (np.nan_to_num(arrays[path][i][..., inside].astype(float)) for path in (_FED, _STEP))
                if before is None or self.numbers[row] != before + 1:
                    average = np.zeros_like(average)  # a burst begins: its first momentum is nobody's
                before = self.numbers[row]
                current, average = self._current(g, update, average)
                squares = step * step * weight
                values = [step * current * weight, [squares * _share(moment, fed)], [squares]]
                found[row] = member @ np.concatenate(values).T
        return found

    def _current(self, g: Floats, update: Floats, average: Floats) -> tuple[Floats, Floats]:
        """Each task's part of the step that is this step's gradient's, (task, coord), and the average after it."""
        how = self.momentum
        after = how.fades * average + how.gains * g
        whole, own = (
            (g + how.fades * after, (1 + how.fades * how.gains) * g) if how.nesterov else (after, how.gains * g)
        )
        share = np.divide(own, whole, out=np.zeros_like(whole), where=whole != 0)
        return update * share, after


def _share(moment: SecondMoment | None, fed: Floats) -> Floats:
    """How much of G is this step's g²; 0 where there is none."""
    if moment is None:
        return np.zeros_like(fed)
    moment.take(fed)
    gain = 1.0 if moment.rule.decay is None else 1 - moment.rule.decay
    return np.divide(gain * fed * fed, moment.square, out=np.zeros_like(fed), where=moment.square > 0)
