"""What is drawn for the geometry of the gradients."""

from __future__ import annotations

import numpy as np
import pytest
from plots.overlap import problems
from runs import make_run, planted_run

from dominance.analyse.geometry import geometry
from dominance.errors import BadOption, NothingRecorded
from dominance.plots.geometry import plot_geometry

MEASURES = ["cosine", "magnitude_similarity", "curvature_bound", "condition_number"]


def test_a_panel_for_each_measure_and_a_line_for_each_pair():
    run = planted_run(steps=10, tasks=("a", "b", "c"))
    data = geometry(run, by="all")
    plot = plot_geometry(run, backend="none")
    for axes, name in zip(plot.axes, MEASURES, strict=True):
        lines = [call["y"] for call in axes.called("line") if call["label"] == name]
        if name == "condition_number":
            np.testing.assert_allclose(lines, [data.condition_number.isel(layer=0)])
            continue
        pairs = [("a", "b"), ("a", "c"), ("b", "c")]
        truth = [data[name].sel(task=one, task_other=other).isel(layer=0) for one, other in pairs]
        np.testing.assert_allclose(lines, truth)
    assert [bool(axes.called("axis")[1]["log"]) for axes in plot.axes] == [False, False, True, True]


def test_means_on_a_logarithmic_axis_are_of_logarithms():
    data = geometry(planted_run(steps=100), by="all")
    data["condition_number"][:, 0] = np.geomspace(1, 1e4, 100)
    axes = plot_geometry(data, backend="none").axes[3]
    (line,) = axes.called("line")
    np.testing.assert_allclose(line["y"][2:-2], np.geomspace(1, 1e4, 100)[2:-2])
    low, high = axes.called("axis")[1]["limits"]
    assert low <= 1
    assert high >= 1e4


def test_many_pairs_become_their_range():
    data = geometry(planted_run(steps=10, tasks="abcde"), by="all")
    axes = plot_geometry(data, backend="none").axes[0]
    (band,) = axes.called("band")
    (line,) = axes.called("line")
    values = data.cosine.isel(layer=0).values.reshape(10, 25)
    np.testing.assert_allclose(band["low"], np.nanmin(values, axis=1))
    np.testing.assert_allclose(line["y"], np.nanmedian(values, axis=1))
    np.testing.assert_allclose(band["high"], np.nanmax(values, axis=1))


def test_a_table_of_layers():
    run = planted_run(steps=10)
    plot = plot_geometry(run, layers="each", backend="none")
    assert plot.axes.shape == (2, 4)
    lines = [axes.called("line")[0]["y"] for axes in plot.axes[:, 0]]
    np.testing.assert_allclose(lines, geometry(run).cosine.sel(task="price", task_other="rating").T)
    limits = [axes.called("axis")[1]["limits"] for axes in plot.axes[:, 3]]
    assert limits[0] == limits[1]


def test_infinite_steps_are_told():
    g = np.random.default_rng(0).standard_normal((6, 2, 4))
    g[3, 1] = 2 * g[3, 0]
    plot = plot_geometry(make_run(g, g), backend="none")
    assert "Infinite at 1 steps, which are left out." in plot.note


def test_nothing_overlaps():
    names = {f"encoder.layers.{i}.attention": 6 for i in range(4)}
    for run in (planted_run(steps=6), planted_run(steps=60, tasks="abcde", layers=names)):
        for layers in (None, "each"):
            plot = plot_geometry(run, layers=layers)
            assert [problem for figure in plot.figures for problem in problems(figure)] == []


def test_given_axes():
    run = planted_run(steps=6)
    axes = plot_geometry(run, backend="none").axes
    for each in axes:
        each.calls.clear()
    plot_geometry(run, layers="*.1", ax=axes, backend="none")
    assert [each.called("title")[0]["text"] for each in axes][::3] == ["cosine", "condition number"]


def test_what_cannot_be_drawn():
    with pytest.raises(NothingRecorded, match="there is one"):
        plot_geometry(planted_run(steps=4), tasks="price", backend="none")
    with pytest.raises(NothingRecorded, match="same step"):
        plot_geometry(make_run(np.zeros((4, 2, 3))), backend="none")
    with pytest.raises(BadOption, match='layers="each"'):
        plot_geometry(geometry(planted_run(steps=4)), backend="none")
    with pytest.raises(BadOption, match="shows one run"):
        plot_geometry(geometry({"a": planted_run(steps=4), "b": planted_run(steps=4)}, by="all"), backend="none")
