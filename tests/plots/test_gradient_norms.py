"""Shares of gradient energy: the numbers, and what is drawn of them."""

from __future__ import annotations

import numpy as np
import pytest
from runs import make_run, planted_run

from dominance.errors import BadOption, NothingRecorded
from dominance.plots.gradient_norms import gradient_shares, plot_gradient_norms


def two_layers():
    """Two steps; task a has the gradients (3, 0 | 1), then (0, 4 | 1); task b has (0, 5 | 7) and (0, 0 | 7)."""
    gradients = np.array([[[3, 0, 1], [0, 5, 7]], [[0, 4, 1], [0, 0, 7]]], dtype=float)
    return make_run(gradients / -1000, gradients, layers={"one": 2, "two": 1})


def test_the_share_is_the_sum_of_squares_over_steps():
    share = gradient_shares(two_layers())["share"]
    np.testing.assert_allclose(share.sel(layer="one"), [25 / 50, 25 / 50])
    np.testing.assert_allclose(share.sel(layer="two"), [2 / 100, 98 / 100])


def test_private_layers_are_left_out():
    assert gradient_shares(planted_run(steps=3))["layer"].values.tolist() == ["trunk.0", "trunk.1"]


def test_a_step_without_a_value_is_passed_over():
    run = two_layers()
    run["layer/gradient_sq"].values[1] = np.nan
    np.testing.assert_allclose(gradient_shares(run)["share"].sel(layer="one"), [9 / 34, 25 / 34])


def test_few_tasks_are_bars_in_per_cent_with_a_legend():
    plot = plot_gradient_norms(two_layers(), backend="none")
    (bars,) = plot.axes[0].called("bars")
    np.testing.assert_allclose(bars["shares"], [[50, 50], [2, 98]])
    assert [entry.label for entry in plot.figure.called("legend")[0]["entries"]] == ["a", "b"]
    assert [entry.colour for entry in plot.figure.called("legend")[0]["entries"]] == bars["colours"]


def test_many_tasks_are_a_table_of_numbers():
    run = planted_run(steps=3, tasks=[f"t{i}" for i in range(9)])
    (cells,) = plot_gradient_norms(run, backend="none").axes[0].called("cells")
    np.testing.assert_allclose(np.sum(cells["values"], axis=1), 100)
    assert np.shape(cells["texts"]) == (2, 9)


def test_layers_and_tasks_are_chosen_and_shares_still_refer_to_all():
    plot = plot_gradient_norms(two_layers(), tasks="b", layers=["two"], backend="none")
    np.testing.assert_allclose(plot.axes[0].called("bars")[0]["shares"], [[98]])


def test_sixty_layers_are_all_drawn():
    run = planted_run(steps=2, layers={f"layer{i}": 3 for i in range(60)})
    plot = plot_gradient_norms(run, backend="none")
    assert sum(len(axes.called("bars")[0]["shares"]) for axes in plot.axes) == 60


def test_errors():
    with pytest.raises(NothingRecorded, match="one \\(only\\)"):
        plot_gradient_norms(planted_run(steps=2, tasks=["only"]), backend="none")
    with pytest.raises(NothingRecorded, match="no shared layer"):
        plot_gradient_norms(make_run(np.zeros((2, 2, 3))), backend="none")
    with pytest.raises(NothingRecorded, match="no step"):
        plot_gradient_norms(make_run(np.zeros((0, 2, 3))), backend="none")
    with pytest.raises(BadOption, match="fits 'nine'"):
        plot_gradient_norms(two_layers(), layers="nine", backend="none")


def test_given_axes():
    axes = plot_gradient_norms(two_layers(), backend="none").axes[0]
    axes.calls.clear()
    plot_gradient_norms(two_layers(), ax=axes, backend="none")
    assert axes.called("bars")
    assert axes.called("legend")
