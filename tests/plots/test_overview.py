"""A run in one picture: rows, colours, and the words beside them."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import pytest
from plots.overlap import problems
from runs import make_run, planted_run

from dominance.analyse.conflict import gcd
from dominance.errors import BadOption, NothingRecorded
from dominance.plots.overview import PAPER, plot_overview
from dominance.plots.palette import TASKS


def rgb(colour):
    return [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]


def by_hand(**options):
    """Two layers of two coordinates. Task a owns all of "one"; "two" is shared alike, with opposed gradients."""
    updates = np.array([[[1.0, 1.0, 1.0, 1.0], [0.1, 0.1, -1.0, -1.0]]] * 30)
    return make_run(updates, layers={"one": 2, "two": 2}, **options)


def words(plot):
    return [call["string"] for call in plot.figure.called("text")]


def test_cells_have_the_colour_of_the_owner_and_fade_where_nobody_owns():
    plot = plot_overview(by_hand(), backend="none")
    (image,) = plot.axes[0].called("image")
    whole, one, two = image["colours"]
    np.testing.assert_allclose(one[:, :3], [rgb(TASKS[0])] * 30)
    np.testing.assert_allclose(two[:, :3], [rgb(PAPER)] * 30)
    np.testing.assert_allclose(whole[:, :3], [(np.array(rgb(TASKS[0])) + rgb(PAPER)) / 2] * 30)
    assert (image["colours"][..., 3] == 1).all()


def test_beside_each_row_stand_owner_effective_tasks_and_conflict():
    said = words(plot_overview(by_hand(), backend="none"))
    assert [said[said.index(word)] for word in ("a 100 %", "a 50 %", "nobody", "2.0 of 2")]
    assert "a × b 2.00" in said
    assert "a × b 0.00" in said


def test_conflict_and_losses_stand_below():
    loss = np.stack([np.linspace(2, 1, 60), np.linspace(50, 55, 60)], axis=1)
    g = np.random.default_rng(0).standard_normal((60, 2, 40))
    run = make_run(-g, g, tasks=["price", "rating"], loss=loss)
    plot = plot_overview(run, backend="none")
    assert len(plot.axes) == 3
    left = [call["y"] for call in plot.axes[2].called("line")]
    assert left[0][-1] < 60
    assert left[1][-1] > 100
    expected = gcd(run, by="all")["gcd"].sel(task="price", task_other="rating").mean()
    assert float(np.nanmean(plot.axes[1].called("line")[0]["y"])) == pytest.approx(float(expected), abs=0.02)


def test_the_map_ends_where_the_training_did():
    plot = plot_overview(by_hand(attrs={"steps_taken": 60}), backend="none")
    known = plot.axes[0].called("image")[0]["colours"][0, :, 3]
    assert known.tolist() == [1.0] * 30 + [0.0] * 30
    assert "Hatched: not recorded" in plot.note


def test_a_large_model_shows_its_worst_layers_and_folds_the_rest():
    layers = {f"encoder.layers.{i}.{part}": 3 for i in range(100) for part in ("attention", "mlp")}
    plot = plot_overview(planted_run(steps=24, layers=layers))
    rows = plot.data["row"].values.tolist()
    assert rows[0] == "all shared"
    assert len(rows) == 25
    assert all(row in layers for row in rows[1:5])
    assert rows[5] == "encoder.layers.0 to 4"
    assert problems(plot.figure) == []
    assert "First the 4 layers with the fewest effective tasks" in plot.note


def test_the_conflict_of_a_folded_row_is_that_of_its_layers_together():
    layers = {f"blocks.{i}.{part}": 3 for i in range(12) for part in ("a", "b")}
    run = planted_run(steps=24, layers=layers)
    data = plot_overview(run, backend="none").data
    expected = gcd(run, by={"it": ["blocks.3.*"]})["mean_gcd"].sel(task="price", task_other="rating").item()
    assert float(data["mean_gcd"][data["row"].values.tolist().index("blocks.3")]) == pytest.approx(expected)


def test_names_tasks_and_given_axes():
    run = planted_run(steps=24, tasks=["a", "b", "c"])
    plot = plot_overview(run, tasks="a", labeller={"a": "Ay", "trunk.0": "first"}, backend="none")
    entries = plot.figure.called("legend")[0]["entries"]
    assert [entry.label for entry in entries][:2] == ["Ay", "other tasks"]
    axes = plot.axes[0]
    axes.calls.clear()
    plot_overview(run, ax=axes, labeller={"trunk.0": "first"}, backend="none")
    (names,) = (call["labels"] for call in axes.called("axis") if call["which"] == "y")
    assert names == ["all shared", "first", "trunk.1"]


def test_many_tasks_with_long_names_are_legible():
    tasks = [f"reconstruction_of_view_{i}" for i in range(12)]
    layers = {f"encoder.layers.{i}.attention.output_projection": 3 for i in range(30)}
    assert problems(plot_overview(planted_run(steps=24, tasks=tasks, layers=layers)).figure) == []


def test_nothing_to_draw():
    with pytest.raises(NothingRecorded, match="no task has moved"):
        plot_overview(make_run(np.zeros((3, 2, 4))), backend="none")
    with pytest.raises(BadOption, match="as an overview"):
        plot_overview(cast(Any, gcd(planted_run(steps=3))), backend="none")
