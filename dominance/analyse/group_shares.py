"""What groups of examples have of the batches, beside what they have of the gradient and of the update."""

from __future__ import annotations

import numpy as np
import pandas as pd
import xarray as xr

from dominance.analyse.prepared import PreparedRun
from dominance.schema import GROUPS


def group_shares(run: xr.DataTree | PreparedRun) -> pd.DataFrame | None:
    """Each group's share of the examples, of the gradient and of the update; None where tasks are no groups.

    Returns:
        Indexed by task, the largest update first, with the columns

        - ``examples``: share of the examples (or tokens, see ``attrs["unit"]``) of the recorded steps
        - ``gradient``, ``update``: share of the tasks' squared gradients and updates of the shared parameters: means
          over the recorded steps of the shares of each

        Tasks that are no groups, like a loss beside them, have NaN examples.
    """
    if "metric" not in run.children:
        return None
    table = run["metric"].to_dataset()
    counted = table.isel(event=np.flatnonzero(table["split"].to_numpy() == GROUPS))
    if counted.sizes["event"] == 0:
        return None
    tasks = [str(task) for task in run["task"].to_numpy()]
    count = pd.Series(counted["value"].to_numpy(), counted["event_task"].to_numpy().astype(str)).groupby(level=0).sum()
    shares = pd.DataFrame({"examples": count.reindex(tasks) / count.sum()})
    update = "solo_sq" if run.attrs.get("attribution") == "solo" else "update_sq"
    layers = run["layer"].to_dataset()
    shared = np.flatnonzero(layers["shared"].to_numpy())
    steps = np.flatnonzero(run["skipped"].to_numpy() <= 0)
    for name, statistic in {"gradient": "gradient_sq", "update": update}.items():
        squares = np.nan_to_num(layers[statistic].isel(step=steps, layer=shared).to_numpy()).sum(axis=1)
        whole = squares.sum(axis=1, keepdims=True)
        shares[name] = (squares / np.where(whole > 0, whole, np.nan))[whole[:, 0] > 0].mean(axis=0)
    shares = shares.sort_values("update", ascending=False, kind="stable")
    shares.index.name = "task"
    shares.attrs["unit"] = str(counted["metric"].to_numpy()[0])
    return shares
