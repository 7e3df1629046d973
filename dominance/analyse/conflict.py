"""How much the gradients of two tasks conflict (MoCoGrad, Definition 3)."""

from __future__ import annotations

import numpy as np
import xarray as xr

from dominance.analyse.groups import ALL_SHARED
from dominance.analyse.kernels.gcd import gcd as degree
from dominance.analyse.steps import superseded
from dominance.errors import BadOption, NothingRecorded


def gcd(run: xr.DataTree, *, by: str = "layer") -> xr.Dataset:
    """Gradient conflict degree of every pair of tasks in the shared layers: 1 - cos of the angle of their gradients.

    From the Gram matrices, which are exact over all coordinates of a layer, sampled or not. The gradients are the
    effective ones (what the optimizer is fed); a positive loss weight does not change an angle. A layer with parameters
    that only one task reaches counts them too: they lengthen that task's gradient.

    Args:
        run: a run, from ``open_run``.
        by: "layer", or "all": the Gram matrices summed over the shared layers, the angle in the whole trunk.

    Returns:
        - ``gcd`` (step, layer, task, task_other): 0 same direction, 1 at right angles, 2 opposite. NaN where a task has
          no gradient in the layer (or none that is finite), at steps that the optimizer skipped, and on the diagonal:
          the degree is defined for two different tasks.
        - ``conflict_share`` (layer, task, task_other): share of the steps with GCD > 1, of those that have one.
        - ``mean_gcd`` (layer, task, task_other): mean over the same steps.

    Raises:
        BadOption: ``by`` is neither.
        NothingRecorded: no step, or no layer that two tasks share.

    >>> from dominance import gcd
    >>> found = gcd(run)  # gradients (-1, 0), then (-2, 1)
    >>> found.gcd.sel(task="a", task_other="b", layer="trunk").values
    array([nan,  2.])
    >>> float(found.conflict_share.sel(task="a", task_other="b", layer="trunk"))
    1.0
    """
    if by not in ("layer", "all"):
        raise BadOption(f"by={by!r} is unknown", fix='say "layer" or "all"')
    where = run.attrs.get("path", "run")
    if not run.sizes["step"]:
        raise NothingRecorded(f"{where}: no step was recorded", fix="let the training take at least one step")
    table = run["layer"].to_dataset()
    shared = np.flatnonzero(table["shared"].to_numpy())
    if not len(shared):
        raise NothingRecorded(
            f"{where}: no layer is reached by two tasks",
            fix="name the tasks with dominance.observe({...}) before backward()",
        )
    gram = table["gram"].isel(layer=shared).to_numpy()  # (step, layer, task, task_other)
    labels = [run.attrs["layers"][i] for i in shared]
    if by == "all":
        gram, labels = gram.sum(axis=1, keepdims=True), [ALL_SHARED]
    rows = np.flatnonzero(~superseded(run["step"].to_numpy()))
    values = degree(gram[rows])
    values[run["skipped"].to_numpy()[rows] == 1] = np.nan
    known = np.isfinite(values)
    number = known.sum(axis=0)
    with np.errstate(invalid="ignore"):
        conflicts = (known & (values > 1)).sum(axis=0) / number
        mean = np.where(known, values, 0).sum(axis=0) / number
    dims = ("layer", "task", "task_other")
    tasks = run["task"].to_numpy()
    return xr.Dataset(
        {"gcd": (("step", *dims), values), "conflict_share": (dims, conflicts), "mean_gcd": (dims, mean)},
        coords={"step": run["step"].to_numpy()[rows], "layer": labels, "task": tasks, "task_other": tasks},
        attrs={"by": by, "steps_recorded": len(values), "steps_with_a_degree": int(known.any(axis=(1, 2, 3)).sum())},
    )
