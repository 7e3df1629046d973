"""How far the norms of a light recording may be off, which are estimated from the kept coordinates."""

from __future__ import annotations

import numpy as np
import xarray as xr

from dominance.analyse.joining import over_runs
from dominance.analyse.prepared import PreparedRun
from dominance.errors import NothingRecorded


@over_runs
def estimated_norms(run: PreparedRun) -> xr.Dataset:
    """The tasks' squared updates in a light recording, and how far they may be off.

    Of a parameter with N coordinates, of which a random n are kept, the sum of squares is estimated by N / n times that
    of the kept ones; its variance is N² (1 - n / N) s² / n, with s² the variance of the squares (W. G. Cochran,
    Sampling Techniques, 1977, Theorem 2.2). Parameters are sampled independently of each other. Where few coordinates
    make most of a sum, as early in a training with Adam, s² itself is known badly: the error is larger than it says.

    The kept coordinates are the same at every step: errors of several steps go the same way, and add up.

    Args:
        run: a run, from ``open_run``; or several (see ``runs_of``).

    Returns:
        ``update_sq`` (step, layer, task), as the run has it, and ``update_sq_se``, its standard error, in the same
        unit; the share of parameters of which all coordinates are kept adds nothing to it.

    Raises:
        NothingRecorded: the run is no light one, and its norms are no estimates.
    """
    if not run.attrs.get("options", {}).get("light", False):
        raise NothingRecorded(f"{run.where}: norms are of all coordinates, not estimated", fix="it has no such error")
    layers, updates = np.array(run.layers), run["update/update"]
    parameters, of_layer, weights = (run.of_coord(name) for name in ("parameter", "coord_layer", "coord_weight"))
    variance = np.zeros((len(run.numbers), len(layers), len(run.tasks)))
    for parameter in dict.fromkeys(parameters.tolist()):
        at = np.flatnonzero(parameters == parameter)
        n, weight = len(at), float(weights[at[0]])
        if n < 2 or weight <= 1:
            continue
        squares = np.square(updates.isel(coord=at).to_numpy().astype(np.float64))
        of_sum = (n * weight) ** 2 * (1 - 1 / weight) * squares.var(axis=2, ddof=1) / n
        variance[:, np.flatnonzero(layers == of_layer[at[0]])[0]] += of_sum
    dims = ("step", "layer", "task")
    found = {"update_sq": (dims, run["layer/update_sq"].to_numpy()), "update_sq_se": (dims, np.sqrt(variance))}
    return xr.Dataset(found, {"step": run.numbers, "layer": layers, "task": run.tasks})
