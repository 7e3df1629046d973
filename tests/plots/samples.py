"""Small figures of every kind that the papers need, always the same: looked at as pixels, and as bytes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import xarray as xr
from plots.shares import buckets, degrees

from dominance.papers.plots.owned import plot_owned
from dominance.papers.plots.trajectories import plot_trajectories
from dominance.papers.table import Table
from dominance.plots.gcd import plot_gcd
from dominance.plots.rau_buckets import plot_rau_buckets
from dominance.plots.scores import plot_scores
from dominance.plots.tci_gcd import plot_tci_gcd


def shares(steps: int = 30) -> xr.Dataset:
    """B takes over from A, as curves without chance."""
    data = buckets("AB", steps=steps)
    t = np.linspace(0, 1, steps)[:, None]
    of_b = np.exp(-((np.linspace(0, 1, 5) - 0.2 - 0.8 * t) ** 2) * 12)
    of_b /= of_b.sum(axis=1, keepdims=True)
    data["share"].values[:] = np.stack([of_b[:, ::-1], of_b], axis=1)[:, None]
    data["untouched"].values[:] = 0.5 - 0.4 * t
    return data


def owned() -> xr.Dataset:
    """Two methods, three seeds."""
    first = shares()
    second = first.assign(share=first["share"].isel(step=slice(None, None, -1)).assign_coords(step=first["step"]))
    seeds = [xr.concat([0.9 * one, one, 1.1 * one.clip(max=0.9)], dim="seed") for one in (first, second)]
    return xr.concat(seeds, dim=xr.Variable("run", ["EqualWeight", "AdaTask"]), coords="minimal", compat="override")


def conflicts() -> xr.Dataset:
    data = degrees("abc", steps=90)
    wave = 1 + 0.7 * np.sin(np.arange(90) / 9)
    data["gcd"].values[:] *= wave[:, None, None, None] / 1.5
    return data


def scores() -> xr.Dataset:
    runs, methods = 9, ["EqualWeight", "PCGrad", "AdaTask"]
    value = 0.6 + 0.05 * (np.arange(runs) // 3) + 0.02 * np.cos(np.arange(runs) * 2.0)
    return xr.Dataset(
        {"value": (("run", "task", "metric"), np.stack([value, 1.2 - value], axis=1)[..., None])},
        coords={
            "run": [f"r{i}" for i in range(runs)],
            "method": ("run", np.repeat(methods, 3)),
            "task": ["left", "right"],
            "metric": ["auc"],
            "direction": (("task", "metric"), [["higher"], ["lower"]]),
        },
        attrs={"split": "test", "take": "last"},
    )


PARTS = ("correlation", "low", "high")


def conflict_of_tasks() -> xr.Dataset:
    epochs = np.arange(12.0)
    measures = ["pearson", "spearman", "partial", "partial_spearman"]
    table = np.tile([0.81, 0.7, 0.12, 0.1], (2, 1))
    return xr.Dataset(
        {
            "tci": ("point", np.concatenate([0.02 * epochs, 0.3 - 0.03 * epochs])),
            "gcd": ("point", np.concatenate([0.7 + 0.05 * epochs, 0.8 + 0.2 * np.sin(epochs)])),
            **{
                name: (("task", "measure"), table + by) for name, by in (("correlation", 0), ("low", -1), ("high", 0.2))
            },
        },
        coords={
            "task": ["left", "right"],
            "measure": measures,
            "task_of": ("point", np.repeat(np.array(["left", "right"], dtype=object), 12)),
            "epoch": ("point", np.tile(epochs, 2)),
        },
        attrs={"level": 0.95, "interval": "bootstrap of 9 whole runs"},
    )


def ways() -> xr.Dataset:
    point = np.linspace(0, 1, 61)
    first = np.stack([np.stack([1 - 0.5 * point, 2 - 1.5 * point]), np.stack([1 - 0.9 * point, 0.2 + 0.1 * point])])
    second = np.stack([np.stack([1 - 0.4 * point**2, 0.5 + 0 * point]), np.stack([1 - 0.2 * point, 2 - 1.5 * point])])
    front = np.linspace(0, 1, 9)
    return xr.Dataset(
        {
            "first": (("method", "start", "point"), first),
            "second": (("method", "start", "point"), second),
            "front_first": ("place", front),
            "front_second": ("place", (1 - front) ** 2),
        },
        coords={"method": ["EqualWeight", "PUB"]},
        attrs={"names": ["L1", "L2"], "marks": {"★": [0.38, 0.38]}, "note": "Star: the optimum."},
    )


def table() -> Table:
    header = ["method", "error of A ↓\nours", "error of A ↓\npaper", "error of B ↓\nours", "error of B ↓\npaper"]
    rows = [
        ["EqualWeight", "0.512 ± 0.010", "0.520", "0.101 ± 0.004", "0.100"],
        [],
        ["AdaTask", "0.401 ± 0.020", "0.400", "0.152 ± 0.003", "0.150"],
    ]
    return Table(header, rows, "Mean of 3 seeds; ±: 95 % interval (Student's t).", frozenset({(2, 1), (0, 3)}))


SAMPLES: dict[str, Callable[[], Any]] = {
    "rau_buckets": lambda: plot_rau_buckets(shares(), tasks="B"),
    "owned": lambda: plot_owned(owned()),
    "gcd": lambda: plot_gcd(conflicts()),
    "tci_gcd": lambda: plot_tci_gcd(conflict_of_tasks()),
    "scores": lambda: plot_scores(scores()),
    "trajectories": lambda: plot_trajectories(ways()),
    "table": table,
}
"""Name -> something with ``savefig``."""
