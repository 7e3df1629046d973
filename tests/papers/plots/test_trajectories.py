"""What is drawn of the ways of two losses."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import xarray as xr

from dominance.papers.plots.trajectories import plot_trajectories
from dominance.plots.palette import TIME


def ways() -> xr.Dataset:
    point = np.linspace(0, 1, 31)
    first = np.stack([np.stack([1 - point, 2 - point]), np.stack([point, 2 * point])])
    first[0, 0, 20:] = np.nan
    return xr.Dataset(
        {
            "first": (("method", "start", "point"), first),
            "second": (("method", "start", "point"), first**2),
            "front_first": ("place", [0.0, 1.0]),
            "front_second": ("place", [1.0, 0.0]),
        },
        coords={"method": ["one", "two"]},
        attrs={"names": ["L1", "L2"], "marks": {"◆": [0.5, 0.5]}, "note": "Diamond: the middle."},
    )


def test_a_panel_for_each_method_a_way_from_each_start_from_the_first_colour_to_the_last():
    plot = plot_trajectories(ways(), backend="none")
    assert len(plot.axes) == 2
    pieces = [call for call in plot.axes[0].called("line") if call["colour"] in TIME]
    assert [call["colour"] for call in pieces] == [*TIME, *TIME]
    np.testing.assert_allclose(pieces[0]["x"][0], 1.0)
    np.testing.assert_allclose(pieces[5]["x"][-1], 1 - 19 / 30)  # the way that ends early
    for before, after in pairwise(pieces[:6]):
        assert before["x"][-1] == after["x"][0]
    dots = [call for call in plot.axes[0].called("line") if call["marker"]]
    np.testing.assert_allclose([dot["x"][0] for dot in dots], [1.0, 2.0])


def test_a_mark_stands_at_its_point_and_level_lines_are_those_of_the_sum():
    axes = plot_trajectories(ways(), backend="none").axes[0]
    (star,) = [call for call in axes.called("text") if call["string"] == "◆"]
    limits = [next(call["limits"] for call in axes.called("axis") if call["which"] == which) for which in "xy"]
    for place, (low, high) in zip((star["x"], star["y"]), limits, strict=True):
        np.testing.assert_allclose(low + place * (high - low), 0.5)
    levels = [call for call in axes.called("line") if call["width"] == 0.4]
    assert levels
    for line in levels:
        total = np.asarray(line["x"]) + np.asarray(line["y"])
        np.testing.assert_allclose(total, total[0])
