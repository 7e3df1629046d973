"""What groups of examples have of the batches, beside what they have of the gradient and of the update."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from dominance.analyse.kernels.known_mean import known_mean
from dominance.analyse.prepared import PreparedRun
from dominance.analyse.steps import superseded
from dominance.schema import GROUPS


@dataclass(frozen=True)
class GroupCounts:
    """How many examples of each group the recorded steps saw.

    Attributes:
        values: (step, task); NaN for tasks that are no groups, and at steps for which nothing was counted.
        unit: of what: "examples" or "tokens".
    """

    values: NDArray[np.float64]
    unit: str


def group_counts(run: xr.DataTree | PreparedRun) -> GroupCounts | None:
    """The counts of each recorded step; None where tasks are no groups."""
    if "metric" not in run.children:
        return None
    table = run["metric"].to_dataset()
    counted = table.isel(event=np.flatnonzero(table["split"].to_numpy() == GROUPS))
    if counted.sizes["event"] == 0:
        return None
    found = pd.DataFrame({name: counted[f"event_{name}"].to_numpy() for name in ("step", "task")})
    found["value"] = counted["value"].to_numpy()
    # What a step that was taken anew saw overrules what it saw before.
    last = found.drop_duplicates(["step", "task"], keep="last").pivot(index="step", columns="task", values="value")
    tasks = [str(task) for task in run["task"].to_numpy()]
    values = last.reindex(index=run["step"].to_numpy(), columns=tasks).to_numpy(dtype=np.float64)
    return GroupCounts(values, str(counted["metric"].to_numpy()[0]))


def step_shares(run: xr.DataTree | PreparedRun, tasks: Any = None) -> dict[str, NDArray[np.float64]]:
    """Each task's share of the squared ``gradient`` and ``update`` of the shared parameters: (step, task) each.

    NaN at steps that the optimizer skipped or a later row overrules, and where all tasks have none.

    Args:
        tasks: places of those whose squares add up to 1; default all.
    """
    update = "solo_sq" if run.attrs.get("attribution") == "solo" else "update_sq"
    layers = run["layer"].to_dataset()
    layers = layers.isel(layer=np.flatnonzero(layers["shared"].to_numpy()))
    unused = (run["skipped"].to_numpy() > 0) | superseded(run["step"].to_numpy())
    found = {}
    for name, statistic in {"gradient": "gradient_sq", "update": update}.items():
        squares = np.nan_to_num(layers[statistic].to_numpy()).sum(axis=1)
        squares = squares if tasks is None else squares[:, tasks]
        whole = squares.sum(axis=1, keepdims=True)
        found[name] = squares / np.where((whole > 0) & ~unused[:, None], whole, np.nan)
    return found


def group_shares(run: xr.DataTree | PreparedRun) -> pd.DataFrame | None:
    """Each group's share of the examples, of the gradient and of the update; None where tasks are no groups.

    Returns:
        Indexed by task, the largest update first, with the columns

        - ``examples``: share of the examples (or tokens, see ``attrs["unit"]``) of the recorded steps
        - ``gradient``, ``update``: share of the tasks' squared gradients and updates of the shared parameters: means
          over the recorded steps of the shares of each

        Tasks that are no groups, like a loss beside them, have NaN examples.
    """
    counted = group_counts(run)
    if counted is None:
        return None
    tasks = [str(task) for task in run["task"].to_numpy()]
    count = np.where(np.isfinite(counted.values).any(axis=0), np.nansum(counted.values, axis=0), np.nan)
    shares = pd.DataFrame({"examples": count / np.nansum(count)}, index=tasks)
    for name, values in step_shares(run).items():
        shares[name] = known_mean(values)
    shares = shares.sort_values("update", ascending=False, kind="stable")
    shares.index.name = "task"
    shares.attrs["unit"] = counted.unit
    return shares
