from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from plots.overlap import problems

from dominance.errors import BadOption, NothingRecorded
from dominance.plots.tci_gcd import plot_tci_gcd

MEASURES = ["pearson", "spearman", "partial", "partial_spearman"]


def result(tasks=("left", "right"), epochs=6, over="epochs"):
    """Points (task, epoch): GCD 0.5, 0.6 ... and TCI 0, 0.1 ..."""
    task_of = np.repeat(np.array(tasks, dtype=object), epochs)
    number = np.tile(np.arange(epochs, dtype=float), len(tasks))
    values = np.tile([0.9, 0.8, 0.05, np.nan], (len(tasks) + 1, 1))
    return xr.Dataset(
        {
            "tci": ("point", 0.1 * number),
            "gcd": ("point", 0.5 + 0.1 * number),
            **{
                name: (("task", "measure"), values + by)
                for name, by in (("correlation", 0), ("low", -0.3), ("high", 0.3))
            },
        },
        coords={
            "task": [*tasks, "all tasks"],
            "measure": MEASURES,
            "task_of": ("point", task_of),
            "epoch": ("point", number if over == "epochs" else np.full(len(number), np.nan)),
        },
        attrs={"level": 0.9, "interval": "bootstrap of 9 whole runs"},
    )


def test_points_by_third_of_the_training():
    plot = plot_tci_gcd(result(), backend="none")
    assert len(plot.axes) == 2
    line, *points = plot.axes[0].called("line")
    assert line["x"] == [1, 1]
    assert [len(call["x"]) for call in points] == [2, 2, 2]
    np.testing.assert_allclose(points[0]["x"], [0.5, 0.6])
    np.testing.assert_allclose(points[2]["y"], [40, 50])
    words = [call["string"] for call in plot.figure.called("text")]
    assert words.count("r 0.90, partial 0.05 [-0.25, 0.35]") == 2
    assert "90 % interval (bootstrap of 9 whole runs)" in plot.note


def test_over_runs_there_is_no_colour_of_time():
    plot = plot_tci_gcd(result(over="runs"), tasks="right", labeller={"right": "R"}, backend="none")
    assert [len(call["x"]) for call in plot.axes[0].called("line")] == [2, 6]
    words = [call["string"] for call in plot.figure.called("text")]
    assert "r 0.90 [0.60, 1.20]" in words
    assert "R" in words
    assert "partial" not in plot.note


def test_unknown_correlations_say_so():
    data = result()
    data["correlation"][:] = np.nan
    data["low"][:] = np.nan
    words = [call["string"] for call in plot_tci_gcd(data, backend="none").figure.called("text")]
    assert "r unknown, partial unknown" in words


def test_given_axes():
    axes = plot_tci_gcd(result(), backend="none").axes
    for each in axes:
        each.calls.clear()
    plot_tci_gcd(result(), ax=axes, backend="none")
    assert axes[0].called("title")[0]["text"].startswith("left, r 0.90")
    assert [call["label"] for call in axes[0].called("axis_label")] == ["GCD", "relative TCI (%)"]


def test_nothing_runs_into_another():
    data = result([f"a_task_with_a_long_name_{i}" for i in range(7)])
    data["correlation"][:] = -0.9
    for each in (data, result(), result(over="runs"), result(["one"])):
        assert [said for figure in plot_tci_gcd(each).figures for said in problems(figure)] == []


def test_errors():
    with pytest.raises(BadOption, match="holds no TCI and GCD"):
        plot_tci_gcd(result().drop_vars("gcd"), backend="none")
    with pytest.raises(BadOption, match="no task 'up'"):
        plot_tci_gcd(result(), tasks="up", backend="none")
    with pytest.raises(NothingRecorded, match="choose from left, right"):
        plot_tci_gcd(result(), tasks="all tasks", backend="none")
