"""Affinity of tasks: what a step for one does to the loss of another (Fifty et al. 2021)."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from dominance.analyse.grams import ByLayer, grams, groups_of
from dominance.analyse.joining import over_runs
from dominance.analyse.kernels.affinity import first_order
from dominance.analyse.kernels.known_mean import known_mean
from dominance.analyse.prepared import PreparedRun
from dominance.schema import AFFINITY


@over_runs
def affinity(run: PreparedRun, *, by: ByLayer = "all") -> xr.Dataset:
    """Z_{i→j} = 1 - L_j(after a step of i alone) / L_j(before): how much a step for task i lowers the loss of task j.

    Two figures, and they are not the same:

    - ``affinity`` is Z itself (Fifty et al., "Efficiently Identifying Task Groupings for Multi-Task Learning", 2021,
      Eq. 1), where the training measured it: ``recorder.log_affinity(dominance.probes.lookahead(model, losses, ...))``.
    - ``first_order`` is what every run allows, without a probe: η <ĝ_i, ĝ_j> / (w_j L_j), from the Gram matrices of the
      effective gradients ĝ_k = w_k ∇L_k, the weights w and losses L of the recorded batch. It is Z of a *plain gradient
      step* at the nominal learning rate η, up to second order in η: neither momentum nor an adaptive optimizer's own
      scaling is in it, nor the curvature, which makes Z smaller. Its sign is that of the inner product, so i and j have
      the same; they differ by L_j.

    Both are relative to the loss of j, and mean little where that is near 0 or below. Only shared layers count; a
    parameter of one task alone inside them adds to i = j only.

    Args:
        run: a run, from ``open_run``; or several (see ``runs_of``).
        by: how ``first_order`` is split: "all", "layer", or as in :func:`dominance.gcd`. The parts add up.

    Returns:
        ``task`` is i, whose step it is, and ``task_other`` is j, whose loss:

        - ``affinity`` (step, task, task_other): NaN at steps without a probe; of several at one step the last.
        - ``mean_affinity`` (task, task_other): mean over the probed steps.
        - ``first_order`` (step, layer, task, task_other): NaN where one of the two took no part, where the optimizer
          skipped the step, or where the loss of j is 0.
        - ``mean_first_order`` (layer, task, task_other): mean over the steps that have one.

        ``step`` holds recorded and probed steps. ``attrs`` count them, and name what was probed of tasks that the run
        does not have.

    Raises:
        BadOption: ``by`` is none of these.
        NothingRecorded: no step, or no layer that two tasks share.

    >>> from dominance import affinity
    >>> found = affinity(run)  # gradients (-1, 0), then (-2, 1); losses 1, learning rate 1e-3
    >>> found.first_order.sel(task="a", step=1, layer="all shared").values
    array([ 0.004, -0.002])
    >>> found.attrs["steps_probed"]
    0
    """
    layers = run.shared_layers
    found = grams(run, "layer")
    rows = np.flatnonzero(~run.superseded)
    table = run["loss"].to_dataset()
    rate = run["learning_rate/learning_rate"].isel(layer=layers).to_numpy()[rows]
    weight, loss = (table[name].to_numpy()[rows] for name in ("weight", "loss"))
    parts = first_order(found.values, rate, weight, loss)
    labels, inside = groups_of(by, found.layers)
    grouped = np.stack([parts[:, members].sum(axis=1) for members in inside], axis=1)

    tasks = [str(task) for task in run.tasks]
    probed_at, probed, strangers = _probed(run, tasks)
    steps = np.union1d(found.steps, probed_at)
    ours = np.full((len(steps), *grouped.shape[1:]), np.nan)
    ours[np.searchsorted(steps, found.steps)] = grouped
    measured = np.full((len(steps), len(tasks), len(tasks)), np.nan)
    measured[np.searchsorted(steps, probed_at)] = probed
    pair = ("task", "task_other")
    return xr.Dataset(
        {
            "affinity": (("step", *pair), measured),
            "mean_affinity": (pair, known_mean(measured)),
            "first_order": (("step", "layer", *pair), ours),
            "mean_first_order": (("layer", *pair), known_mean(ours)),
        },
        coords={"step": steps, "layer": labels, "task": tasks, "task_other": tasks},
        attrs={
            **found.attrs,
            "by": by if isinstance(by, str) else "custom",
            "steps_probed": len(probed_at),
            "steps_with_first_order": int(np.isfinite(grouped).any(axis=(1, 2, 3)).sum()),
            "tasks_not_of_the_run": strangers,
        },
    )


def _probed(run: PreparedRun, tasks: list[str]) -> tuple[NDArray[np.int64], NDArray[np.float64], list[str]]:
    """Steps, Z (step, task, task_other), and names that are no tasks of the run."""
    if "metric" not in run.children:
        return np.zeros(0, dtype=np.int64), np.zeros((0, len(tasks), len(tasks))), []
    node: Any = run["metric"]
    table = node.to_dataset(inherit=False)
    of = np.flatnonzero(table["split"].to_numpy() == AFFINITY)
    names = [table[name].to_numpy()[of].tolist() for name in ("event_task", "metric")]
    at = table["event_step"].to_numpy()[of].astype(np.int64)
    place = {task: i for i, task in enumerate(tasks)}
    strangers = list(dict.fromkeys(name for column in names for name in column if name not in place))
    steps = np.unique(at)
    values = np.full((len(steps), len(tasks), len(tasks)), np.nan)
    rows = np.searchsorted(steps, at)
    for row, task, other, value in zip(rows, *names, table["value"].to_numpy()[of], strict=True):
        if task in place and other in place:
            values[row, place[task], place[other]] = value
    return steps, values, strangers
