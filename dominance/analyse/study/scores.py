"""The scores that runs came to: from their tables of metrics to one number a run, task and metric."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pandas as pd
import xarray as xr

from dominance.analyse.runs import Runs, metrics_of
from dominance.analyse.study.about import About, about, coordinates, directions, labels
from dominance.deltas import Directions, declare
from dominance.errors import BadOption, NothingRecorded
from dominance.schema import EVALUATED_LOSS
from dominance.store.outline import counted

FINAL = "final"
"""The split under which ``dominance train`` logs the scores that count."""

Take = Literal["last", "best"] | int


def final_scores(
    runs: Runs, *, split: str = FINAL, take: Take = "last", higher_is_better: Directions | None = None
) -> xr.Dataset:
    """The scores of runs: one number for each run, task and metric.

    ``dominance train`` logs the scores that count under the split "final". Of another run, whose script called
    ``Recorder.log_metrics``, say which split is meant and which of its values to ``take``.

    Args:
        runs: a run, or several (a mapping, a sequence, or a tree of ``open_runs``).
        split: of the metrics.
        take: "last" value; "best" one by the metric's direction (chosen on ``split`` itself, and so too good where that
            is the test data); or a number n: the mean of the last n values.
        higher_is_better: direction of metrics that the runs do not declare: {metric: bool}, or {task: {metric: bool}}.

    Returns:
        ``value`` (run, task, metric), NaN where a run has none, with the coordinates ``direction`` (task, metric):
        "higher", "lower", or "" where nobody says; and along ``run`` ``benchmark``, ``method``, ``architecture``
        ("" unknown) and ``seed`` (NaN unknown). ``attrs``: split, take, and ``events_without_task``, the logged values
        that belong to no task.

    Raises:
        BadOption: ``take`` is none of these, or a direction is unknown ("best") or contradictory.
        NothingRecorded: a run has no metric under ``split``.

    >>> from dominance import final_scores
    >>> final_scores(joint).value.sel(task="a", metric="error").values
    array([0.5 , 0.75])
    """
    if not (take in ("last", "best") or (isinstance(take, int) and not isinstance(take, bool) and take >= 1)):
        raise BadOption(
            f"take={take!r} is unknown", fix='say "last", "best", or over how many of the last ones to average'
        )
    named = metrics_of(runs)
    abouts: list[About] = []
    found: dict[tuple[str, str, str], float] = {}
    ways: dict[tuple[str, str], bool] = {}
    unnamed = 0
    for name, run in named.items():
        abouts.append(about(run))
        known = directions(run, higher_is_better)
        table = logged(run, split)
        unnamed += int((table["task"] == "").sum())
        for (task, metric), values in table[table["task"] != ""].groupby(["task", "metric"], sort=False)["value"]:
            found[name, str(task), str(metric)] = _taken(values.to_numpy(), take, known, str(task), str(metric))
        for key, way in known.items():
            if ways.setdefault(key, way) != way:
                raise BadOption(
                    f"{name} declares {key[1]} of {key[0]} the other way round than another run",
                    fix="study runs of one benchmark together",
                )
    tasks, metrics = (list(dict.fromkeys(key[i] for key in found)) for i in (1, 2))
    value = np.full((len(named), len(tasks), len(metrics)), np.nan)
    place = [{name: i for i, name in enumerate(names)} for names in (named, tasks, metrics)]
    for (run_name, task, metric), score in found.items():
        value[place[0][run_name], place[1][task], place[2][metric]] = score
    said = [[_word(ways.get((task, metric))) for metric in metrics] for task in tasks]
    return xr.Dataset(
        {"value": (("run", "task", "metric"), value)},
        coords={
            "run": labels(named),
            "task": labels(tasks),
            "metric": labels(metrics),
            "direction": (("task", "metric"), np.array(said, dtype=object).reshape(len(tasks), len(metrics))),
            **coordinates(abouts),
        },
        attrs={"split": split, "take": take, "events_without_task": unnamed},
    )


def logged(run: xr.DataTree, split: str) -> pd.DataFrame:
    """What a run logged under a split, in order: columns task, metric, epoch, step, value.

    Of a metric logged twice at one step the later value counts; steps that a resumed run went over again do not.

    Raises:
        NothingRecorded: nothing was.
    """
    where = run.attrs.get("path", "run")
    table = events(run)
    chosen = table[table["split"] == split]
    if chosen.empty:
        there = ", ".join(sorted(set(table["split"]))) or "none at all"
        raise NothingRecorded(
            f"{where}: no metric under the split {split!r}; there is {there}",
            fix="say split=..., or log the scores: dominance.log(task=..., split=..., name=value)",
        )
    return chosen.drop(columns="split").drop_duplicates(["task", "metric", "epoch", "step"], keep="last")


def events(run: xr.DataTree) -> pd.DataFrame:
    """All that a run logged and did not go over again: columns task, metric, split, epoch, step, value.

    Losses that the script computed without gradients are left out where it says itself how well a task does, on other
    data than those of the training.
    """
    if "metric" not in run.children:
        return pd.DataFrame({name: [] for name in ("task", "metric", "split", "epoch", "step", "value")})
    group = run["metric"].to_dataset()
    names = {"task": "event_task", "metric": "metric", "split": "split", "epoch": "event_epoch", "step": "event_step"}
    table = pd.DataFrame({name: group[called].to_numpy() for name, called in names.items()})
    table["value"] = group["value"].to_numpy().astype(np.float64)
    table["task"] = ["" if task is None else str(task) for task in table["task"]]
    table = table[counted(table["step"].to_numpy())]
    own = table["metric"] != EVALUATED_LOSS
    return table[own] if (own & (table["task"] != "") & (table["split"] != "train")).any() else table


def tables(scores: xr.Dataset) -> dict[str, dict[str, dict[str, float]]]:
    """run -> task -> metric -> value, of what is known."""
    value = scores["value"].transpose("run", "task", "metric")
    return {
        str(run): {
            str(task): {str(m): float(v) for m, v in zip(value["metric"].values, row, strict=True) if not np.isnan(v)}
            for task, row in zip(value["task"].values, rows, strict=True)
        }
        for run, rows in zip(value["run"].values, value.values, strict=True)
    }


def known_direction(scores: xr.Dataset, task: str, metric: str) -> bool:
    """Whether higher is better.

    Raises:
        BadOption: nobody says.
    """
    way = str(scores["direction"].sel(task=task, metric=metric).item())
    if not way:
        raise _undeclared(task, metric)
    return way == "higher"


def _taken(values: np.ndarray, take: Take, known: dict[tuple[str, str], bool], task: str, metric: str) -> float:
    if take == "last":
        return float(values[-1])
    if take == "best":
        if (task, metric) not in known:
            raise _undeclared(task, metric)
        finite = values[~np.isnan(values)]
        return float((finite.max() if known[task, metric] else finite.min()) if len(finite) else np.nan)
    if len(values) < int(take):
        raise BadOption(
            f"{metric} of {task} was logged {len(values)} times, not {take}", fix=f"give take={len(values)}"
        )
    return float(values[-int(take) :].mean())


def _undeclared(task: str, metric: str) -> BadOption:
    return BadOption(
        f"the run does not say whether a higher or a lower {metric} of {task} is better",
        fix=declare(metric),
    )


def _word(way: bool | None) -> str:
    return "" if way is None else "higher" if way else "lower"
