"""AU of units, from that of their coordinates."""

from __future__ import annotations

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from dominance.analyse.groups import By, parameters_of, parted, units_of
from dominance.analyse.kernels.ratio import ratio
from dominance.analyse.prepared import PreparedRun
from dominance.analyse.units import Partition, labelled
from dominance.errors import BadOption


def units_by(run: PreparedRun, by: By, names: NDArray[np.str_], index: NDArray[np.int64]) -> Partition:
    """The units of coordinates, (coord,) parameter and flat index inside it.

    Raises:
        BadOption: ``by`` tells of no units; or as ``partition``.
        NothingRecorded: the model has no such units.
    """
    units = units_of(by, run.attrs, run.where)
    if units is None:
        raise BadOption(
            f"by={by!r} tells of no units", fix='say "expert", "head", "neuron", "row", or a pattern: "moe.{expert}.*"'
        )
    return parted(units, run.attrs, names, index)


def alone(run: PreparedRun, by: By) -> dict[str, str]:
    """The units that one task's loss alone reaches, with their tasks."""
    found: dict[str, set[str]] = {}
    for label, parameter in labelled(units_of(by, run.attrs, run.where) or (), parameters_of(run.attrs)):
        found.setdefault(label, set()).update(parameter.tasks)
    return {label: next(iter(tasks)) for label, tasks in found.items() if len(tasks) == 1}


def add_up(run: PreparedRun, by: By, averaged: xr.Dataset) -> xr.Dataset:
    """AU or rAU of units. Each coordinate counts for as many as it stands for in its parameter.

    Args:
        by: units.
        averaged: a result of ``au``, with ``au`` (..., coord).

    Returns:
        ``au`` (..., layer), ``sampled``, ``size`` (layer): of the units of which something was kept; the attribute
        ``units_left_out`` counts the others.

    Raises:
        BadOption, NothingRecorded: as :func:`units_by`.
    """
    names, index = (averaged[name].to_numpy() for name in ("parameter", "index"))
    found = units_by(run, by, names, index)
    inside = np.flatnonzero(found.code >= 0)
    code = found.code[inside]
    values = averaged["au"].transpose(..., "coord").to_numpy()[..., inside] * stands_for(found, names)[inside]
    kept = np.unique(code)
    rows = values.reshape(-1, len(inside))
    total = np.array([np.bincount(code, row, len(found.labels))[kept] for row in rows])
    dims = [str(dim) for dim in averaged["au"].dims if dim != "coord"]
    along = {name: each for name, each in averaged.coords.items() if "coord" not in each.dims}
    about = {"by": by if isinstance(by, str) else "custom", "units_left_out": len(found.labels) - len(kept)}
    return xr.Dataset(
        {
            "au": ((*dims, "layer"), total.reshape(*values.shape[:-1], len(kept))),
            "sampled": ("layer", np.bincount(code, minlength=len(found.labels))[kept]),
            "size": ("layer", found.sizes[kept]),
        },
        coords={**along, "layer": [found.labels[i] for i in kept.tolist()]},
        attrs={**averaged.attrs, **about},
    )


def as_ratio(summed: xr.Dataset) -> xr.Dataset:
    """rAU from a result of :func:`add_up`: the tasks' shares of what they add up to."""
    values = summed["au"].transpose("task", ...)
    share = values.copy(data=ratio(values.to_numpy())).transpose(*summed["au"].dims)
    return summed.drop_vars("au").assign(rau=share)


def stands_for(found: Partition, names: NDArray[np.str_]) -> NDArray[np.float64]:
    """(coord,) for how many scalars of the same unit and parameter each kept coordinate stands; 0 outside of units."""
    _, parameter = np.unique(names, return_inverse=True)
    both = parameter * (len(found.labels) + 1) + found.code + 1
    _, place = np.unique(both, return_inverse=True)
    return np.asarray(found.around / np.bincount(place)[place], dtype=np.float64)
