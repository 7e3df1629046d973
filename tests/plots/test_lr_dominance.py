"""What is drawn for the learning rates of the tasks."""

from __future__ import annotations

import numpy as np
import pytest
from plots.overlap import problems
from runs import make_run

from dominance.analyse.learning_rate import lr_dominance
from dominance.errors import BadOption, NothingRecorded
from dominance.plots.lr_dominance import plot_lr_dominance
from dominance.plots.palette import TASKS


def run_of(tasks="ab", layers=("x", "y"), steps=40, optimizer="Adam", steps_are=None):
    gradients = np.random.default_rng(0).standard_normal((steps, len(tasks), 8 * len(layers)))
    gradients[:, 1] *= 50
    run = make_run(-1e-3 * gradients, gradients, tasks=list(tasks), layers=dict.fromkeys(layers, 8), steps=steps_are)
    run.attrs["optimizers"] = [{"class": optimizer, "groups": [{}], "note": ""}]
    return run


def test_a_panel_for_each_layer_with_a_line_for_each_task_and_the_whole():
    data = lr_dominance(run_of())
    plot = plot_lr_dominance(data, backend="none")
    assert len(plot.axes) == 2
    for axes, layer in zip(plot.axes, "xy", strict=True):
        whole, one, other = axes.called("line")
        np.testing.assert_array_equal(whole["y"], data.whole.sel(layer=layer))
        for line, task, colour in ((one, "a", TASKS[0]), (other, "b", TASKS[1])):
            np.testing.assert_array_equal(line["y"], data.learning_rate.sel(layer=layer, task=task))
            assert line["colour"] == colour
        assert one["dashes"] != other["dashes"]
        assert whole["width"] > 2 * one["width"]
        axis = next(call for call in axes.called("axis") if call["which"] == "y")
        assert axis["log"]
        assert axis["limits"][0] < np.nanmin(data.whole.sel(layer=layer))
    last = data.closeness.isel(step=-1).sel(layer="x").values
    words = [call["string"] for call in plot.figure.called("text")]
    assert f"a {last[0]:.2f}  b {last[1]:.2f}" in words
    assert "Median over 10 randomly chosen parameters" in plot.note
    assert "Not exact" not in plot.note


def test_of_many_tasks_the_nearest_is_named():
    plot = plot_lr_dominance(run_of("abc"), backend="none")
    assert any(call["string"].startswith("nearest b 1.00") for call in plot.figure.called("text"))


def test_tasks_and_layers_are_chosen():
    plot = plot_lr_dominance(run_of(), tasks="b", layers="y", labeller=str.upper, backend="none")
    (axes,) = plot.axes
    assert [line["colour"] for line in axes.called("line")] == ["#bcbcbc", TASKS[1]]
    assert plot.data.layer.values.tolist() == ["y"]
    assert plot.figure.called("legend")[0]["entries"][0].label == "B alone"


def test_what_must_be_said():
    for optimizer, label in (("AdaTaskAdam", "all tasks as one"), ("Adam", "all tasks: the learning rate they have")):
        plot = plot_lr_dominance(run_of(optimizer=optimizer), backend="none")
        own = optimizer == "AdaTaskAdam"
        assert ("AdaTaskAdam: each task steps at its own learning rate." in plot.note) == own
        assert plot.figures[0].called("legend")[0]["entries"][-1].label == label
    said = plot_lr_dominance(run_of(steps=3, steps_are=[0, 10, 20]), backend="none").note
    assert "Not exact: averages count the 3 recorded of the first 21 steps." in said


def test_rates_of_averages_that_are_not_filled_run_off_the_panel():
    """Without a bias correction, RMSprop's first rates are ten times those of later."""
    run = run_of(steps=200, optimizer="RMSprop")
    run["learning_rate/learning_rate"][:3] *= 100
    plot = plot_lr_dominance(run, backend="none")
    assert "Rates before step 10, while averages fill, run off the panel." in plot.note
    for axes in plot.axes:
        whole = axes.called("line")[0]["y"]
        axis = next(call for call in axes.called("axis") if call["which"] == "y")
        assert axis["limits"][1] < whole[0]
        assert axis["limits"][1] > np.nanmax(whole[10:])
    assert "run off" not in plot_lr_dominance(run_of(steps=200), backend="none").note


def test_gaps_and_single_values():
    run = run_of(steps=3)
    run["learning_rate/learning_rate"][1] = np.nan
    (axes, _) = plot_lr_dominance(run, backend="none").axes
    assert any(call["marker"] for call in axes.called("line"))


def test_given_axes():
    axes = plot_lr_dominance(run_of(), backend="none").axes
    for each in axes:
        each.calls.clear()
    plot_lr_dominance(run_of(), ax=axes, backend="none")
    assert [each.called("title")[0]["text"] for each in axes] == ["x", "y"]
    assert axes[-1].called("legend")
    with pytest.raises(BadOption, match="2 panels do not go into 1"):
        plot_lr_dominance(run_of(), ax=axes[:1], backend="none")


@pytest.mark.parametrize("count", [2, 5])
def test_nothing_overlaps(count):
    tasks = [f"a task with a long name {i}" for i in range(count)]
    run = run_of(tasks, [f"encoder.layers.{i}.self_attention.query" for i in range(9)])
    for plot in (plot_lr_dominance(run), plot_lr_dominance(run, layers="*.3.*")):
        for figure in plot.figures:
            assert problems(figure) == []


def test_errors():
    with pytest.raises(NothingRecorded, match="SGD has one learning rate"):
        plot_lr_dominance(run_of(optimizer="SGD"), backend="none")
    zeros = make_run(np.zeros((2, 2, 3)))
    zeros.attrs["optimizers"] = [{"class": "Adam", "groups": [{}], "note": ""}]
    with pytest.raises(NothingRecorded, match="no shared layer had a gradient"):
        plot_lr_dominance(zeros, backend="none")
    with pytest.raises(BadOption, match="one run, not 2"):
        plot_lr_dominance(lr_dominance({"p": run_of(), "q": run_of()}), backend="none")
