"""Two trainings, number by number, in one figure."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import pytest
from plots.overlap import problems
from runs import planted_run

from dominance.analyse.study.change import change
from dominance.errors import BadOption
from dominance.plots.change import MOST_ROWS, plot_change
from dominance.plots.palette import INK


@pytest.fixture(scope="module")
def found():
    layers = {"trunk.0": 60, "trunk.1": 40}
    return change(
        planted_run(0, steps=240, share=0.95, layers=layers), planted_run(1, steps=240, share=0.5, layers=layers)
    )


def test_a_row_for_each_number_before_and_after(found):
    plot = plot_change(found, backend="none")
    assert len(plot.axes) == 4
    points = [call["x"][0] for call in plot.axes[1].called("line") if call["label"] == "value"]
    owned = [each for each in found.lines if each.quantity == "owned"]
    np.testing.assert_allclose(points, [100 * side.value for each in owned for side in (each.before, each.after)])


def test_what_is_more_than_noise_is_dark(found):
    plot = plot_change(found, backend="none")
    lines = [call for axes in plot.axes for call in axes.called("line") if call["label"] == "change"]
    assert [call["colour"] == INK for call in lines] == [bool(each.beyond_noise) for each in found.lines]
    assert {True, False} == {call["colour"] == INK for call in lines}


def test_tasks_layers_and_names_are_chosen(found):
    plot = plot_change(found, tasks="price", layers="trunk.1", labeller={"price": "cost"}, backend="none")
    names = [call["labels"] for axes in plot.axes for call in axes.called("axis") if call["which"] == "y"]
    assert names == [["all shared", "trunk.1"], ["cost"], ["cost loss"]]


def test_many_layers_and_long_names_are_legible():
    layers = {f"encoder.layers.{i}.attention.output_projection": 4 for i in range(30)}
    tasks = [f"reconstruction_of_view_{i}" for i in range(6)]
    runs = [planted_run(seed, steps=60, tasks=tasks, layers=layers) for seed in (0, 1)]
    plot = plot_change(change(*runs))
    assert problems(plot.figure) == []
    rows = [label for label in plot.axes[0].get_yticklabels() if label.get_text()]
    assert len(rows) == MOST_ROWS


def test_only_a_change_is_drawn(found):
    with pytest.raises(BadOption, match="as a change"):
        plot_change(cast(Any, planted_run(steps=3)), backend="none")
    with pytest.raises(BadOption, match="several panels"):
        plot_change(found, ax=cast(Any, object()), backend="none")
