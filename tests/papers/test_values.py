"""Means over seeds with their limits, and tables of them."""

from __future__ import annotations

import math

import numpy as np
import pytest
import xarray as xr
from papers.made import trained
from scipy import stats

from dominance.errors import NothingRecorded
from dominance.papers.material import Material
from dominance.papers.paired import gain, points, seeds, sure
from dominance.papers.values import Estimate, score_table, scores, weighted, with_average


def values(*rows, seeds=None, tasks=("A", "B")) -> xr.DataArray:
    seeds = range(len(rows)) if seeds is None else seeds
    return xr.DataArray(np.array(rows, float), {"seed": ("run", list(seeds)), "task": list(tasks)}, ("run", "task"))


def test_the_interval_is_students():
    x = np.array([0.5, 0.7, 0.65, 0.2])
    low, high = stats.t.interval(0.95, 3, loc=x.mean(), scale=stats.sem(x))
    found = Estimate.of([*x, math.nan])
    assert found.seeds == 4
    np.testing.assert_allclose([found.mean - found.half, found.mean + found.half], [low, high], rtol=1e-9)
    assert Estimate.of([1.0]).text(2) == "1.00"
    assert Estimate.of([]).text() == "–"


def test_scores_of_single_task_runs_are_joined_by_seed(tmp_path):
    paths = [
        trained(tmp_path / f"{seed}" / task, method="stl", seed=seed, scores={task: {"error": value}})
        for seed, task, value in ((1, "A", 0.1), (1, "B", 0.2), (0, "A", 0.3), (0, "B", 0.4))
    ]
    found = scores(Material(paths), "error", method="stl")
    assert found["seed"].values.tolist() == [0, 1]
    np.testing.assert_array_equal(found.sel(task=["A", "B"]), [[0.3, 0.4], [0.1, 0.2]])
    with pytest.raises(NothingRecorded, match="no run has the metric auc; there is error"):
        scores(Material(paths), "auc", method="stl")


def test_an_average_of_a_task_that_is_missing_is_not_known():
    found = with_average(values([0.25, 0.75], [0.5, np.nan]))
    np.testing.assert_array_equal(found.sel(task="Average"), [0.5, np.nan])


def test_ours_beside_theirs_and_the_best_of_each_stands_out():
    rows = {"one": values([0.1, 0.5], [0.3, 0.5]), "two": values([0.4, 0.9], [0.4, 0.9])}
    made = score_table(rows, {"one": (0.5, 0.1), "two": (0.4, math.nan)}, {"A": False, "B": True}, digits=1)
    assert list(made.header) == ["method", "A ↓\nours", "A ↓\npaper", "B ↑\nours", "B ↑\npaper"]
    assert [row[2:] for row in made.rows] == [["0.5", "0.5 ± 0.0", "0.1"], ["0.4", "0.9 ± 0.0", "–"]]
    assert made.rows[0][1] == "0.2 ± 1.3"
    assert made.bold == {(0, 1), (1, 2), (1, 3), (0, 4)}
    assert "Mean of 2 seeds" in made.note


def test_a_weighted_mean_of_the_tasks():
    """AdaTask, Table 3: 0.7 like + 0.3 finish; a task that is missing is not left out."""
    dims = ("run", "task", "metric")
    data = xr.Dataset(
        {"value": (dims, [[[0.9173], [0.7437]], [[0.5], [np.nan]]])},
        {"task": ["like", "finish"], "metric": ["auc"], "seed": ("run", [0, 1])},
    )
    found = weighted(data, "auc", {"like": 7.0, "finish": 3.0})
    np.testing.assert_allclose(found, [0.8652, np.nan], atol=5e-5)


def test_a_difference_of_one_seed_is_a_difference_and_never_sure():
    one, other = (xr.DataArray([value], {"seed": [0]}, "seed") for value in (0.5, 0.25))
    found = gain(one, other)
    assert (found.value, seeds(found), sure(found)) == (0.25, 1, False)
    assert points(found) == "+25.00 points (1 seed)"
