"""What is drawn of the training losses of many methods."""

from __future__ import annotations

import numpy as np
import xarray as xr

from dominance.papers.plots.loss_curves import plot_loss_curves


def test_one_in_front_a_base_and_the_range_of_the_others():
    loss = np.random.default_rng(0).random((5, 2, 4)) + 1
    names = ["ours", "base", "a", "b", "c"]
    data = xr.Dataset(
        {"loss": (("method", "task", "epoch"), loss)}, {"method": names, "task": ["x", "y"], "epoch": range(4)}
    )
    plot = plot_loss_curves(data, front="ours", base="base", backend="none")
    assert len(plot.axes) == 2
    for place, axes in enumerate(plot.axes):
        (band,) = axes.called("band")
        np.testing.assert_allclose(band["low"], loss[2:, place].min(axis=0))
        np.testing.assert_allclose(band["high"], loss[2:, place].max(axis=0))
        median, base, front = axes.called("line")
        np.testing.assert_allclose(median["y"], np.median(loss[2:, place], axis=0))
        np.testing.assert_allclose(base["y"], loss[1, place])
        np.testing.assert_allclose(front["y"], loss[0, place])
        np.testing.assert_allclose(front["x"], [1, 2, 3, 4])
    assert "Others: a, b, c." in plot.note


def test_one_epoch_is_seen():
    loss = np.arange(1.0, 5.0).reshape(4, 1, 1)
    names = ["ours", "base", "a", "b"]
    data = xr.Dataset({"loss": (("method", "task", "epoch"), loss)}, {"method": names, "task": ["x"], "epoch": [0]})
    (axes,) = plot_loss_curves(data, front="ours", base="base", backend="none").axes
    for call, level in zip(axes.called("line"), (3.5, 2, 1), strict=True):
        np.testing.assert_allclose(call["x"], [0.5, 1.5])
        np.testing.assert_allclose(call["y"], [level, level])
