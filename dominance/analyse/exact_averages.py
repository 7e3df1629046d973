"""AU of every shared coordinate, not of a sample, where the run kept it while it was recorded (AdaTask, Eq. 2)."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from dominance.analyse.averages import Visit
from dominance.analyse.counting import Counter, ScatteredCounter, shares
from dominance.analyse.groups import By, grouped, strata
from dominance.analyse.kernels.ratio import ratio
from dominance.analyse.prepared import PreparedRun
from dominance.errors import BadOption, CorruptRun, NothingRecorded
from dominance.schema import AVERAGE, AVERAGE_DECAY
from dominance.unattributed import MOST_UNATTRIBUTED


def has_averages(run: xr.DataTree | PreparedRun) -> bool:
    """Whether the run kept AU of every shared coordinate."""
    return "probe" in run.children and AVERAGE in run["probe"].children


def exact_averages(
    run: PreparedRun,
    *,
    decay: float = AVERAGE_DECAY,
    attribution: str = "additive",
    at: Any = None,
    max_unattributed: float = MOST_UNATTRIBUTED,
) -> xr.Dataset:
    """AU at the last usable step, of every shared coordinate.

    Returns:
        ``au`` (task, coord), float64, with ``parameter``, ``coord_layer``, ``index`` and ``coord_weight`` (1) along
        ``coord``.

    Raises:
        BadOption: what is asked is not what was kept while the run was recorded.
        NothingRecorded: the run has no such averages.
        CorruptRun: they do not fit the run's parameters.
    """
    asked = {"decay": decay, "attribution": attribution, "at": at, "max_unattributed": max_unattributed}
    kept = {"decay": AVERAGE_DECAY, "attribution": "additive", "at": None, "max_unattributed": MOST_UNATTRIBUTED}
    for name, value in asked.items():
        if value != kept[name]:
            raise BadOption(
                f"exact=True with {name}={value}: what was kept has {name}={kept[name]}",
                fix=f"leave {name} out, or exact",
            )
    if not has_averages(run):
        raise NothingRecorded(
            f"{run.where}: AU of every coordinate was not kept", fix="record with --averages, or leave exact out"
        )
    found = run["probe"][AVERAGE]
    names, sizes = found.attrs["parameters"], found.attrs["sizes"]
    known = {each["name"]: each for each in run.attrs["parameters"]}
    sound = [name in known and int(np.prod(known[name]["shape"])) == n for name, n in zip(names, sizes, strict=True)]
    if not all(sound) or sum(sizes) != found["au"].sizes["every_coord"]:
        raise CorruptRun(f"{run.where}: probe/{AVERAGE} does not fit the run's parameters", fix="record it again")
    layers = [known[name]["layer"] for name in names]
    return xr.Dataset(
        {"au": (("task", "coord"), np.nan_to_num(found["au"].to_numpy()))},
        coords={
            "task": run.tasks,
            "parameter": ("coord", np.repeat(np.array(names, dtype=object), sizes)),
            "coord_layer": ("coord", np.repeat(np.array(layers, dtype=object), sizes)),
            "index": ("coord", np.concatenate([np.arange(size) for size in sizes])),
            "coord_weight": ("coord", np.ones(sum(sizes))),
            "step": int(found.attrs["step"]),
        },
        attrs={
            "steps_used": int(found.attrs["steps_used"]),
            "max_unattributed": float(found.attrs["max_unattributed"]),
            "decay": float(found.attrs["decay"]),
            "attribution": "additive",
            "exact": True,
        },
    )


def exact_ratio(found: xr.Dataset) -> xr.Dataset:
    """rAU from a result of :func:`exact_averages`."""
    return found.assign(rau=(found["au"].dims, ratio(found["au"].to_numpy()))).drop_vars("au")


def exact_buckets(run: PreparedRun, found: xr.Dataset, by: By, edges: tuple[float, ...]) -> xr.Dataset:
    """``rau_buckets`` from a result of :func:`exact_averages`: every coordinate is counted, at its one step."""
    whole = found.assign_attrs(parameters=run.attrs["parameters"])
    shared = np.ones(found.sizes["coord"], dtype=bool)
    names, index = (found[name].to_numpy() for name in ("parameter", "index"))
    parts, labels, group_of = grouped(by, run, strata(whole, shared), shared, names, index)
    everything = slice(0, found.sizes["coord"])
    counter = (ScatteredCounter if parts.scattered else Counter)(parts.code, edges, found.sizes["task"])
    room = counter.room(everything, 1, 1)
    counter.visit(Visit(0, 0, everything, everything, found["au"].to_numpy(), 1.0), room)
    (total,) = counter.totals([room], [everything], len(parts.sampled))
    steps = np.array([found["step"].item()])
    about = {
        "coords_sampled": everything.stop,
        "coords_shared": everything.stop,
        "by": by if isinstance(by, str) else "custom",
        "parameters_left_out": parts.outside(group_of),
    }
    return shares(run, steps, total, parts, labels, group_of, edges).assign_attrs(found.attrs | about)
