"""The plot of whose units are: what is drawn of it."""

from __future__ import annotations

import numpy as np
import pytest
from runs import make_run

from dominance import Units, plot_unit_shares, unit_shares
from dominance.errors import BadOption
from dominance.plots.unit_shares import MOST_ROWS
from dominance.schema import Parameter


def two_rows():
    """Task a moves row 0 three times as far as b (nine tenths of the squares), b alone row 1; a private layer."""
    updates = np.zeros((1, 2, 5))
    updates[0, 0, :2], updates[0, 1, :2], updates[0, 1, 2:4] = 3, 1, 2
    parameters = [Parameter("table", "table", (2, 2), ("a", "b"), "Embedding")]
    parameters += [Parameter("own", "own", (1, 1), ("b",), "Embedding")]
    return make_run(updates, parameters=parameters)


def test_a_row_of_shares_and_uses():
    plot = plot_unit_shares(two_rows(), by="row", backend="none")
    (cells,) = plot.axes[0].called("cells")
    np.testing.assert_allclose(cells["values"], [[90, 10, 100, 20], [0, 100, 0, 80]])
    assert cells["texts"] == [["90", "10", "100", "20"], ["0", "100", "0", "80"]]
    assert "Reached by one task alone: own[0] (b)." in plot.note


def test_a_result_is_drawn_as_the_run_and_units_and_tasks_are_chosen():
    plot = plot_unit_shares(unit_shares(two_rows(), by="row"), tasks="b", layers="table[[]0]", backend="none")
    (cells,) = plot.axes[0].called("cells")
    assert cells["texts"] == [["10", "20"]]
    with pytest.raises(BadOption, match="no shared layer fits"):
        plot_unit_shares(two_rows(), by="row", layers="nothing", backend="none")


def test_many_units_are_points_by_how_often_they_are_there():
    """Row i is moved by a in the first i of 100 steps; and by b in all of them, as far."""
    rows, steps = MOST_ROWS + 5, 100
    updates = np.zeros((steps, 2, rows))
    updates[:, 1] = 1
    for row in range(rows):
        updates[:row, 0, row] = 1
    run = make_run(updates, parameters=[Parameter("table", "table", (rows, 1), ("a", "b"), "Embedding")])
    found = unit_shares(run, by=Units("table", axis=0))
    (axes,) = plot_unit_shares(found, backend="none").axes
    lines = axes.called("line")
    assert [line["label"] for line in lines] == ["a", "b"]
    np.testing.assert_array_equal(lines[0]["x"], 100)
    np.testing.assert_allclose(lines[0]["y"], 100 * found["share"].sel(task="a"))
    assert lines[0]["marker"] != lines[1]["marker"]
    np.testing.assert_allclose(found["frequency"].sel(task="a"), np.arange(rows) / steps)


def test_into_given_axes():
    pyplot = pytest.importorskip("matplotlib.pyplot")
    figure, axes = pyplot.subplots()
    plot = plot_unit_shares(two_rows(), by="row", ax=axes)
    assert plot.figure is figure
    assert [text.get_text() for text in axes.get_xticklabels()] == ["a", "b", "a: use", "b: use"]
    pyplot.close(figure)
