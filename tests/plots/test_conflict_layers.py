"""What is drawn for the layers that conflict."""

from __future__ import annotations

import numpy as np
import pytest
from plots.overlap import problems
from runs import make_run, planted_run

from dominance.analyse.conflict import conflict_layers
from dominance.errors import BadOption, NothingRecorded
from dominance.plots.conflict_layers import MOST_ROWS, plot_conflict_layers


def labels(axes):
    return {call["which"]: call["labels"] for call in axes.called("axis")}


def test_bars_are_ranked_and_those_in_conflict_stand_out():
    data = conflict_layers(planted_run(steps=40))
    plot = plot_conflict_layers(data, backend="none")
    (axes,) = plot.axes
    (bars,) = axes.called("bars")
    np.testing.assert_allclose(bars["shares"], [[0, data.mean_gcd[0]], [data.mean_gcd[1], 0]])
    assert labels(axes)["y"] == ["trunk.1", "trunk.0"]
    whiskers = [call["x"] for call in axes.called("line") if call["label"] == "bound"]
    np.testing.assert_allclose(whiskers, np.stack([data.lower, data.mean_gcd], axis=1))
    (threshold,) = [call["x"] for call in axes.called("line") if call["label"] == "threshold"]
    assert threshold == [1.0, 1.0]
    assert not axes.called("text")  # one pair: it stands in the note
    assert "of price × rating" in plot.note


def test_pairs_stand_beside_their_bars():
    run = planted_run(steps=30, tasks=("a", "b", "c"))
    plot = plot_conflict_layers(run, backend="none", labeller={"a": "A", "trunk.1": "last"})
    (axes,) = plot.axes
    data = conflict_layers(run)
    pairs = [f"{one} × {other}" for one, other in zip(data.task.values, data.task_other.values, strict=True)]
    assert [call["string"] for call in axes.called("text")] == [pair.replace("a", "A") for pair in pairs]
    assert labels(axes)["y"] == [name.replace("trunk.1", "last") for name in data.layer.values]
    assert axes.called("axis")[0]["limits"][1] > 2


def test_tasks_and_layers_are_chosen():
    run = planted_run(steps=30, tasks=("a", "b", "c"))
    plot = plot_conflict_layers(run, tasks=["b", "a"], layers="*.0", backend="none")
    assert plot.data.layer.values.tolist() == ["trunk.0"]
    assert plot.data.task.values.tolist() == ["a"]
    with pytest.raises(BadOption, match="no shared layer fits"):
        plot_conflict_layers(run, layers="head*", backend="none")
    with pytest.raises(BadOption, match="no task 'z'"):
        plot_conflict_layers(run, tasks="z", backend="none")
    with pytest.raises(NothingRecorded, match="no two of these tasks"):
        plot_conflict_layers(run, tasks="a", backend="none")


def test_the_first_of_many_are_drawn_without_overlaps():
    names = {f"encoder.layers.{i}.attention": 4 for i in range(12)}
    run = planted_run(steps=8, tasks=[f"a_long_name_of_task_{i}" for i in range(4)], layers=names)
    plot = plot_conflict_layers(run)
    assert f"{72 - MOST_ROWS} pairs with smaller means are not shown." in plot.note
    assert [problem for figure in plot.figures for problem in problems(figure)] == []
    few = plot_conflict_layers(conflict_layers(run, top=5), backend="none")
    assert "67 pairs" in few.note
    assert problems(plot_conflict_layers(planted_run(steps=8)).figure) == []


def test_given_axes():
    run = planted_run(steps=8)
    axes = plot_conflict_layers(run, backend="none").axes[0]
    axes.calls.clear()
    plot_conflict_layers(run, ax=axes, backend="none")
    assert axes.called("axis_label")[0]["label"] == "mean GCD"
    assert labels(axes)["y"] == ["trunk.1", "trunk.0"]


def test_not_for_several_runs_or_none():
    with pytest.raises(BadOption, match="shows one run, not 2"):
        plot_conflict_layers(conflict_layers({"a": planted_run(steps=4), "b": planted_run(steps=4)}), backend="none")
    with pytest.raises(NothingRecorded, match="no step"):
        plot_conflict_layers(make_run(np.zeros((0, 2, 3))), backend="none")
