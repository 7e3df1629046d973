"""Who holds the shared parameters: how much, since when, and how sure that is."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from dominance.analyse.kernels.batch_means import batch_means
from dominance.analyse.kernels.certainty import probability_above, stretches
from dominance.analyse.ownership import owners
from dominance.analyse.summary import Overview
from dominance.analyse.verdict.rules import HOLDS, LESS, MINOR, OWNED, SETTLED, STRETCHES, UNHEARD

Floats = NDArray[np.float64]


def holdings(run: xr.DataTree, seen: Overview, rows: NDArray[np.int64]) -> xr.Dataset:
    """Two measures of ownership, and the probability that each is enough.

    Ownership by rAU is the paper's and looks at single parameters: a mean over the later half of the usable steps,
    since rAU remembers. The share of the squared updates is exact over all parameters: a mean over all but the first
    quarter, since the first steps of a training are unlike the rest.

    Args:
        rows: (step,) the usable recorded steps.

    Returns:
        Along ``layer`` (the shared ones, "all shared" last) and ``task``:

        - ``owned``: share of the touched parameters with rAU in the last bucket; ``owned_probability``: that it is over
          a half, from the spread over stretches no shorter than the memory of rAU and from sampling;
          ``owned_last``: the share at the last step
        - ``held``: share of the step's squared updates; ``held_probability``: that it is over 80 %
        - ``unheard_probability``, ``less_probability``: that ``held`` is under a fourth, or a half, of the mean of the
          other tasks'
        - ``since``: the training step since which the task owns without a break, by the measure that says so; -1
        - ``touched`` (layer,): how many parameters ``owned_last`` is a share of; ``moved`` (layer,): squared updates,
          the mean over the steps that ``held`` is of. By these, what is true of several layers together is their mean
    """
    tables = [owners(table, owns=OWNED) for table in (seen.layers, seen.trunk)]
    found = xr.concat(tables, dim="layer", join="exact", combine_attrs="drop_conflicts")
    shares, errors = found.share.to_numpy(), found.share_se.to_numpy()
    counted = found.step.to_numpy()
    sums = _squares(run, rows)
    with np.errstate(invalid="ignore"):
        squares = sums / sums.sum(axis=2, keepdims=True)
    steps = run["step"].to_numpy()[rows]
    half = len(rows) // 2
    memory = 1 / (1 - float(seen.trunk.attrs["decay"]))
    independent = int(np.clip((len(rows) - half) / memory, 2, STRETCHES))
    later = counted >= steps[half]

    by_rau = stretches(shares[later], independent)
    owned = by_rau.mean(axis=0)
    error = np.hypot(by_rau.std(axis=0, ddof=1) / len(by_rau) ** 0.5 if len(by_rau) > 1 else np.inf, errors[-1])
    others = (squares.sum(axis=2, keepdims=True) - squares) / max(squares.shape[2] - 1, 1)
    settled = int(SETTLED * len(rows))
    held, held_error, count = batch_means(squares[settled:])
    quiet, quiet_error, _ = batch_means((UNHEARD * others - squares)[settled:])
    less, less_error, _ = batch_means((LESS * others - squares)[settled:])

    p_owned, p_held, p_quiet, p_less = (np.full(held.shape, np.nan) for _ in range(4))
    for place in np.ndindex(*held.shape):
        p_owned[place] = probability_above(float(owned[place]), float(error[place]), OWNED, len(by_rau))
        p_held[place] = probability_above(float(held[place]), float(held_error[place]), HOLDS, int(count[place]))
        p_quiet[place] = probability_above(float(quiet[place]), float(quiet_error[place]), 0.0, int(count[place]))
        p_less[place] = probability_above(float(less[place]), float(less_error[place]), 0.0, int(count[place]))

    parts = min(STRETCHES, len(squares))
    starts = steps[[part[0] for part in np.array_split(np.arange(len(steps)), parts)]]
    tasks = run["task"].to_numpy()
    by_owned = np.where(found.owner.to_numpy()[:, None] == tasks, found.since.to_numpy()[:, None], -1)
    by_held = _since(stretches(squares, parts) > HOLDS, starts)
    dims = ("layer", "task")
    return xr.Dataset(
        {
            "owned": (dims, owned),
            "owned_last": (dims, shares[-1]),
            "owned_probability": (dims, p_owned),
            "held": (dims, held),
            "held_probability": (dims, p_held),
            "unheard_probability": (dims, p_quiet),
            "less_probability": (dims, p_less),
            "since": (dims, np.where(by_owned >= 0, by_owned, by_held)),
            "touched": ("layer", _touched(run, seen)),
            "moved": ("layer", sums[settled:].sum(axis=2).mean(axis=0)),
        },
        coords={"layer": found.layer.to_numpy(), "task": tasks},
    )


def minor(run: xr.DataTree, layers: Sequence[str]) -> bool:
    """Whether these layers are next to nothing of what is shared."""
    group = run["layer"].to_dataset()
    size = group["size"].to_numpy()
    inside = np.isin(group["layer"].to_numpy().astype(str), list(layers))
    return bool(size[inside].sum() < MINOR * size[group["shared"].to_numpy()].sum())


def _touched(run: xr.DataTree, seen: Overview) -> Floats:
    """(layer,) how many parameters some task has moved, "all shared" last."""
    table = run["layer"].to_dataset()
    size = table["size"].to_numpy()[table["shared"].to_numpy()].astype(float)
    untouched = [part.untouched.to_numpy()[-1] for part in (seen.layers, seen.trunk)]
    return np.asarray(np.append(size, size.sum()) * (1 - np.nan_to_num(np.concatenate(untouched))))


def _squares(run: xr.DataTree, rows: NDArray[np.int64]) -> Floats:
    """(step, layer, task) each task's squared updates, "all shared" last."""
    name = "solo_sq" if run.attrs.get("attribution") == "solo" else "update_sq"
    shared = np.flatnonzero(run["layer/shared"].to_numpy())
    squares = np.nan_to_num(run[f"layer/{name}"].isel(step=rows, layer=shared).to_numpy())
    return np.concatenate([squares, squares.sum(axis=1, keepdims=True)], axis=1)


def _since(holds: NDArray[np.bool_], steps: NDArray[np.int64]) -> NDArray[np.int64]:
    """From (point, ...) the first of the points at the end that all hold; -1 where the last does not."""
    unbroken = np.logical_and.accumulate(holds[::-1], axis=0)[::-1]
    return np.where(unbroken[-1], steps[unbroken.argmax(axis=0)], -1)
