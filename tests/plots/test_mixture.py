"""Weights of a mixture: what is drawn of them."""

from __future__ import annotations

import numpy as np
import pytest
from analyse.test_mixture import counted
from runs import make_run

from dominance import mixture, plot_mixture
from dominance.errors import BadOption


def groups(steps: int = 40):
    """One group of signal, one of noise; counts 1 and 3."""
    rng = np.random.default_rng(0)
    g = rng.standard_normal((steps, 2, 6)) * np.array([0.2, 2.0])[:, None] + 1
    return make_run(g, g, metrics=counted(np.tile([1, 3], (steps, 1)), ["a", "b"]))


def test_a_panel_for_each_group_with_the_formulas_and_the_present_share():
    found = mixture(groups())
    plot = plot_mixture(groups(), backend="none")
    assert len(plot.axes) == 2
    for axes, task, share in zip(plot.axes, "ab", (25, 75), strict=True):
        lines = {line["label"]: line["y"] for line in axes.called("line")}
        np.testing.assert_allclose(lines["present"], share)
        for name in ("pike", "dga"):
            np.testing.assert_allclose(lines[name], 100 * found[name].sel(task=task))
        np.testing.assert_allclose(axes.called("line")[0]["x"], [4.5, 14.5, 24.5, 34.5])
    assert "PiKE and DGA" in plot.note


def test_terms_of_a_loss_have_one_formula_and_loss_weights():
    rng = np.random.default_rng(0)
    run = make_run(rng.standard_normal((20, 2, 6)) + 1, weight=np.full((20, 2), 2.0))
    plot = plot_mixture(mixture(run), tasks="b", backend="none")
    (axes,) = plot.axes
    assert {line["label"] for line in axes.called("line")} == {"present", "dga"}
    assert "PiKE" not in plot.note


def test_a_window_between_two_that_are_not_known_is_a_point():
    found = mixture(groups())
    found["pike"].values[[0, 2]] = np.nan
    lines = plot_mixture(found, tasks="a", backend="none").axes[0].called("line")
    assert [line["x"].tolist() for line in lines if line["marker"]] == [[14.5, 34.5]]


def test_into_given_axes_and_what_is_refused():
    pyplot = pytest.importorskip("matplotlib.pyplot")
    figure, axes = pyplot.subplots(1, 2)
    assert plot_mixture(groups(), ax=axes).figure is figure
    pyplot.close(figure)
    with pytest.raises(BadOption, match="1 panels do not go into 2 axes"):
        plot_mixture(groups(), tasks="a", ax=axes)
    with pytest.raises(BadOption, match="no 'mean_dga'"):
        plot_mixture(mixture(groups()).drop_vars("mean_dga"))
