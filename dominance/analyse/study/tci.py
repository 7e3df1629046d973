"""How much a task loses by being trained together with others: task conflict intensity (MoCoGrad, Definition 2)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from dominance.analyse.runs import Runs, runs_of
from dominance.analyse.study.about import about, coordinates, directions, labels
from dominance.analyse.study.repeats import difference, partners, require_repeats
from dominance.analyse.study.scores import FINAL, Take, final_scores, logged
from dominance.analyse.study.single import Single, by_task, missing
from dominance.deltas import Directions, declare
from dominance.errors import BadOption, NothingRecorded


def tci(
    joint: Runs,
    single: Single,
    *,
    metric: str | None = None,
    split: str = FINAL,
    take: Take = "last",
    higher_is_better: Directions | None = None,
    level: float = 0.95,
) -> xr.Dataset:
    """Task conflict intensity: TCI(T^k) = R_k(F(T^1, ..., T^K)) - R_k(F(T^k)) (MoCoGrad, Eq. 2).

    The risk R_k is a metric of the task; of one that is better when higher, its negative. So a positive TCI is a
    conflict: the task is worse off than alone. (The paper states the sign both ways; this is the one of its Eq. 2 and
    its Fig. 2, and the opposite of the sentence after Eq. 3.)

    Several runs on a side are repeats with other seeds. If both sides have the same seeds they are compared pair by
    pair, since a seed is the data's split and the order of batches too; else as independent samples (Welch).

    Args:
        joint: a run of several tasks, or repeats of it.
        single: the tasks trained alone: ``single_task_runs(folder)``; {task: run or runs}; or a sequence of such.
        metric: one metric; default all that are declared and that both sides have.
        split, take: which values are the scores, as in :func:`final_scores`.
        higher_is_better: direction of metrics that the runs do not declare: {metric: bool}, or {task: {metric: bool}}.
        level: of the intervals.

    Returns:
        Along ``task`` and ``metric``, with the coordinate ``direction``; NaN where a task has no such metric:

        - ``tci``: mean, in units of the metric; positive is conflict.
        - ``low``, ``high``: interval of t; NaN where one side has a single run.
        - ``relative``: tci / |mean of the single-task runs|; ``relative_low``, ``relative_high`` likewise.
        - ``tci_by_run`` (run, task, metric): of each joint run against its partner, or the mean of all single ones.
        - ``n_joint``, ``n_single``: runs with a score; ``paired``: whether they were compared pair by pair.

        ``attrs`` says which metrics were left out because no direction is known.

    Raises:
        BadOption: the runs differ in more than their seeds, a run in ``single`` has several tasks, or the direction of
            a metric is unknown.
        NothingRecorded: a task has no single-task run, or there are no scores.

    >>> from dominance import tci
    >>> found = tci(joint, single)
    >>> found.tci.sel(task="a", metric="error").item(), found.tci.sel(task="b", metric="auc").item()  # auc rose
    (0.25, -0.125)
    >>> float(found.low.sel(task="a", metric="error").round(3)), bool(found.paired.sel(task="a", metric="error"))
    (-2.927, True)
    """
    named = runs_of(joint)
    require_repeats(named, "joint")
    ours = final_scores(named, split=split, take=take, higher_is_better=higher_is_better)
    theirs = {
        task: final_scores(runs, split=split, take=take, higher_is_better=higher_is_better)
        for task, runs in singles_of(single, named).items()
    }
    chosen, left_out = _metrics(ours, theirs, metric)
    shape = (ours.sizes["task"], len(chosen))
    found = {
        name: np.full(shape, np.nan) for name in ("tci", "low", "high", "relative", "relative_low", "relative_high")
    }
    counts = {name: np.zeros(shape, dtype=np.int64) for name in ("n_joint", "n_single")}
    paired = np.zeros(shape, dtype=bool)
    by_run = np.full((ours.sizes["run"], *shape), np.nan)
    for i, task in enumerate(map(str, ours["task"].values)):
        seeds = [_seeds(ours), _seeds(theirs[task])]
        order = partners(*seeds)
        for j, name in enumerate(chosen):
            if name not in theirs[task]["metric"].values or not str(
                ours["direction"].sel(task=task, metric=name).item()
            ):
                continue
            sign = -1.0 if ours["direction"].sel(task=task, metric=name).item() == "higher" else 1.0
            x = sign * ours["value"].sel(task=task, metric=name).to_numpy()
            y = sign * theirs[task]["value"].sel(task=task, metric=name).to_numpy()
            if np.isnan(x).all() or np.isnan(y).all():
                continue
            compared = difference(x, y, order)
            found["tci"][i, j] = compared.value
            found["low"][i, j], found["high"][i, j] = compared.interval(level)
            alone = abs(float(np.nanmean(y))) or np.nan
            for kind in ("tci", "low", "high"):
                found["relative" if kind == "tci" else f"relative_{kind}"][i, j] = found[kind][i, j] / alone
            by_run[:, i, j] = x - (y[order] if order is not None else np.nanmean(y))
            counts["n_joint"][i, j], counts["n_single"][i, j] = (int((~np.isnan(side)).sum()) for side in (x, y))
            paired[i, j] = order is not None
    dims = ("task", "metric")
    return xr.Dataset(
        {
            **{name: (dims, values) for name, values in found.items()},
            "tci_by_run": (("run", *dims), by_run),
            **{name: (dims, values) for name, values in counts.items()},
            "paired": (dims, paired),
        },
        coords={**ours.sel(metric=chosen).coords},
        attrs={"split": split, "take": take, "level": level, "left_out_no_direction": left_out},
    )


def tci_over_epochs(
    joint: Runs,
    single: Single,
    *,
    metric: str | None = None,
    split: str = "test",
    higher_is_better: Directions | None = None,
) -> xr.Dataset:
    """:func:`tci` after every epoch at which both sides logged the metrics.

    Args:
        joint: runs of several tasks: repeats, or not; each is compared for itself.
        single, metric, higher_is_better: as in :func:`tci`.
        split: whose values are logged every epoch.

    Returns:
        ``tci`` (run, epoch, task, metric), against the partner of the same seed or the mean of the single-task runs,
        and ``relative``, the same by |the single-task value|. NaN where a side has no value, in tasks that a run does
        not have, and for metrics without a direction. ``epoch`` as told by ``Recorder.epoch``. ``attrs`` has the
        epochs that only one side logged.

    Raises:
        BadOption, NothingRecorded: as in :func:`tci`; or there is no epoch that both sides logged.
    """
    named = runs_of(joint)
    alone = singles_of(single, named)
    ours = {name: _series(run, split, higher_is_better) for name, run in named.items()}
    theirs = {
        task: {name: _series(run, split, higher_is_better) for name, run in runs.items()}
        for task, runs in alone.items()
    }
    rows = []
    only_one = 0
    for name, run in named.items():
        for task in map(str, run.attrs["tasks"]):
            chosen = [theirs[task][one] for one in partners_of(run, alone[task])]
            there = pd.concat(chosen, axis=1).mean(axis=1, skipna=False)
            both = pd.concat({"ours": ours[name], "theirs": there}, axis=1, join="outer")
            both = both[both.index.get_level_values("task") == task]
            only_one += int(both.isna().any(axis=1).sum())
            rows.append(both.dropna().assign(run=name))
    table = pd.concat(rows).reset_index()
    if metric is not None:
        table = table[table["metric"] == metric]
    if table.empty:
        raise NothingRecorded(
            f"no epoch has a {metric or 'metric with a direction'} under {split!r} in a joint run and a single one",
            fix="say split= and higher_is_better=, and tell epochs with recorder.epoch(n)",
        )
    table["tci"] = table["ours"] - table["theirs"]
    table["relative"] = table["tci"] / table["theirs"].abs()
    keys = ["run", "epoch", "task", "metric"]
    found = table.set_index(keys)[["tci", "relative"]].to_xarray()
    tasks = list(dict.fromkeys(str(task) for run in named.values() for task in run.attrs["tasks"]))
    found = found.reindex(run=[n for n in named if n in found["run"].values], task=tasks)
    return found.assign_coords(
        run=labels(map(str, found["run"].values)),
        task=labels(tasks),
        metric=labels(map(str, found["metric"].values)),
        **coordinates(about(named[str(name)]) for name in found["run"].values),
    ).assign_attrs(split=split, values_of_one_side_only=only_one)


def singles_of(single: Single, joint: Mapping[str, xr.DataTree]) -> dict[str, dict[str, xr.DataTree]]:
    """task of the joint runs -> its single-task runs by name.

    Raises:
        NothingRecorded: a task has none; says how to make it.
    """
    sorted_by_task = by_task(single)
    found: dict[str, dict[str, xr.DataTree]] = {}
    for run in joint.values():
        for task in map(str, run.attrs["tasks"]):
            if task not in sorted_by_task:
                raise missing(task, about(run), sorted_by_task)
            alone = {f"{task} alone {i}": one for i, one in enumerate(sorted_by_task[task])}
            require_repeats(alone, f"single-task runs of {task}")
            found[task] = alone
    return found


def partners_of(run: xr.DataTree, alone: Mapping[str, xr.DataTree]) -> dict[str, xr.DataTree]:
    """The single-task run with the seed of a joint one; where there is none, or more than one, all of them."""
    seed = about(run).seed
    same = {name: one for name, one in alone.items() if seed is not None and about(one).seed == seed}
    return same if len(same) == 1 else dict(alone)


def _metrics(ours: xr.Dataset, theirs: Mapping[str, xr.Dataset], metric: str | None) -> tuple[list[str], list[str]]:
    """Metrics to compare, and those left out because nobody says which direction is better."""
    both = [str(m) for m in ours["metric"].values if any(m in one["metric"].values for one in theirs.values())]
    if metric is not None and metric not in both:
        raise NothingRecorded(f"there is no {metric} in both runs", fix=f"choose from {', '.join(both) or 'none'}")
    asked = both if metric is None else [metric]
    known = [m for m in asked if (ours["direction"].sel(metric=m) != "").any()]
    if not known:
        raise BadOption(
            f"the runs do not say which direction of {', '.join(asked) or 'a metric'} is better",
            fix=declare(asked[0] if asked else "auc"),
        )
    return known, [m for m in asked if m not in known]


def _seeds(scores: xr.Dataset) -> list[int | None]:
    return [None if np.isnan(seed) else int(seed) for seed in scores["seed"].values]


def _series(run: xr.DataTree, split: str, given: Directions | None) -> pd.Series[Any]:
    """Risk by (task, metric, epoch): the metric, with the sign that makes less better; those without are left out."""
    known = directions(run, given)
    table = logged(run, split)
    table = table[(table["task"] != "") & (table["epoch"] >= 0)].drop_duplicates(
        ["task", "metric", "epoch"], keep="last"
    )
    way = [known.get((task, metric)) for task, metric in zip(table["task"], table["metric"], strict=True)]
    sign = np.array([np.nan if one is None else -1.0 if one else 1.0 for one in way])
    table = table.assign(risk=table["value"] * sign)[~np.isnan(sign)]
    series: pd.Series[Any] = table.set_index(["task", "metric", "epoch"])["risk"].sort_index()
    return series
