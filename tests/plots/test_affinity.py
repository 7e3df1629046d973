"""What is drawn of the affinity of tasks."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import pytest
from plots.overlap import problems
from runs import make_run, planted_run

from dominance.analyse.affinity import affinity
from dominance.errors import BadOption, NothingRecorded
from dominance.plots.affinity import plot_affinity


def run(measured: bool = False):
    rng = np.random.default_rng(0)
    g = rng.standard_normal((4, 3, 20))
    events = [
        {"step": 1, "epoch": 0, "task": i, "split": "affinity", "name": j, "value": 0.1 * n}
        for n, (i, j) in enumerate((i, j) for i in "abc" for j in "abc")
    ]
    return make_run(g, g, metrics=events if measured else [])


def test_a_row_for_who_steps_and_a_column_for_whose_loss():
    plot = plot_affinity(run(measured=True), backend="none")
    (cells,) = plot.axes[0].called("cells")
    np.testing.assert_allclose(cells["values"], 0.1 * np.arange(9).reshape(3, 3))
    assert cells["high"] == pytest.approx(0.7)  # of a pair of tasks, not of one on itself
    assert cells["texts"][2][1] == "0.7"
    assert "over 1 probed steps" in plot.note
    some = plot_affinity(run(measured=True), tasks=["c", "a"], backend="none").axes[0].called("cells")[0]
    np.testing.assert_allclose(some["values"], [[0.8, 0.6], [0.2, 0.0]])


def test_without_a_probe_the_estimate_is_drawn_and_called_so():
    plot = plot_affinity(run(), backend="none")
    expected = affinity(run()).mean_first_order.isel(layer=0)
    np.testing.assert_allclose(plot.axes[0].called("cells")[0]["values"], expected)
    assert plot.note.startswith("First-order estimate")
    assert "over 4 recorded steps" in plot.note


def test_bad_input():
    with pytest.raises(NothingRecorded, match="there is one"):
        plot_affinity(run(), tasks="a", backend="none")
    with pytest.raises(BadOption, match="whole trunk"):
        plot_affinity(run(), layers=cast(Any, "each"), backend="none")
    with pytest.raises(NothingRecorded, match="no affinity is known"):
        plot_affinity(make_run(np.ones((2, 2, 3)), loss=np.full((2, 2), np.nan)), backend="none")


def test_nothing_overlaps():
    names = [f"a_rather_long_task_{i}" for i in range(4)]
    for made in (plot_affinity(planted_run(steps=4, tasks=names)), plot_affinity(run(measured=True))):
        assert problems(made.figure) == []


def test_given_axes():
    axes = plot_affinity(run(), backend="none").axes[0]
    axes.calls.clear()
    plot_affinity(run(), ax=axes, backend="none")
    assert len(axes.called("cells")) == 1
