"""The form of the tree that open_run and open_runs return; see open_run."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from dominance.schema import TASK_STATISTICS, TOTAL_STATISTICS, UPDATE_PARTS, Parameter
from dominance.store.probes import read_probes
from dominance.store.source import StoredRun
from dominance.store.stacked import StackedRuns

_AMBIGUOUS = ("gradient_sq", "update_sq", "gradient_dot_update")
"""Total statistics that would bear the name of a task statistic; they get the prefix total_."""


def build(source: StoredRun | StackedRuns) -> xr.DataTree:
    """The tree; a StackedRuns source gives every step variable a leading dim "run"."""
    lead = ("run",) if isinstance(source, StackedRuns) else ()
    root = _root(source)
    nodes = {
        "/": root,
        "/layer": _layer(source),
        "/loss": xr.Dataset(
            {
                "loss": source.variable("loss/loss", ("step", "task")),
                "weight": source.variable("loss/weight", ("step", "task")),
                "total": source.variable("loss/total", ("step",)),
            }
        ),
        "/learning_rate": xr.Dataset(
            {"learning_rate": source.variable("learning_rate/value", ("step", "layer"))}, _layer_names(source)
        ),
    }
    if source.coordinates is not None:
        # A tree hands down only coordinates with an index.
        coords = {name: variable for name, variable in root.coords.variables.items() if variable.dims == ("coord",)}
        parts = ("total", *UPDATE_PARTS)
        nodes["/gradient"] = _per_coordinate(source, "gradient", ("gradient",), ("total",)).assign_coords(coords)
        nodes["/update"] = _per_coordinate(source, "update", ("update", "solo"), parts).assign_coords(coords)
    events, losses = source.events()
    if events["value"].size:
        nodes["/metric"] = _metric(events, lead)
    if losses["value"].size:
        nodes["/unrecorded_loss"] = _metric(losses, lead).rename(value="loss")
    if isinstance(source, StoredRun):
        nodes |= {f"/probe/{name}": found for name, found in read_probes(source.files, source.tasks).items()}
    return xr.DataTree.from_dict(nodes)


def of_metrics(attrs: dict[str, Any], events: Mapping[str, Any]) -> xr.DataTree:
    """A tree of nothing but attributes and what was logged."""
    nodes = {"/": xr.Dataset(attrs=attrs)}
    if events["value"].size:
        nodes["/metric"] = _metric(events, ())
    return xr.DataTree.from_dict(nodes)


def _metric(events: Mapping[str, Any], lead: tuple[str, ...]) -> xr.Dataset:
    # Not "step" and "task", which are coordinates of the tree; nor "name", an attribute of every node.
    names = {name: f"event_{name}" for name in ("step", "epoch", "task")} | {"name": "metric"}
    return xr.Dataset({names.get(name, name): ((*lead, "event"), column) for name, column in events.items()})


def _root(source: StoredRun | StackedRuns) -> xr.Dataset:
    coords: dict[str, Any] = {
        "step": source.steps,
        "epoch": source.variable("epoch", ("step",)).load(),
        "time": source.variable("time", ("step",)).load(),
        "task": ("task", _names(source.tasks)),
        "task_other": ("task_other", _names(source.tasks)),
    }
    if isinstance(source, StackedRuns):
        coords["run"] = ("run", _names(source.names))
    if source.coordinates is not None:
        codes = source.coordinates["parameter"]
        coords |= {
            "parameter": ("coord", _names([p.name for p in source.parameters])[codes]),
            "coord_layer": ("coord", _names([p.layer for p in source.parameters])[codes]),
            "shared": ("coord", np.array([p.shared for p in source.parameters], bool)[codes]),
            "index": ("coord", source.coordinates["index"]),
            "coord_weight": ("coord", source.coordinates["weight"]),
        }
    variables = {name: source.variable(name, ("step",)) for name in ("skipped", "closure")}
    return xr.Dataset(variables, coords, source.attrs)


def _per_coordinate(
    source: StoredRun | StackedRuns, group: str, per_task: tuple[str, ...], others: tuple[str, ...]
) -> xr.Dataset:
    dims = dict.fromkeys(per_task, ("step", "task", "coord")) | dict.fromkeys(others, ("step", "coord"))
    return xr.Dataset(
        {name: source.variable(f"{group}/{name}", dims[name]) for name in dims if f"{group}/{name}" in source.arrays}
    )


def _layer(source: StoredRun | StackedRuns) -> xr.Dataset:
    task = source.variable("layer/task", ("step", "layer", "task", "statistic"))
    total = source.variable("layer/total", ("step", "layer", "total_statistic"))
    variables: dict[str, Any] = {name: task.isel(statistic=number) for number, name in enumerate(TASK_STATISTICS)} | {
        f"total_{name}" if name in _AMBIGUOUS else name: total.isel(total_statistic=number)
        for number, name in enumerate(TOTAL_STATISTICS[: total.shape[-1]])
    }
    variables["gram"] = source.variable("layer/gram", ("step", "layer", "task", "task_other"))
    inside: dict[str, list[Parameter]] = {layer: [] for layer in source.layers}
    for parameter in source.parameters:
        inside.setdefault(parameter.layer, []).append(parameter)
    shared = [any(parameter.shared for parameter in inside[layer]) for layer in source.layers]
    sizes = [sum(prod(parameter.shape) for parameter in inside[layer]) for layer in source.layers]
    variables["shared"] = ("layer", np.array(shared, bool))
    variables["size"] = ("layer", np.array(sizes, np.int64))
    return xr.Dataset(variables, _layer_names(source))


def _layer_names(source: StoredRun | StackedRuns) -> dict[str, Any]:
    # Not at the root: a tree cannot hold a variable and a group of the same name.
    return {"layer": ("layer", _names(source.layers))}


def _names(names: Any) -> npt.NDArray[np.object_]:
    # Objects: a million coordinates then share the names of their parameters.
    result = np.empty(len(names), object)
    result[:] = list(names)
    return result
