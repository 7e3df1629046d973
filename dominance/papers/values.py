"""Scores over seeds: means with their 95 % limits, in a table beside what a paper published."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from dominance.analyse.kernels import t_test
from dominance.analyse.study.scores import final_scores
from dominance.errors import NothingRecorded
from dominance.papers.material import Material
from dominance.papers.table import Table

INTERVAL = "± half of the 95 % interval over seeds (Student's t)."
AVERAGE = "Average"
"""What the mean of the tasks is called, as if it were one."""
WEIGHTED = "Weighted"
"""What their weighted mean is called."""


@dataclass(frozen=True)
class Estimate:
    """A mean over seeds.

    Attributes:
        mean: NaN where there is none.
        half: half the width of its 95 % interval (Student's t); NaN from one seed.
        seeds: how many.
    """

    mean: float
    half: float
    seeds: int

    @classmethod
    def of(cls, values: Any) -> Estimate:
        """
        >>> Estimate.of([1.0, 2.0, 3.0])
        Estimate(mean=2.0, half=2.484..., seeds=3)
        """
        known = np.asarray(values, dtype=np.float64)
        known = known[~np.isnan(known)]
        found = t_test.mean(known)
        return cls(found.value, found.interval()[1] - found.value, len(known))

    def text(self, digits: int = 4) -> str:
        """With so many places: "0.6521 ± 0.0102".

        >>> Estimate(0.65213, 0.0102, 3).text(), Estimate(12.0, float("nan"), 1).text(1)
        ('0.6521 ± 0.0102', '12.0')
        """
        if math.isnan(self.mean):
            return "–"
        half = "" if math.isnan(self.half) else f" ± {self.half:.{digits}f}"
        return f"{self.mean:.{digits}f}{half}"


def scores(material: Material, metric: str, **wanted: Any) -> xr.DataArray:
    """The final scores of the runs that ``Material.select`` finds.

    Returns:
        (run, task); ``run`` has the coordinate ``seed``, in increasing order. Single-task runs are joined by seed.

    Raises:
        NothingRecorded: no such run, or none with this metric.
    """
    runs = material.select(**wanted)
    found = final_scores({str(i): run for i, run in enumerate(runs)})
    if metric not in found["metric"]:
        there = ", ".join(map(str, found["metric"].values))
        raise NothingRecorded(f"no run has the metric {metric}; there is {there}", fix="give runs of that benchmark")
    values = found["value"].sel(metric=metric, drop=True).reset_coords(drop=True).assign_coords(seed=found["seed"])
    return values.groupby("seed").mean().rename(seed="run").assign_coords(seed=("run", np.unique(values["seed"])))


def average(scores: xr.Dataset, metric: str) -> xr.DataArray:
    """(seed) mean over the tasks that have this metric, from ``final_scores``; single-task runs are joined by seed."""
    if metric not in scores["metric"]:
        return xr.DataArray(np.empty(0), dims="seed")
    by_seed = scores["value"].sel(metric=metric).groupby(scores["seed"]).mean()
    return by_seed.dropna("task", how="all").mean("task", skipna=False)


def weighted(scores: xr.Dataset, metric: str, weights: Mapping[str, float]) -> xr.DataArray:
    """(seed) mean over tasks with these weights, from ``final_scores``.

    AdaTask's weighted AUC: those of the data's providers, 7 : 3 and 1 : 2 : 3 : 4 (Appendix B).
    """
    by_seed = scores["value"].sel(metric=metric).groupby(scores["seed"]).mean()
    shares = xr.DataArray(list(weights.values()), {"task": list(weights)}, "task")
    return (by_seed.sel(task=list(weights)) * shares).sum("task", skipna=False) / shares.sum()


def with_average(values: xr.DataArray, name: str = AVERAGE) -> xr.DataArray:
    """One more entry along ``task``: the mean of the tasks, of each run."""
    plain = values.assign_coords(task=values["task"].astype(object))
    mean = plain.mean("task", skipna=False).expand_dims(task=np.array([name], dtype=object))
    return xr.concat([plain, mean.transpose(*plain.dims)], dim="task")


def score_table(
    rows: Mapping[str, xr.DataArray],
    published: Mapping[str, Sequence[float]],
    columns: Mapping[str, bool],
    *,
    digits: int = 4,
    note: str = "",
    backend: Any = "matplotlib",
) -> Table:
    """Methods in rows; for each column our value with its interval, and what the paper has.

    Args:
        rows: label -> (run, task).
        published: label -> a number for each column; NaN where the paper has none. Empty: no columns of the paper.
        columns: task -> whether higher is better. The best of ours, and of theirs, stands out.
    """
    estimates = {
        label: [Estimate.of(values.sel(task=task)) if task in values["task"] else _NONE for task in columns]
        for label, values in rows.items()
    }
    header = ["method"]
    body = [[label] for label in rows]
    bold: set[tuple[int, int]] = set()
    for place, (task, higher) in enumerate(columns.items()):
        arrow = "↑" if higher else "↓"
        ours = [estimates[label][place] for label in rows]
        sides: list[tuple[str, list[float], list[str]]] = [
            ("ours", [one.mean for one in ours], [one.text(digits) for one in ours])
        ]
        if published:
            theirs = [float(published[label][place]) if label in published else math.nan for label in rows]
            sides.append(("paper", theirs, ["–" if math.isnan(one) else f"{one:.{digits}f}" for one in theirs]))
        for who, numbers, texts in sides:
            header.append(f"{task} {arrow}\n{who}" if published else f"{task} {arrow}")
            if not np.isnan(numbers).all():
                best = int(np.nanargmax(numbers) if higher else np.nanargmin(numbers))
                bold.add((best, len(header) - 1))
            for row, text in zip(body, texts, strict=True):
                row.append(text)
    counts = sorted({one.seeds for each in estimates.values() for one in each if one.seeds})
    seeds = f"Mean of {' or '.join(map(str, counts))} seeds, {INTERVAL}" if counts and counts[-1] > 1 else "One seed."
    return Table(header, body, " ".join(part for part in (note, seeds) if part), frozenset(bold), backend)


_NONE = Estimate(math.nan, math.nan, 0)
