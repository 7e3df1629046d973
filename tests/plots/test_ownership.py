"""What is drawn for the owners of the layers."""

from __future__ import annotations

import numpy as np
import pytest
from plots.overlap import problems
from runs import make_run, planted_run

from dominance.analyse.ownership import ownership
from dominance.errors import BadOption, NothingRecorded
from dominance.plots.ownership import plot_ownership
from dominance.plots.palette import GREY, TASKS


def changing():
    """x: a, then b; y: not moved, then nobody's; z: c."""
    updates = np.full((40, 3, 30), 1e-3)
    updates[:20, 0, :10], updates[20:, 1, :10] = 1, 9
    updates[:10, :, 10:20] = 0
    updates[:, 2, 20:] = 1
    return make_run(updates, layers={"x": 10, "y": 10, "z": 10})


def bands(axes):
    """(row, from, to, colour) of every band, hatched ones grey."""
    return [(int(call["low"][0]), *call["x"], call["colour"]) for call in axes.called("band")]


def test_a_band_for_each_stretch_of_one_owner():
    data = ownership(changing(), decay=0.5)
    plot = plot_ownership(data, backend="none")
    (axes,) = plot.axes
    assert bands(axes) == [
        (0, 0, 19.5, TASKS[0]),
        (0, 19.5, 39, TASKS[1]),
        (1, 9.5, 39, GREY),
        (2, 0, 39, TASKS[2]),
    ]
    assert [call["string"] for call in axes.called("text")] == ["a", "b 100 %", "c 100 %"]
    (legend,) = plot.figure.called("legend")
    assert [entry.label for entry in legend["entries"]] == ["a", "b", "c", "no owner"]
    assert "Blank" in plot.note
    assert "rAU > 80 % on more than 50 %" in plot.note
    assert plot.data is not None
    assert plot.data.owner.values.tolist() == ["b", "", "c"]


def test_other_tasks_are_grey_and_layers_are_chosen():
    plot = plot_ownership(ownership(changing(), decay=0.5), tasks="b", layers=["x", "z"], backend="none")
    colours = [colour for _, _, _, colour in bands(plot.axes[0])]
    assert colours == ["#dddddd", TASKS[1], "#dddddd"]
    (legend,) = plot.figure.called("legend")
    assert [entry.label for entry in legend["entries"]] == ["b", "another task"]


def test_a_run_is_analysed_and_words_are_the_users():
    run = planted_run(steps=10, share=0.98)
    plot = plot_ownership(run, labeller={"price": "the price", "trunk.0": "first"}, backend="none")
    assert plot.data.layer.values.tolist() == ["trunk.0", "trunk.1"]
    ticks = [call for call in plot.axes[0].called("axis") if call["which"] == "y"][-1]
    assert ticks["labels"] == ["first", "trunk.1"]
    assert plot.axes[0].called("text")[0]["string"].startswith("the price")
    assert plot_ownership(run, layers=None, backend="none").data.layer.values.tolist() == ["all shared"]


def test_a_single_step():
    (axes,) = plot_ownership(planted_run(steps=1, share=0.98), layers=None, backend="none").axes
    assert bands(axes) == [(0, -0.5, 0.5, TASKS[0])]


def test_given_axes():
    axes = plot_ownership(changing(), backend="none").axes[0]
    axes.calls.clear()
    plot_ownership(changing(), ax=axes, backend="none")
    assert axes.called("band")
    assert axes.called("legend")


@pytest.mark.parametrize("count", [2, 9])
def test_nothing_overlaps(count):
    rng = np.random.default_rng(0)
    updates = rng.standard_normal((30, count, 40))
    updates[:, :, :20] *= np.where(np.arange(count) == count - 1, 30, 1)[:, None]
    layers = {f"encoder.layers.{i}.self_attention.query_projection": 4 for i in range(10)}
    run = make_run(updates, tasks=[f"a task with a long name {i}" for i in range(count)], layers=layers)
    for plot in (plot_ownership(run), plot_ownership(run, layers=None)):
        for figure in plot.figures:
            assert problems(figure) == []


def test_errors():
    with pytest.raises(NothingRecorded, match="there is one task"):
        plot_ownership(ownership(changing()).isel(task=[0]), backend="none")
    with pytest.raises(NothingRecorded, match="moved"):
        plot_ownership(make_run(np.zeros((3, 2, 4))), backend="none")
    with pytest.raises(BadOption, match='layers="each"'):
        plot_ownership(ownership(changing()), layers=None, backend="none")
    with pytest.raises(BadOption, match=r"one run, not 2 \(p, q\)"):
        plot_ownership(ownership({"p": changing(), "q": changing()}), backend="none")
    with pytest.raises(BadOption, match="no shared layer fits"):
        plot_ownership(changing(), layers="w*", backend="none")
