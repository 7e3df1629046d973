"""Which task owns which layer, and since when (AdaTask, Sec. "Task Dominance": a parameter with rAU > 80 %)."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from dominance.analyse.groups import By
from dominance.analyse.joining import over_runs
from dominance.analyse.prepared import PreparedRun
from dominance.analyse.rau_buckets import rau_buckets
from dominance.errors import BadOption
from dominance.unattributed import MOST_UNATTRIBUTED

NOBODY = ""
"""Stands for the owner of a layer that has none."""


@over_runs
def ownership(
    run: PreparedRun,
    *,
    by: By = "layer",
    owns: float = 0.5,
    threshold: float = 0.8,
    decay: float = 0.99,
    attribution: str = "additive",
    points: int = 200,
    max_unattributed: float = MOST_UNATTRIBUTED,
    exact: bool = False,
) -> xr.Dataset:
    """The task that owns most of the parameters of each layer, over training, and since when it has.

    A task owns a parameter when its rAU there is above ``threshold``: it moves it nearly alone (AdaTask, Fig. 2: rAU in
    (80, 100] %). It owns a layer when it owns more than ``owns`` of the parameters that any task has moved, by more
    than two standard errors where these are a sample of the layer. So a layer has one owner or none, for any number of
    tasks; none means that the tasks share it, that they split it, or that the sample cannot tell.

    Args:
        run: a run, from ``open_run``, or several.
        by: what a layer is, as in ``rau_buckets``: "layer", "parameter", "all" (the whole trunk), "kind", globs, ...
        owns: share of the parameters of a layer, from 0.5 to below 1.
        threshold: rAU, from 0.5 to below 1.
        decay, attribution, max_unattributed: as in ``au``.
        points: steps at which to look: this many of the usable ones, evenly spread, the last included.
        exact: look at every shared coordinate, not at a sample, and at the last usable step only; as in ``au``.

    Returns:
        Along ``step``, ``layer`` and ``task``:

        - ``owner`` (layer): name of the task that owns it at the last step, "" for none.
        - ``since`` (layer): the first step from which on that task owned it at every step looked at; -1 without owner.
        - ``owner_at`` (step, layer): name of the owner at each step, "" for none.
        - ``share`` (step, layer, task): share of the touched parameters that the task owns; NaN where none is touched.
        - ``share_se``: its standard error from sampling, 0 if all parameters were kept.
        - ``effective_tasks``, ``untouched`` (step, layer): as in ``rau_buckets``.

    Raises:
        BadOption: an option is out of range.
        NothingRecorded: as ``rau_buckets``.

    >>> from dominance import ownership
    >>> found = ownership(run, decay=0.5)
    >>> found.owner.values.tolist(), found.since.values.tolist()
    (['a'], [0])
    """
    for name, value in (("owns", owns), ("threshold", threshold)):
        if not 0.5 <= value < 1:
            raise BadOption(f"{name}={value} allows two owners, or none", fix="give a number from 0.5 to below 1")
    table = rau_buckets(
        run,
        by=by,
        edges=(0, threshold, 1),
        decay=decay,
        attribution=attribution,
        points=points,
        max_unattributed=max_unattributed,
        exact=exact,
    )
    return owners(table, owns=owns)


def owners(table: xr.Dataset, *, owns: float = 0.5) -> xr.Dataset:
    """:func:`ownership` from shares that are known already: a result of ``rau_buckets``, whose last bucket counts."""
    share = table["share"].isel(bucket=-1, drop=True).transpose("step", "layer", "task")
    error = table["share_se"].isel(bucket=-1, drop=True).transpose("step", "layer", "task")
    mine = owned(share.to_numpy(), error.to_numpy(), owns)
    names = np.array([*(str(task) for task in table["task"].to_numpy()), NOBODY], dtype=object)
    steps = table["step"].to_numpy()
    found: dict[str, Any] = {
        "owner": ("layer", names[mine[-1]]),
        "since": ("layer", since(mine, steps)),
        "owner_at": (("step", "layer"), names[mine]),
        "share": share,
        "share_se": error,
        "effective_tasks": table["effective_tasks"],
        "untouched": table["untouched"],
    }
    return xr.Dataset(found, attrs={**table.attrs, "owns": owns, "threshold": float(table["lower"][-1])})


def owned(share: NDArray[np.float64], error: NDArray[np.float64], owns: float) -> NDArray[np.int64]:
    """Index of the task that owns a layer at a step, -1 for none.

    Args:
        share, error: (step, layer, task) share of the parameters that the task owns, and its standard error.

    >>> share, exact = np.array([[[0.9, 0.1]], [[0.55, 0.45]], [[np.nan, np.nan]]]), np.zeros((3, 1, 2))
    >>> owned(share, exact, 0.5)[:, 0], owned(share, exact + 0.03, 0.5)[:, 0]
    (array([ 0,  0, -1]), array([ 0, -1, -1]))
    """
    sure = share - 2 * error > owns  # NaN is no owner
    return np.where(sure.any(axis=-1), sure.argmax(axis=-1), -1)


def since(mine: NDArray[np.int64], steps: NDArray[np.int64]) -> NDArray[np.int64]:
    """First step from which on a layer has had the owner that it has at the last one; -1 where it has none.

    Args:
        mine: (step, layer) index of the owner, -1 for none.
        steps: (step,) numbers of the training steps.

    >>> since(np.array([[0, 1], [1, 1], [0, -1], [0, -1]]), np.array([10, 20, 30, 40]))
    array([30, -1])
    """
    other = mine != mine[-1]
    first = np.where(other.any(axis=0), len(mine) - other[::-1].argmax(axis=0), 0)
    return np.where(mine[-1] >= 0, steps[np.minimum(first, len(mine) - 1)], -1)
