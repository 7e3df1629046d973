"""Points of a study: how much a task loses against how much its gradient conflicts with the others'."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import pandas as pd
import xarray as xr

from dominance.analyse.conflict import gcd
from dominance.analyse.study.about import directions
from dominance.analyse.study.scores import FINAL
from dominance.analyse.study.single import Single
from dominance.analyse.study.tci import partners_of, singles_of, tci, tci_over_epochs
from dominance.deltas import Directions
from dominance.errors import NothingRecorded

COLUMNS = ["run", "task", "epoch", "step", "tci", "gcd", "metric"]


def over_epochs(
    joint: Mapping[str, xr.DataTree], single: Single, metric: str | None, split: str | None, given: Directions | None
) -> tuple[pd.DataFrame, int]:
    """A point for each run, task and epoch: relative TCI after the epoch, mean GCD of the task over its steps.

    Returns:
        the points, and how many were left out because one of the two is not known.
    """
    conflicts = tci_over_epochs(joint, single, metric=metric, split=split or "test", higher_is_better=given)
    left_out, found = 0, []
    for name in map(str, conflicts["run"].values):
        run = joint[name]
        degrees = _degrees(run)
        epochs = _epoch_of(run, degrees.index)
        by_epoch = degrees.groupby(epochs).mean()
        steps = pd.Series(degrees.index, index=degrees.index).groupby(epochs).mean()
        for task in map(str, run.attrs["tasks"]):
            of_task = conflicts["relative"].sel(run=name, task=task).transpose("epoch", "metric")
            values = pd.DataFrame(of_task.to_numpy(), of_task["epoch"].values, list(map(str, of_task["metric"].values)))
            chosen = _main(run, task, [str(m) for m in values.columns if values[m].notna().any()], given)
            if chosen is None:
                continue
            rows = pd.DataFrame({"tci": values[chosen], "gcd": by_epoch[task], "step": steps}).rename_axis("epoch")
            known = rows.dropna()
            left_out += len(rows) - len(known)
            found.append(known.reset_index().assign(run=name, task=task, metric=chosen))
    return _joined(found), left_out


def over_runs(
    joint: Mapping[str, xr.DataTree], single: Single, metric: str | None, split: str | None, given: Directions | None
) -> tuple[pd.DataFrame, int]:
    """A point for each run and task: relative TCI of its final scores, mean GCD over all its steps."""
    alone = singles_of(single, joint)
    left_out, rows = 0, []
    for name, run in joint.items():
        partners = {task: list(partners_of(run, alone[task]).values()) for task in map(str, run.attrs["tasks"])}
        values = tci({name: run}, partners, metric=metric, split=split or FINAL, higher_is_better=given)["relative"]
        degrees = _degrees(run).mean()
        for task in map(str, values["task"].values):
            of_task = values.sel(task=task).dropna("metric").to_pandas()
            chosen = _main(run, task, map(str, of_task.index), given)
            if chosen is None or np.isnan(degrees[task]):
                left_out += 1
                continue
            rows.append([name, task, np.nan, np.nan, of_task[chosen], degrees[task], chosen])
    return _joined([pd.DataFrame(rows, columns=COLUMNS)] if rows else []), left_out


def _degrees(run: xr.DataTree) -> pd.DataFrame:
    """Mean GCD of each task with the others, in the whole trunk: a row a step, a column a task."""
    found = gcd(run, by="all")["gcd"].isel(layer=0).mean("task_other").transpose("step", "task")
    return pd.DataFrame(found.to_numpy(), index=found["step"].to_numpy(), columns=list(map(str, found["task"].values)))


def _epoch_of(run: xr.DataTree, steps: pd.Index[int]) -> np.ndarray:
    """The epoch of each of these recorded steps; of a step recorded twice, that of the later row."""
    known = pd.Series(run["epoch"].to_numpy(), index=run["step"].to_numpy())
    return known[~known.index.duplicated(keep="last")].reindex(steps).to_numpy()


def _main(run: xr.DataTree, task: str, there: Iterable[str], given: Directions | None) -> str | None:
    """The first metric that the run declares for the task, of those that are there."""
    metrics = list(there)
    declared = [metric for name, metric in directions(run, given) if name == task]
    return next((metric for metric in declared if metric in metrics), None)


def _joined(parts: list[pd.DataFrame]) -> pd.DataFrame:
    if not parts or not sum(map(len, parts)):
        raise NothingRecorded(
            "no run has both a TCI and a gradient conflict degree at the same time",
            fix="record gradients of several tasks, and log the metrics of every epoch after recorder.epoch(n)",
        )
    return pd.concat(parts, ignore_index=True)[COLUMNS]
