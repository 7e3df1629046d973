"""What each task owns, as lines."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from plots.overlap import problems
from plots.samples import owned, shares
from plots.shares import buckets

from dominance.errors import BadOption
from dominance.papers.plots.owned import NOBODY, plot_owned
from dominance.plots.palette import INK, TASKS


def drawn(axes):
    return {call["label"]: call["y"] for call in axes.called("line") if not call["marker"]}


def test_lines_are_the_last_buckets_and_what_is_left():
    data = shares()
    plot = plot_owned(data, backend="none")
    (axes,) = plot.axes
    lines = drawn(axes)
    a, b = (100 * data["share"].sel(task=task, layer="all shared").isel(bucket=-1) for task in "AB")
    np.testing.assert_allclose(lines["A"], a)
    np.testing.assert_allclose(lines["B"], b)
    np.testing.assert_allclose(lines[NOBODY], 100 - a - b)
    assert not axes.called("band")
    assert "rAU above 80 %" in plot.note
    entries = [entry.label for call in plot.figure.called("legend") for entry in call["entries"]]
    assert entries == ["owned by A", "owned by B", "owned by no task"]
    looks = {(call["colour"], call["dashes"]) for call in axes.called("line")}
    assert looks == {(TASKS[0], "-"), (TASKS[1], "--"), (INK, "-")}


def test_over_seeds_the_mean_and_the_range():
    data = owned()
    plot = plot_owned(data, backend="none")
    assert len(plot.axes) == 2
    of_b = 100 * data["share"].sel(task="B", layer="all shared", run="AdaTask").isel(bucket=-1)
    np.testing.assert_allclose(drawn(plot.axes[1])["B"], of_b.mean("seed"))
    (band,) = [call for call in plot.axes[1].called("band") if call["label"] == "B"]
    np.testing.assert_allclose(band["low"], of_b.min("seed"))
    np.testing.assert_allclose(band["high"], of_b.max("seed"))
    assert "mean over 3 seeds; band: their range" in plot.note
    words = [call["string"] for call in plot.figure.called("text")]
    last = 100 * data["share"].sel(task="B", run="EqualWeight").isel(bucket=-1, layer=0, step=-1)
    assert f"B: {last.mean():.0f} % ({last.min():.0f} to {last.max():.0f})" in words


def test_layers_have_a_row_each():
    layers = ["first", "second", "third"]
    both = xr.concat([buckets("abc", layers), buckets("abc", layers, seed=1)], dim=xr.Variable("run", ["x", "y"]))
    plot = plot_owned(both, backend="none")
    assert plot.axes.shape == (3, 2)
    top = both["share"].isel(bucket=-1)
    np.testing.assert_allclose(drawn(plot.axes[2, 1])["c"], 100 * top.sel(run="y", layer="third", task="c"))
    assert plot.data["mean"].dims == ("run", "layer", "step", "owner")


def test_a_single_step_is_a_point_and_no_step_is_said():
    plot = plot_owned(buckets(steps=1), backend="none")
    assert len([call for call in plot.axes[0].called("line") if call["marker"]]) == 3
    data = buckets()
    data["share"].values[:] = np.nan
    assert "no value" in [call["string"] for call in plot_owned(data, backend="none").figure.called("text")]


def test_nothing_runs_into_another():
    many = [f"a rather long method {i}" for i in range(6)]
    wide = xr.concat([shares()] * 6, dim=xr.Variable("run", many))
    layers = xr.concat([buckets("abc", ["x", "y"])] * 6, dim=xr.Variable("run", many))
    for data in (owned(), wide, layers):
        assert problems(plot_owned(data).figure) == []


def test_errors():
    with pytest.raises(BadOption, match="no rAU buckets"):
        plot_owned(xr.Dataset({"share": ("x", [1.0])}), backend="none")
