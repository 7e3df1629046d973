"""What is drawn for the losses."""

from __future__ import annotations

import numpy as np
import pytest
from plots.shares import losses
from runs import planted_run

from dominance.errors import BadOption, NothingRecorded
from dominance.plots.losses import plot_losses


def words(plot):
    return [call["string"] for call in plot.figure.called("text")]


def y_axis(axes):
    return next(call for call in axes.called("axis") if call["which"] == "y")


def test_one_panel_a_task_with_its_name_weight_and_values():
    values = np.array([[1.0, 30.0], [2.0, 20.0], [1.5, 10.0]])
    plot = plot_losses(losses(values, ["price", "rating"], weight=0.5), backend="none")
    assert {"price", "rating", "weight 0.5"} <= set(words(plot))
    for i, axes in enumerate(plot.axes):
        np.testing.assert_allclose(axes.called("line")[-1]["y"], values[:, i])
        low, high = y_axis(axes)["limits"]
        assert low < values[:, i].min() < values[:, i].max() < high


def test_the_scale_is_logarithmic_beyond_one_and_a_half_decades_and_only_for_positive_losses():
    steps = np.linspace(0, 1, 20)
    wide, narrow = 10 ** (-1.6 * steps), 10 ** (-1.4 * steps)
    plot = plot_losses(losses(np.stack([wide, narrow, wide - 0.5], axis=1), "abc"), backend="none")
    assert [y_axis(axes)["log"] for axes in plot.axes] == [True, False, False]
    assert y_axis(plot.axes[0])["labels"] == ["0.1", "1"]


def test_a_weight_that_moves_is_a_range():
    data = losses(np.ones((3, 1)), ["a"])
    data["weight"][:, 0] = [1.0, 0.25, 0.5]
    assert "weight 0.25 to 1" in words(plot_losses(data, backend="none"))


def test_a_constant_loss_and_a_single_step_have_room_around_them():
    plot = plot_losses(losses(np.full((1, 1), 2.0), ["a"]), backend="none")
    low, high = y_axis(plot.axes[0])["limits"]
    assert low < 2 < high
    assert [call["x"].tolist() for call in plot.axes[0].called("line") if call["marker"]] == [[0.0]]


def test_missing_values_break_the_line_and_a_task_without_any_is_named():
    values = np.ones((6, 2))
    values[2:4, 0] = np.nan
    values[:, 1] = np.nan
    plot = plot_losses(losses(values, ["a", "b"]), backend="none")
    assert np.isnan(plot.axes[0].called("line")[-1]["y"][2:4]).all()
    assert "No value recorded for b." in plot.note
    assert plot.axes[1].called("text")[0]["string"] == "no value"
    with pytest.raises(NothingRecorded, match="no loss"):
        plot_losses(losses(np.full((3, 1), np.nan), ["a"]), backend="none")


def test_infinite_losses_do_not_stretch_the_axis():
    values = np.array([[1.0], [np.inf], [2.0]])
    low, high = y_axis(plot_losses(losses(values, ["a"]), backend="none").axes[0])["limits"]
    assert np.isfinite([low, high]).all()


def test_a_run_and_a_choice_of_tasks():
    run = planted_run(steps=10)
    plot = plot_losses(run, tasks=["rating"], backend="none")
    np.testing.assert_allclose(plot.data["loss"].values[:, 0], 2 * np.exp(-np.arange(10) / 10))
    with pytest.raises(BadOption, match="choose from price, rating"):
        plot_losses(run, tasks="depth", backend="none")


@pytest.mark.parametrize(("weight", "title"), [(1.0, "a"), (0.5, "a, weight 0.5")])
def test_given_axes_get_titles_with_weights_that_are_not_all_one(weight: float, title: str):
    data = losses(np.ones((3, 1)), ["a"])
    data["weight"] = data["loss"] * weight
    axes = plot_losses(data, backend="none").axes[0]
    axes.calls.clear()
    plot_losses(data, ax=[axes], backend="none")
    assert axes.called("title")[0]["text"] == title
