"""The tasks' losses over a whole training: of its recorded steps, and of those between them."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from dominance.analyse.runs import only_run
from dominance.store.outline import counted


def loss_curves(run: xr.DataTree) -> xr.Dataset:
    """The unweighted loss of each task, at every training step of which it is known.

    Recorded steps have the losses of the run's group ``loss``. Of the others, those are there that were read where the
    script holds them: of the first 500 losses of a run every one, then ever fewer; none of a step in which the
    gradients of a task were accumulated over several ``backward()``, and none where the script has no name for it.

    Args:
        run: an open run.

    Returns:
        Dataset of ``loss`` (step, task), float64, NaN where it is not known; ``weight`` (step, task), NaN also at steps
        that are not recorded; ``recorded`` (step,), bool. Steps are in order, those that a resumed run recorded again
        as they are in the run.

    Raises:
        BadOption: not one run.

    >>> from dominance import loss_curves
    >>> curves = loss_curves(run)
    >>> dict(curves.sizes), bool(curves.recorded.all())
    ({'step': 2, 'task': 2}, True)
    """
    run = only_run(run)
    node: Any = run["loss"]
    rows: xr.Dataset = (
        node.to_dataset(inherit=True)[["loss", "weight"]].transpose("step", "task").reset_coords(drop=True)
    )
    rows = rows.assign(recorded=("step", np.ones(rows.sizes["step"], bool)))
    if "unrecorded_loss" not in run.children:
        return rows
    between = _between(run, rows["task"].to_numpy().tolist())
    between = between.sel(step=~np.isin(between["step"].to_numpy(), rows["step"].to_numpy()))
    whole = xr.concat([rows.compute(), between], "step", join="outer", fill_value={"weight": np.nan})
    found: xr.Dataset = whole.isel(step=np.argsort(whole["step"].to_numpy(), kind="stable"))
    return found


def _between(run: xr.DataTree, tasks: list[str]) -> xr.Dataset:
    """The same of steps that are not recorded; of a task's losses in one step the last."""
    node: Any = run["unrecorded_loss"]
    table = node.to_dataset(inherit=False)
    at, value = table["event_step"].to_numpy(), table["loss"].to_numpy()
    code = np.array([tasks.index(task) if task in tasks else -1 for task in table["event_task"].to_numpy()], int)
    counts = (code >= 0) & counted(at)
    step, row = np.unique(at[counts], return_inverse=True)
    loss = np.full((len(step), len(tasks)), np.nan)
    loss[row, code[counts]] = value[counts]
    variables = {
        "loss": (("step", "task"), loss),
        "weight": (("step", "task"), np.full(loss.shape, np.nan)),
        "recorded": (("step",), np.zeros(len(step), bool)),
    }
    return xr.Dataset(variables, {"step": step, "task": np.array(tasks, dtype=object)})
