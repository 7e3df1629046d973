"""The verdict in one picture: what is drawn, where, and that it can be read."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import xarray as xr
from plots.overlap import problems
from runs import make_run, planted_run

from dominance import gcd, verdict
from dominance.errors import BadOption, NothingRecorded
from dominance.plots.verdict import MOST_PAIRS, plot_verdict


def words(plot):
    return [call["string"] for figure in plot.figures for call in figure.called("text")]


@pytest.fixture(scope="module")
def run() -> xr.DataTree:
    return planted_run(steps=60)


def test_what_was_found_stands_above(run):
    found = verdict(run)
    text = " ".join(words(plot_verdict(found, backend="none")))
    for finding in found:
        assert finding.text[:30] in text
    assert "Why: scale" in text


def test_cells_hold_what_is_owned_and_how_much_pairs_conflict(run):
    plot = plot_verdict(run, backend="none")
    owned, degree = (axes.called("cells")[0] for axes in plot.axes)
    found = verdict(run)
    layers = ["all shared", "trunk.0", "trunk.1"]
    expected = 100 * found.data.owned_last.sel(layer=layers).values
    np.testing.assert_allclose(owned["values"], expected)
    assert owned["texts"] == [[f"{value:.0f}" for value in row] for row in expected]
    conflict = gcd(run).mean_gcd.sel(task="price", task_other="rating").values
    np.testing.assert_allclose(np.ravel(degree["values"])[1:], conflict)
    assert degree["texts"][2] == [f"{conflict[1]:.2f}"]
    names = [call["labels"] for call in plot.axes[0].called("axis") if call["which"] == "y"]
    assert names == [layers]


def test_the_owner_is_named_with_the_step_since_when(run):
    said = words(plot_verdict(run, backend="none"))
    assert said.count("price since 0") == 3
    even = words(plot_verdict(make_run(np.random.default_rng(0).standard_normal((60, 2, 90))), backend="none"))
    assert even.count("–") == 2


def test_conflicts_are_framed(run):
    frames = plot_verdict(run, backend="none").axes[1].called("line")
    assert [(frame["x"][0], frame["y"][0]) for frame in frames] == [(0, 2)]  # trunk.1 alone


def test_tasks_layers_and_labels_are_chosen(run):
    plot = plot_verdict(run, tasks=["rating"], layers="*.1", labeller={"rating": "stars"}, backend="none")
    assert len(plot.axes) == 1  # one task has no pair
    assert plot.data.layer.values.tolist() == ["all shared", "trunk.1"]
    (names,) = (call["labels"] for call in plot.axes[0].called("axis") if call["which"] == "x")
    assert names == ["stars"]
    wrongs: list[dict[str, Any]] = [{"tasks": "nobody"}, {"layers": "none.*"}]
    for wrong in wrongs:
        with pytest.raises(BadOption):
            plot_verdict(run, backend="none", **wrong)
    with pytest.raises(BadOption, match="as a verdict"):
        plot_verdict(gcd(run), backend="none")


def test_the_worst_of_many_pairs():
    run = planted_run(steps=30, tasks=list("abcdefg"))
    plot = plot_verdict(run, backend="none")
    cells = plot.axes[1].called("cells")[0]["values"]
    assert np.shape(cells)[1] == MOST_PAIRS
    by_layer, whole = (gcd(run, by=by).mean_gcd.fillna(0).values for by in ("layer", "all"))
    worst = np.concatenate([by_layer, whole]).max(axis=0)[np.triu_indices(7, 1)]
    assert sorted(np.max(cells, axis=0)) == pytest.approx(sorted(worst)[-MOST_PAIRS:])
    assert f"The {MOST_PAIRS} pairs of 21 that conflict most." in plot.note


def test_long_names_and_many_layers_are_legible():
    tasks = ["reconstruction_of_the_image", "left", "right", "depth", "normals"]
    layers = {f"encoder.layers.{i}.attention.output_projection": 3 for i in range(36)}
    plot = plot_verdict(planted_run(steps=24, tasks=tasks, layers=layers))
    assert len(plot.figures) > 1
    for figure in plot.figures:
        assert problems(figure) == []
        assert figure.get_size_inches()[0] == pytest.approx(7.2)
        assert figure.get_size_inches()[1] <= 9.0


def test_headings_of_a_narrow_table_stand_apart():
    plot = plot_verdict(planted_run(steps=30, tasks=["price_loss", "rooms_loss"]))
    renderer = plot.figure.canvas.get_renderer()
    boxes = {text.get_text(): text.get_window_extent(renderer) for text in plot.figure.texts}
    left, right = boxes["share of the parameters owned (%)"], boxes["owner, since step"]
    assert left.x1 < right.x0


def test_given_axes(run):
    axes = plot_verdict(run, backend="none").axes[0]
    axes.calls.clear()
    plot_verdict(run, ax=axes, backend="none")
    assert np.shape(axes.called("cells")[0]["values"]) == (3, 2)


def test_nothing_to_draw():
    with pytest.raises(NothingRecorded, match="no task has moved"):
        plot_verdict(make_run(np.zeros((30, 2, 4))), backend="none")


def test_what_cannot_be_trusted_says_so():
    residual = np.zeros((60, 740))
    residual[:, :700] = 5.0
    run = planted_run(residual_gradient=residual, attrs={"remarks": ["observe() was given a sum."]})
    text = " ".join(words(plot_verdict(run, backend="none")))
    assert "observe() was given a sum." in text
    assert "Not to be trusted, because part of the gradient is nobody's." in text
