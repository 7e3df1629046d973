from __future__ import annotations

import numpy as np
import pytest
from plots.overlap import problems
from studies import scored, small_study

from dominance.analyse.study.scores import final_scores
from dominance.errors import BadOption, NothingRecorded
from dominance.plots.scores import plot_scores


def study(methods=("equal-weight", "mgda"), seeds=3):
    return {
        f"{method}-{seed}": scored(
            {"left": {"accuracy": 0.5 + 0.1 * i + 0.01 * seed}, "right": {"error": 1.0 + seed}},
            directions={"accuracy": True},
            method=method,
            seed=seed,
        )
        for i, method in enumerate(methods)
        for seed in range(seeds)
    }


def dots(axes):
    return [call for call in axes.called("line") if call["marker"]]


def test_every_run_its_mean_and_its_interval():
    plot = plot_scores(study(), backend="none")
    assert len(plot.axes) == 2
    left = plot.axes[0]
    np.testing.assert_allclose(dots(left)[0]["y"], [0.50, 0.51, 0.52])
    np.testing.assert_allclose(dots(left)[1]["y"], [0.60, 0.61, 0.62])
    means = [call["y"][0] for call in left.called("line") if call["label"] == "mean"]
    np.testing.assert_allclose(means, [0.51, 0.61])
    low, high = next(call["y"] for call in left.called("line") if call["label"] == "interval")
    assert (low, high) == (
        pytest.approx(0.51 - 4.302653 * 0.01 / 3**0.5),
        pytest.approx(0.51 + 4.302653 * 0.01 / 3**0.5),
    )
    titles = [call["string"] for call in plot.figure.called("text")]
    assert {"left, accuracy ↑", "right, error"} <= set(titles)
    assert left.called("axis")[1]["labels"] == ["equal-weight", "mgda"]


def test_results_tasks_and_names():
    plot = plot_scores(final_scores(study()), tasks="right", labeller={"mgda": "MGDA", "right": "R"}, backend="none")
    assert len(plot.axes) == 1
    assert plot.axes[0].called("axis")[1]["labels"] == ["equal-weight", "MGDA"]
    assert "R, error" in [call["string"] for call in plot.figure.called("text")]


def test_runs_without_a_method_stand_for_themselves():
    plot = plot_scores({"a": scored({"t": {"x": 1.0}}), "b": scored({"t": {"x": 2.0}})}, backend="none")
    assert plot.axes[0].called("axis")[1]["labels"] == ["a", "b"]
    assert "Student" not in plot.note
    assert not [call for call in plot.axes[0].called("line") if call["label"] == "interval"]


def test_given_axes():
    axes = plot_scores(study(), backend="none").axes
    for each in axes:
        each.calls.clear()
    plot_scores(study(), ax=axes, backend="none")
    assert axes[1].called("title")[0]["text"] == "right, error"


def test_nothing_runs_into_another():
    methods = [f"a_long_method_name_{i}" for i in range(9)]
    for plot in (plot_scores(study(methods)), plot_scores(study()), plot_scores(small_study()["joint"])):
        assert [said for figure in plot.figures for said in problems(figure)] == []


def test_errors():
    with pytest.raises(BadOption, match="no scores of runs"):
        plot_scores(final_scores(study()).drop_vars("value"), backend="none")
    with pytest.raises(BadOption, match="no task 'up'"):
        plot_scores(study(), tasks="up", backend="none")
    with pytest.raises(NothingRecorded, match="no score to plot"):
        plot_scores({"a": scored({"t": {"x": np.nan}})}, backend="none")
