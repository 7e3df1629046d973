from __future__ import annotations

import numpy as np
import pytest
from plots.overlap import problems
from studies import scored, small_study

from dominance.analyse.study.tci import tci, tci_over_epochs
from dominance.errors import BadOption, NothingRecorded
from dominance.plots.tci import plot_tci


@pytest.fixture(scope="module")
def result():
    study = small_study()
    return tci(study["joint"], study["single"])


def over_epochs(tasks=("a", "b"), runs=2):
    def each(shift, seed, tasks):
        tables = [{task: {"error": 2.0 + shift * epoch} for task in tasks} for epoch in range(4)]
        return scored(tables, split="test", directions={"error": False}, seed=seed)

    joints = {f"r{s}": each(1.0 + s, s, tasks) for s in range(runs)}
    return tci_over_epochs(joints, {task: each(0.0, None, [task]) for task in tasks})


def test_relative_tci_with_its_interval(result):
    plot = plot_tci(result, backend="none")
    (axes,) = plot.axes
    assert [call["value"] for call in axes.called("reference")] == [0.0]
    means = [call["y"][0] for call in axes.called("line") if call["label"] == "mean"]
    np.testing.assert_allclose(means, [100 * 0.25 / 0.375, -100 * 0.125 / 0.625])
    dots = [call["y"] for call in axes.called("line") if call["marker"]]
    np.testing.assert_allclose(dots[0], [0, 100 * 0.5 / 0.375])
    bars = [call["y"] for call in axes.called("line") if call["label"] == "interval"]
    np.testing.assert_allclose(bars[0], 100 * np.array([0.25 - 12.7062 / 4, 0.25 + 12.7062 / 4]) / 0.375, rtol=1e-5)
    assert axes.called("axis")[1]["labels"] == ["a", "b"]
    assert "a, error; b, auc" in plot.note


def test_one_run_has_no_bar():
    study = small_study()
    plot = plot_tci(tci(study["joint"]["joint-0"], study["single"]), tasks="b", backend="none")
    assert not [call for call in plot.axes[0].called("line") if call["label"] == "interval"]
    assert "no interval" in plot.note


def test_two_metrics_of_a_task_are_named():
    run, single = (scored({"a": {"x": v, "y": v}}, directions={"x": True, "y": True}) for v in (1.0, 2.0))
    plot = plot_tci(tci(run, single), backend="none")
    assert plot.axes[0].called("axis")[1]["labels"] == ["a, x", "a, y"]


def test_over_epochs_each_run_and_the_mean():
    plot = plot_tci(over_epochs(), backend="none")
    assert len(plot.axes) == 2
    one, two, mean = (call["y"] for call in plot.axes[0].called("line"))
    np.testing.assert_allclose(one, [0, 50, 100, 150])
    np.testing.assert_allclose(two, [0, 100, 200, 300])
    np.testing.assert_allclose(mean, [0, 75, 150, 225])
    assert plot.axes[0].called("reference")


def test_given_axes(result):
    for data in (result, over_epochs()):
        axes = plot_tci(data, backend="none").axes
        for each in axes:
            each.calls.clear()
        plot_tci(data, ax=axes, backend="none")
        assert axes[0].called("axis_label")[-1]["label"] == "relative TCI (%)"


def test_nothing_runs_into_another(result):
    names = [f"a_task_with_a_long_name_{i}" for i in range(7)]
    for data in (result, over_epochs(), over_epochs(names)):
        assert [said for figure in plot_tci(data).figures for said in problems(figure)] == []
    plot = plot_tci(result, labeller=lambda task: f"{task} that is called by a rather long name")
    assert problems(plot.figure) == []


def test_errors(result):
    with pytest.raises(BadOption, match="holds no TCI"):
        plot_tci(result.drop_vars("tci"), backend="none")
    with pytest.raises(NothingRecorded, match="no TCI to plot"):
        plot_tci(result.where(result.tci > 9), backend="none")
