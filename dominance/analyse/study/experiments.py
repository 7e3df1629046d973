"""The trainings of a study as a table: what each is, how well it did, and how its updates follow its gradients."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import xarray as xr

from dominance.analyse.alignment import alignment
from dominance.analyse.runs import Runs, runs_of
from dominance.analyse.study.about import FACTS, about
from dominance.analyse.study.scores import FINAL, Take, final_scores, known_direction
from dominance.deltas import Directions
from dominance.errors import BadOption

SIMILARITIES = {"sim_task": "mean_sim_task", "sim_shared": "mean_sim_shared", "diff": "diff_of_means"}


def experiments(study: Runs, within: Sequence[str]) -> tuple[Mapping[str, xr.DataTree], pd.DataFrame]:
    """The runs by name, and a table of them: stratum, method, seed, indexed by name.

    A run that does not say its method is one of its own.

    Raises:
        BadOption: ``within`` is no fact of a run.
    """
    named = runs_of(study)
    for fact in within:
        if fact not in FACTS:
            raise BadOption(f"within={fact!r} is unknown", fix=f"choose from {', '.join(FACTS)}")
    rows = []
    for name, run in named.items():
        said = about(run)
        stratum = " ".join(str(getattr(said, fact)) for fact in within).strip() or "study"
        rows.append((stratum, said.method or name, np.nan if said.seed is None else said.seed))
    return named, pd.DataFrame(rows, columns=["stratum", "method", "seed"], index=list(named))


def aligned(
    runs: Mapping[str, xr.DataTree], given: xr.Dataset | Mapping[str, float] | None, wanted: Sequence[str]
) -> pd.DataFrame:
    """The mean similarities and Diff of each run, measured unless they are given.

    Args:
        given: a result of ``alignment`` over these runs, or {run: Diff}.
        wanted: of SIMILARITIES.

    Raises:
        BadOption: what is given lacks a run or a variable.
    """
    columns = [SIMILARITIES[name] for name in wanted]
    if given is None:
        measured = [alignment(run, by="all") for run in runs.values()]
        rows = [[float(one[column]) for column in columns] for one in measured]
    elif isinstance(given, xr.Dataset):
        if "run" not in given.dims or not set(columns) <= set(given):
            raise BadOption("this is no result of alignment over several runs", fix="give alignment(study)")
        _require(runs, map(str, given["run"].values))
        rows = [[float(given[column].sel(run=name)) for column in columns] for name in runs]
    else:
        _require(runs, given)
        rows = [[float(given[name])] for name in runs]
    return pd.DataFrame(rows, columns=list(wanted), index=list(runs))


def average_score(
    runs: Mapping[str, xr.DataTree],
    given: Mapping[str, float] | None,
    metric: str | None,
    split: str = FINAL,
    take: Take = "last",
    higher_is_better: Directions | None = None,
) -> tuple[pd.Series[float], str]:
    """The mean over a run's tasks of one metric, with the sign that makes more better; and the metric's name.

    Raises:
        BadOption: no metric is named and the tasks do not share exactly one; or its direction is unknown.
    """
    if given is not None:
        _require(runs, given)
        return pd.Series({name: float(given[name]) for name in runs}), "score"
    scores = final_scores(runs, split=split, take=take, higher_is_better=higher_is_better)
    everywhere = scores["value"].notnull().all(("run", "task"))
    common = [str(name) for name in scores["metric"].values[everywhere.to_numpy()]]
    if metric is None and len(common) != 1:
        raise BadOption(
            f"the tasks share {len(common) or 'no'} metrics{': ' + ', '.join(common) if common else ''}; there is no"
            " one average",
            fix="say metric=..., or give score={run: number}, higher being better",
        )
    chosen = metric or common[0]
    if chosen not in scores["metric"].values:
        raise BadOption(f"no run has the metric {chosen}", fix=f"choose from {', '.join(common) or 'none'}")
    values = scores["value"].sel(metric=chosen).transpose("run", "task")
    there = [str(task) for task in values["task"].values if values.sel(task=task).notnull().any()]
    ways = {known_direction(scores, task, chosen) for task in there}
    if len(ways) != 1:
        raise BadOption(f"{chosen} has no one direction for all tasks", fix="give score={run: number}")
    sign = 1.0 if ways == {True} else -1.0
    mean = sign * values.sel(task=there).mean("task", skipna=False).to_numpy()
    return pd.Series(mean, index=list(runs)), chosen


def _require(runs: Mapping[str, xr.DataTree], there: object) -> None:
    known = set(there)  # type: ignore[call-overload]
    if missing := [name for name in runs if name not in known]:
        raise BadOption(f"nothing is given for the run {missing[0]}", fix=f"name all runs: {', '.join(runs)}")
