"""What a run that may still grow shows of its last steps, at a cost that does not grow with it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from dominance.analyse.glance import glance
from dominance.analyse.runs import only_run
from dominance.analyse.summary import known_medians, overview, where_it_takes_part
from dominance.errors import NothingRecorded

MOST_BYTES = 1 << 26
"""Updates that are read for one look."""
RECENT = 50
"""Recorded steps that the rate and the gradients' norms are of."""


@dataclass(frozen=True)
class Live:
    """A look at a run.

    Attributes:
        tasks: their names.
        steps: (step,) numbers of the training steps that were read.
        recorded: how many steps the run holds.
        losses: (step, task), NaN where a task took no part.
        norms: (task,) medians over the last ``RECENT`` steps of the 2-norm of the effective gradient in the shared
            layers; NaN for a task that took no part in them.
        rate: training steps a second over the last ``RECENT`` recorded ones; NaN while that is not known.
        picture: what :func:`dominance.analyse.glance.glance` returns, over these steps; None while there is none.
        why: why there is no picture.
    """

    tasks: list[str]
    steps: NDArray[np.int64]
    recorded: int
    losses: NDArray[np.float64]
    norms: NDArray[np.float64]
    rate: float
    picture: xr.Dataset | None
    why: str = ""


def live(run: xr.DataTree, *, most_bytes: int = MOST_BYTES) -> Live:
    """Look at the last steps of a run: as many as have ``most_bytes`` of updates, and one at least.

    rAU is accumulated from the first of these steps on, which is that of the whole run where all of it was read.

    Raises:
        BadOption: not one run.
    """
    run = only_run(run)
    recorded = int(run.sizes.get("step", 0))
    of_each = 4 * max(len(run.attrs["tasks"]) * int(run.sizes["coord"]), 1)
    part = run.isel(step=slice(max(recorded - max(most_bytes // of_each, 1), 0), None))
    steps = np.asarray(part["step"].to_numpy(), dtype=np.int64)
    picture, why = _picture(part)
    return Live(
        tasks=[str(task) for task in run.attrs["tasks"]],
        steps=steps,
        recorded=recorded,
        losses=np.asarray(part["loss/loss"].to_numpy(), dtype=np.float64),
        norms=_norms(part),
        rate=_rate(part, steps),
        picture=picture,
        why=why,
    )


def _picture(run: xr.DataTree) -> tuple[xr.Dataset | None, str]:
    try:
        seen = overview(run)
        return glance(run, seen, [str(name) for name in seen.layers["layer"].values]), ""
    except NothingRecorded as error:
        return None, str(error)


def _norms(run: xr.DataTree) -> NDArray[np.float64]:
    table = run["layer"].to_dataset()
    shared = np.flatnonzero(table["shared"].to_numpy())
    squares = table["gradient_sq"].isel(step=slice(-RECENT, None), layer=shared).to_numpy()  # (step, layer, task)
    squares = where_it_takes_part(squares)
    lengths = np.sqrt(np.nansum(squares, axis=1))
    lengths[np.isnan(squares).all(axis=1)] = np.nan
    return known_medians(lengths)


def _rate(run: xr.DataTree, steps: NDArray[np.int64]) -> float:
    times = np.asarray(run["time"].to_numpy(), dtype=np.float64)[-RECENT:]
    if len(times) < 2 or not times[-1] > times[0]:
        return float("nan")
    return float((steps[-1] - steps[-len(times)]) / (times[-1] - times[0]))
