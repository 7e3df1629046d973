"""How much of a step its own gradients decide: what is drawn of it."""

from __future__ import annotations

import numpy as np
import pytest
from runs import make_run

from dominance import step_memory
from dominance.plots.step_memory import plot_step_memory


def two_layers():
    """Of SGD with momentum 0.5: in layer one both tasks have gradient 1 twice, in layer two a alone."""
    gradients = np.ones((2, 2, 2))
    gradients[:, 1, 1] = 0
    updates = -gradients * np.array([1.0, 1.5])[:, None, None]
    run = make_run(updates, gradients, layers={"one": 1, "two": 1})
    run.attrs["optimizers"] = [{"class": "SGD", "groups": [{"momentum": 0.5}]}]
    return run


def test_means_over_steps_in_per_cent_and_what_is_not_known_is_empty():
    """Of the second step two thirds are its own gradients'."""
    (cells,) = plot_step_memory(two_layers(), backend="none").axes[0].called("cells")
    whole = 100 * (1 + 2 / 3) / 2
    np.testing.assert_allclose(cells["values"], [[whole / 2, whole / 2, whole, np.nan], [whole, 0, whole, np.nan]])
    assert cells["texts"] == [["42", "42", "83", ""], ["83", "0", "83", ""]]


def test_a_result_is_drawn_as_the_run_and_layers_and_tasks_are_chosen():
    plot = plot_step_memory(step_memory(two_layers()), layers="two", tasks="a", backend="none")
    (cells,) = plot.axes[0].called("cells")
    assert cells["texts"] == [["83", "83", ""]]


def test_into_given_axes():
    pyplot = pytest.importorskip("matplotlib.pyplot")
    figure, axes = pyplot.subplots()
    plot = plot_step_memory(two_layers(), ax=axes)
    assert plot.figure is figure
    assert [text.get_text() for text in axes.get_xticklabels()] == ["a", "b", "all", "squares"]
    pyplot.close(figure)
