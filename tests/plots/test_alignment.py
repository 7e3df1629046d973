"""What is drawn for gradient and update."""

from __future__ import annotations

import numpy as np
import pytest
from plots.overlap import problems
from runs import make_run, planted_run

from dominance.analyse.alignment import alignment
from dominance.errors import BadOption, NothingRecorded
from dominance.plots.alignment import plot_alignment

LAYERS = {"x": 6, "head_a": 4, "head_b": 4}
PRIVATE = {"head_a": "a", "head_b": "b"}


def follows(steps=30):
    rng = np.random.default_rng(0)
    g = rng.standard_normal((steps, 2, 14))
    g[:, 1, 6:10] = g[:, 0, 10:] = 0
    return make_run(-np.cbrt(g), g, layers=LAYERS, private=PRIVATE)


def dark(axes):
    return [call["y"] for call in axes.called("line") if call["label"] == "mean"]


def test_both_similarities_and_diff():
    data = alignment(follows())
    plot = plot_alignment(data, backend="none")
    sims, diffs = plot.axes
    task, shared = dark(sims)
    np.testing.assert_allclose(task, data.sim_task)
    np.testing.assert_allclose(shared, data.sim_shared)
    np.testing.assert_allclose(dark(diffs)[0], data["diff"])
    entries = plot.figures[0].called("legend")[0]["entries"]
    assert [entry.label for entry in entries] == ["task-specific parameters", "shared parameters"]


def test_a_long_run_is_smoothed_and_diff_is_that_of_the_means():
    data = alignment(follows(100))
    sims, diffs = plot_alignment(data, backend="none").axes
    ones = np.ones(5) / 5
    a, b = (np.convolve(data[name], ones, "valid") for name in ("sim_task", "sim_shared"))
    np.testing.assert_allclose(dark(sims)[0][2:-2], a)
    np.testing.assert_allclose(dark(diffs)[0][2:-2], 2 * abs(a - b) / abs(a + b))
    pale = [call["y"] for call in diffs.called("line") if call["label"] == "raw"]
    np.testing.assert_allclose(pale[0], data["diff"])


def test_tasks_apart():
    data = alignment(follows())
    sims, _ = plot_alignment(data, tasks=["b"], backend="none").axes
    of_b, shared = dark(sims)
    np.testing.assert_allclose(of_b, data.sim_task_of.sel(task="b"))
    np.testing.assert_allclose(shared, data.sim_shared)


def test_without_task_specific_parameters_there_is_no_diff():
    g = np.random.default_rng(0).standard_normal((6, 2, 4))
    plot = plot_alignment(make_run(-g, g), backend="none")
    assert len(plot.axes) == 1
    assert "No task-specific parameters with a gradient." in plot.note


def test_a_peak_of_diff_does_not_set_the_axis():
    data = alignment(follows(200))
    data["diff"][7], data["diff"][8] = 1e6, np.inf
    plot = plot_alignment(data, backend="none")
    assert plot.axes[1].called("axis")[1]["limits"][1] < 100
    assert "Steps with a Diff above the axis: " in plot.note
    assert any("above the axis" in call["string"] for call in plot.figures[0].called("text"))


def test_nor_does_it_in_a_short_run():
    data = alignment(follows(40))
    data["diff"][24] = 600
    plot = plot_alignment(data, backend="none")
    assert plot.axes[1].called("axis")[1]["limits"][1] < 20
    assert "Steps with a Diff above the axis: " in plot.note


def test_bars_of_layers():
    data = alignment(follows())
    plot = plot_alignment(data, layers="each", backend="none")
    (bars,) = plot.axes[0].called("bars")
    mean = data.sim.mean("step").values
    np.testing.assert_allclose(bars["shares"], [[0, mean[0]], [mean[1], 0], [mean[2], 0]])
    axes = plot_alignment(data, layers="head*", ax=plot.axes[0], backend="none").axes[0]
    assert axes.called("axis")[-1]["labels"] == ["head_a", "head_b"]
    with pytest.raises(BadOption, match="bars are for layers"):
        plot_alignment(data, layers="each", tasks="a", backend="none")


@pytest.mark.parametrize("options", [{}, {"layers": "each"}, {"tasks": ["price", "rating"]}])
def test_nothing_overlaps(options):
    assert problems(plot_alignment(planted_run(steps=60), **options).figure) == []


def test_given_axes():
    axes = plot_alignment(follows(), backend="none").axes
    for each in axes:
        each.calls.clear()
    plot_alignment(follows(), ax=axes, backend="none")
    assert axes[0].called("title")[0]["text"] == "similarity of gradient and update"
    with pytest.raises(BadOption, match="2 panels do not go into 1 axes"):
        plot_alignment(follows(), ax=axes[0], backend="none")


def test_what_cannot_be_drawn():
    still = make_run(np.zeros((3, 2, 4)), np.ones((3, 2, 4)))
    for layers in (None, "each"):
        with pytest.raises(NothingRecorded, match="did a parameter with a gradient move"):
            plot_alignment(still, layers=layers, backend="none")
    with pytest.raises(BadOption, match="shows one run"):
        plot_alignment(alignment({"a": follows(), "b": follows()}), backend="none")
