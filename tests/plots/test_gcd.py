"""What is drawn for the gradient conflict."""

from __future__ import annotations

import numpy as np
import pytest
from plots.shares import degrees
from runs import planted_run

from dominance.analyse.conflict import gcd
from dominance.errors import BadOption, NothingRecorded
from dominance.plots.gcd import plot_gcd


def words(plot):
    return [call["string"] for figure in plot.figures for call in figure.called("text")]


def test_every_pair_has_a_panel_with_the_line_at_1():
    plot = plot_gcd(degrees("abc"), backend="none")
    assert len(plot.axes) == 3
    assert {"a × b", "a × c", "b × c"} <= set(words(plot))
    for axes in plot.axes:
        assert [call["value"] for call in axes.called("reference")] == [1.0]
        assert axes.called("axis")[1]["limits"] == (0, 2)
        np.testing.assert_allclose(axes.called("line")[-1]["y"], 1.5)


def test_the_pair_drawn_is_the_pair_named():
    data = degrees("abc")
    data["gcd"].loc[{"task": "b", "task_other": "c"}] = 0.25
    plot = plot_gcd(data, tasks=["c", "a", "b"], backend="none")
    levels = {}
    for name, axes in zip(["c × a", "c × b", "a × b"], plot.axes, strict=True):
        levels[name] = axes.called("line")[-1]["y"][0]
    assert levels == {"c × a": 1.5, "c × b": 1.5, "a × b": 1.5}  # (c, b) is not (b, c): here the array is lopsided
    assert plot_gcd(data, tasks=["b", "c"], backend="none").axes[0].called("line")[-1]["y"][0] == 0.25


def test_neither_line_nor_mean_goes_across_what_was_not_recorded():
    """Two bursts of forty steps, at 0.5 and at 1.5."""
    data = degrees(steps=80)
    data = data.assign_coords(step=np.concatenate([np.arange(40), np.arange(400, 440)]))
    data["gcd"][:, 0, 0, 1] = np.repeat([0.5, 1.5], 40)
    for call in plot_gcd(data, backend="none").axes[0].called("line"):
        x, y = np.asarray(call["x"]), np.asarray(call["y"])
        assert np.isnan(y[(x > 39) & (x < 400)]).all()
        assert ((x > 39) & (x < 400)).any()
        np.testing.assert_array_equal(y[x <= 39], 0.5)
        np.testing.assert_array_equal(y[x >= 400], 1.5)


def test_raw_is_pale_and_its_mean_is_dark():
    data = degrees(steps=200)
    noise = np.random.default_rng(0).normal(size=200) * 0.1
    data["gcd"][:, 0, 0, 1] = 1 + noise
    raw, mean = plot_gcd(data, backend="none").axes[0].called("line")
    assert raw["alpha"] < 1 == mean["alpha"]
    np.testing.assert_allclose(raw["y"], 1 + noise)
    inside = slice(5, -5)
    np.testing.assert_allclose(mean["y"][inside], np.convolve(1 + noise, np.ones(11) / 11, "same")[inside])


def test_a_long_run_is_drawn_as_a_range():
    data = degrees(steps=3000)
    data["gcd"][1500, 0, 0, 1] = 2.0
    axes = plot_gcd(data, backend="none").axes[0]
    (band,) = axes.called("band")
    assert len(band["x"]) == 300
    assert band["high"].max() == 2.0  # a peak is not thinned away
    assert len(axes.called("line")[0]["x"]) == 300


def test_by_layer_is_the_mean_over_steps_with_numbers():
    data = degrees("abc", ["conv1", "conv2"], steps=4)
    data["gcd"][:, 1, 0, 2] = [0.2, np.nan, 0.4, np.nan]
    plot = plot_gcd(data, layers="each", backend="none")
    (cells,) = plot.axes[0].called("cells")
    np.testing.assert_allclose(cells["values"], [[1.5, 1.5, 1.5], [1.5, 0.3, 1.5]])
    assert (cells["low"], cells["high"]) == (0.0, 2.0)  # 1 in the middle of the palette
    assert cells["texts"][1] == ["1.50", "0.30", "1.50"]
    assert cells["marks"].tolist() == [[True, True, True], [True, False, True]]
    names = {call["which"]: call["labels"] for call in plot.axes[0].called("axis")}
    assert names == {"y": ["conv1", "conv2"], "x": ["a × b", "a × c", "b × c"]}


def test_many_pairs_and_layers_are_all_there():
    tasks, layers = [f"task_number_{i}" for i in range(9)], [f"block{i}.attention" for i in range(60)]
    lines = plot_gcd(degrees(tasks, steps=3), backend="none")
    assert len(lines.axes) == 36
    pages = plot_gcd(degrees(tasks, layers, 2), layers="each", backend="none")
    assert sum(np.size(axes.called("cells")[0]["values"]) for axes in pages.axes) == 60 * 36
    assert all(figure.height <= 9.6 for figure in [*lines.figures, *pages.figures])
    pairs = [text for text in words(lines) if "×" in text]
    assert len(set(pairs)) == 36


def test_the_pairs_that_conflict_most():
    data = degrees(list("abcde"), steps=3)
    plot = plot_gcd(data, most=3, backend="none")
    assert len(plot.axes) == 3
    assert "The 3 pairs of 10 that conflict most." in plot.note
    mean = data["gcd"].mean("step").isel(layer=0).values[np.triu_indices(5, 1)]
    drawn = [np.mean(axes.called("line")[0]["y"]) for axes in plot.axes]
    assert sorted(drawn) == pytest.approx(sorted(mean)[-3:])


def test_a_run_is_analysed():
    run = planted_run(steps=6)
    plot = plot_gcd(run, backend="none")
    expected = gcd(run, by="all")["gcd"].sel(task="price", task_other="rating").isel(layer=0)
    np.testing.assert_allclose(plot.axes[0].called("line")[-1]["y"], expected)
    assert plot_gcd(run, layers="*.1", backend="none").data["layer"].values.tolist() == ["trunk.1"]


def test_no_pair_is_an_error():
    with pytest.raises(NothingRecorded, match="there is one"):
        plot_gcd(degrees(["only"]), backend="none")
    with pytest.raises(NothingRecorded, match="same step"):
        plot_gcd(degrees(value=np.nan), backend="none")
    with pytest.raises(NothingRecorded, match="same step"):
        plot_gcd(degrees(value=np.nan), layers="each", backend="none")
    with pytest.raises(BadOption, match='layers="each"'):
        plot_gcd(degrees(layers=["a", "b"]), backend="none")


def test_steps_without_a_degree_are_told():
    data = degrees().assign_attrs(steps_recorded=6, steps_with_a_degree=4)
    assert "4 of 6 recorded steps have one." in plot_gcd(data, backend="none").note


def test_a_lone_degree_gets_a_marker_and_a_pair_without_any_says_so():
    data = degrees("abc", steps=3)
    data["gcd"][[0, 2], 0, 0, 1] = np.nan
    data["gcd"][:, 0, 0, 2] = np.nan
    plot = plot_gcd(data, backend="none")
    markers = [call for call in plot.axes[0].called("line") if call["marker"]]
    assert [call["x"].tolist() for call in markers] == [[10]]
    assert plot.axes[1].called("text")[0]["string"] == "no value"


def test_given_axes():
    axes = plot_gcd(degrees(), backend="none").axes[0]
    axes.calls.clear()
    plot_gcd(degrees(), ax=axes, backend="none")
    assert axes.called("title")[0]["text"] == "left × right"
    axes.calls.clear()
    plot_gcd(degrees(layers=["a", "b"]), layers="each", ax=axes, backend="none")
    (cells,) = axes.called("cells")
    assert cells["marks"].all()
    axes.calls.clear()
    plot_gcd(degrees(layers=["a", "b"], value=0.9), layers="each", ax=axes, backend="none")
    assert not axes.called("cells")[0]["marks"].any()
