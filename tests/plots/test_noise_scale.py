"""What is drawn for the noise in the tasks' gradients."""

from __future__ import annotations

import numpy as np
import pytest
from plots.overlap import problems
from runs import make_run

from dominance.analyse.noise_scale import noise_scale
from dominance.errors import BadOption, NothingRecorded
from dominance.plots.noise_scale import plot_noise_scale


def noisy(tasks="ab", signal=1.0, steps=60, layers=None):
    rng = np.random.default_rng(0)
    layers = layers or {"x": 10, "y": 10}
    g = rng.standard_normal((steps, len(tasks), sum(layers.values())))
    g += signal * np.arange(len(tasks))[:, None]
    return make_run(g, g, tasks=list(tasks), layers=layers)


def test_points_and_intervals_of_each_task():
    data = noise_scale(noisy())
    plot = plot_noise_scale(data, backend="none")
    (axes,) = plot.axes
    x, y = (call for call in axes.called("axis"))
    assert x["log"]
    assert y["labels"] == ["x", "y", "all shared"]
    points = {call["colour"]: call for call in axes.called("line") if call["marker"]}
    of_b = list(points.values())[1]
    np.testing.assert_allclose(of_b["x"], data.noise_scale.sel(task="b"))
    np.testing.assert_allclose(np.diff(of_b["y"]), 1)
    spans = [call["x"] for call in axes.called("line") if call["label"] == "interval" and call["colour"] != "#0072b2"]
    snr, error = data.snr.sel(task="b").values, data.snr_se.sel(task="b").values
    np.testing.assert_allclose(spans, np.stack([1 / (snr + 1.96 * error), 1 / (snr - 1.96 * error)], axis=1))


def test_no_signal_is_infinite_and_no_gradient_is_nothing():
    g = np.zeros((20, 3, 2))
    g[:, 0] = 1 + 0.1 * np.random.default_rng(0).standard_normal((20, 2))
    g[::2, 1], g[1::2, 1] = 1, -1
    plot = plot_noise_scale(make_run(g, g), backend="none")
    (axes,) = plot.axes
    x = axes.called("axis")[0]
    assert x["labels"][-1] == "∞"
    of_a, of_b, of_c = [call["x"] for call in axes.called("line") if call["marker"]]
    assert (of_a < 1).all()
    assert (of_b == x["limits"][1]).all()
    assert len(of_c) == 0


def test_many_tasks_are_a_table():
    tasks = [f"task{i}" for i in range(6)]
    data = noise_scale(noisy(tasks))
    data["noise_scale"].loc[{"task": "task0", "layer": "x"}] = np.inf
    plot = plot_noise_scale(data, backend="none")
    (cells,) = plot.axes[0].called("cells")
    assert np.shape(cells["values"]) == (3, 6)
    assert cells["texts"][0][0] == "∞"
    np.testing.assert_allclose(cells["values"][1][5], np.log10(data.noise_scale.sel(layer="y", task="task5")))


def test_tasks_layers_and_names():
    plot = plot_noise_scale(noisy("abc"), tasks=["c"], layers=["y", "all*"], labeller={"y": "last"}, backend="none")
    assert plot.axes[0].called("axis")[1]["labels"] == ["last", "all shared"]
    assert plot.data.task.values.tolist() == ["c"]
    with pytest.raises(BadOption, match="no shared layer fits"):
        plot_noise_scale(noisy(), layers="z", backend="none")


def test_nothing_overlaps():
    layers = {f"encoder.layers.{i}.attention": 4 for i in range(9)}
    for run in (noisy(), noisy("abcd", 0.1, layers=layers), noisy("abcdef", 0.1, layers=layers)):
        plot = plot_noise_scale(run)
        assert [problem for figure in plot.figures for problem in problems(figure)] == []


def test_given_axes():
    axes = plot_noise_scale(noisy(), backend="none").axes[0]
    axes.calls.clear()
    plot_noise_scale(noisy("abcdef"), ax=axes, backend="none")
    assert len([call for call in axes.called("line") if call["marker"]]) == 6
    assert axes.called("legend")


def test_what_cannot_be_drawn():
    with pytest.raises(NothingRecorded, match="no task has a gradient"):
        plot_noise_scale(make_run(np.zeros((4, 2, 3))), backend="none")
    with pytest.raises(BadOption, match="shows one run"):
        plot_noise_scale(noise_scale({"a": noisy(steps=4), "b": noisy(steps=4)}), backend="none")
