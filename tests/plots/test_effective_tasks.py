"""What is drawn for the effective number of tasks."""

from __future__ import annotations

import numpy as np
import pytest
from plots.shares import buckets
from runs import planted_run

from dominance.analyse.rau_buckets import rau_buckets
from dominance.errors import BadOption, NothingRecorded
from dominance.plots.effective_tasks import plot_effective_tasks


def test_the_trunk_is_a_line_under_the_number_of_tasks():
    data = buckets("abc")
    plot = plot_effective_tasks(data, backend="none")
    (axes,) = plot.axes
    np.testing.assert_allclose(axes.called("line")[0]["y"], data["effective_tasks"].values[:, 0])
    assert axes.called("reference")[0]["value"] == 3
    low, high = next(call for call in axes.called("axis") if call["which"] == "y")["limits"]
    assert low == 1
    assert high > 3


def test_layers_are_cells_over_steps():
    data = buckets("ab", ["one", "two"], steps=500)
    plot = plot_effective_tasks(data, layers="each", backend="none")
    (cells,) = plot.axes[0].called("cells")
    assert np.shape(cells["values"]) == (2, 120)
    np.testing.assert_allclose(cells["values"][:, -1], data["effective_tasks"].values[-1])
    assert (cells["low"], cells["high"]) == (1, 2)
    assert "Drawn at 120 of 500 recorded steps." in plot.note


def test_ticks_stand_at_their_steps():
    plot = plot_effective_tasks(buckets("ab", ["one", "two"], steps=11), layers="each", backend="none")
    ticks = [call for call in plot.axes[0].called("axis") if call["which"] == "x"][-1]
    assert ticks["labels"] == ["0", "20", "40", "60", "80", "100"]
    np.testing.assert_allclose(ticks["ticks"], [0.5, 20.5, 40.5, 60.5, 80.5, 100.5])


def test_bursts_leave_gaps_and_ticks_stay_apart():
    data = buckets("ab", ["one", "two"], steps=40)
    bursts = np.concatenate([np.arange(20), np.arange(2000, 2020)])
    plot = plot_effective_tasks(data.assign_coords(step=bursts), layers="each", backend="none")
    (cells,) = plot.axes[0].called("cells")
    known = np.isfinite(cells["values"][0])
    assert known[[0, -1]].all()
    assert not known[2:-2].any()
    ticks = [call for call in plot.axes[0].called("axis") if call["which"] == "x"][-1]["ticks"]
    np.testing.assert_allclose(np.diff(ticks), np.diff(ticks)[0])
    assert "Hatched: not recorded." in plot.note


def test_the_axis_ends_where_the_training_did():
    data = buckets("ab", ["one"], steps=11).assign_attrs(steps_taken=201)
    axes = plot_effective_tasks(data.isel(layer=[0]), backend="none").axes[0]
    assert axes.called("axis")[0]["limits"] == (0, 200)


def test_a_run_is_analysed():
    run = planted_run(steps=5)
    plot = plot_effective_tasks(run, backend="none")
    expected = rau_buckets(run, by="all")["effective_tasks"].values[:, 0]
    np.testing.assert_allclose(plot.axes[0].called("line")[0]["y"], expected)


def test_a_single_step_is_a_marker():
    plot = plot_effective_tasks(buckets(steps=1), backend="none")
    assert [call["marker"] for call in plot.axes[0].called("line")] == [False, True]


def test_given_axes():
    axes = plot_effective_tasks(buckets(), backend="none").axes[0]
    for data, layers, call in ((buckets(), None, "line"), (buckets(layers="ab"), "each", "cells")):
        axes.calls.clear()
        plot_effective_tasks(data, layers=layers, ax=axes, backend="none")
        assert axes.called(call)


def test_errors():
    with pytest.raises(NothingRecorded, match="one task"):
        plot_effective_tasks(buckets(["only"]), backend="none")
    data = buckets()
    data["effective_tasks"][:] = np.nan
    for layers in (None, "each"):
        with pytest.raises(NothingRecorded, match="moved"):
            plot_effective_tasks(data, layers=layers, backend="none")
    with pytest.raises(BadOption, match='layers="each"'):
        plot_effective_tasks(buckets(layers="ab"), backend="none")
