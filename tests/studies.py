"""Runs that hold scores: what the tests of studies are made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np
import xarray as xr
from runs import make_run

Table = Mapping[str, Mapping[str, float]]


def scored(
    scores: Table | Sequence[Table],
    *,
    split: str = "final",
    directions: Mapping[str, bool] | None = None,
    gradients: Any = None,
    epochs: Sequence[int] | None = None,
    **attrs: Any,
) -> xr.DataTree:
    """A run of these tasks, as ``dominance train`` leaves it, with one step an epoch; without ``gradients`` it holds
    nothing but its attributes and scores, and is quickly made.

    Args:
        scores: {task: {metric: value}}, or one such table for each epoch.
        directions: higher is better, by metric; None: the run declares none.
        gradients: (epoch, task, coord).
        epochs: their numbers; default 0, 1, 2...
        attrs: benchmark, method, architecture and seed.
    """
    each = [scores] if isinstance(scores, Mapping) else list(scores)
    tasks = list(each[0])
    numbers = list(range(len(each))) if epochs is None else list(epochs)
    events = [
        {"step": i, "epoch": numbers[i], "task": task, "split": split, "name": metric, "value": value}
        for i, table in enumerate(each)
        for task, metrics in table.items()
        for metric, value in metrics.items()
    ]
    if gradients is None:
        columns = {
            "step": "event_step",
            "epoch": "event_epoch",
            "task": "event_task",
            "split": "split",
            "value": "value",
        }
        table = {called: ("event", np.array([e[name] for e in events])) for name, called in columns.items()}
        table["metric"] = ("event", np.array([event["name"] for event in events]))
        run = xr.DataTree.from_dict({"/": xr.Dataset(attrs={"tasks": tasks}), "/metric": xr.Dataset(table)})
    else:
        gradients = np.asarray(gradients, dtype=float)
        run = make_run(-1e-3 * gradients, gradients, tasks=tasks, metrics=events)
        run["epoch"][:] = numbers
    seed = attrs.pop("seed", None)
    if directions is not None:
        run.attrs["metrics"] = {
            task: {metric: "higher" if directions[metric] else "lower" for metric in metrics if metric in directions}
            for task, metrics in each[0].items()
        }
    if seed is not None:
        run.attrs["training"] = {"seed": seed}
    run.attrs |= attrs
    run.attrs["path"] = "-".join(str(part) for part in (attrs.get("method", "run"), *tasks, seed) if part is not None)
    return run


DIRECTIONS = {"error": False, "auc": True}


@cache
def small_study() -> dict[str, Any]:
    """``joint``: tasks a (error 0.5, 0.75) and b (auc 0.75, 0.75) under seeds 0 and 1; ``single``: each alone (error
    0.5 and 0.25, auc 0.5 and 0.75); ``alone``: the run of a alone under seed 0."""
    same: dict[str, Any] = {"directions": DIRECTIONS, "benchmark": "toy", "architecture": "hps"}
    errors = ([0.5, 0.75], [0.5, 0.25])
    aucs = ([0.75, 0.75], [0.5, 0.75])
    joint = {
        f"joint-{seed}": scored(
            {"a": {"error": errors[0][seed]}, "b": {"auc": aucs[0][seed]}}, method="equal-weight", seed=seed, **same
        )
        for seed in (0, 1)
    }
    single = {
        "a": [scored({"a": {"error": errors[1][s]}}, method="stl", seed=s, **same) for s in (0, 1)],
        "b": [scored({"b": {"auc": aucs[1][s]}}, method="stl", seed=s, **same) for s in (0, 1)],
    }
    return {"joint": joint, "single": single, "alone": single["a"][0]}
