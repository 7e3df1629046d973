"""The plot of phases: what is drawn of them."""

from __future__ import annotations

import numpy as np
from runs import planted_run

from dominance import phases, plot_phases


def test_a_panel_of_shares_and_one_of_conflict_with_upright_lines_at_changes():
    run = planted_run(steps=300, onset=120)
    found = phases(run)
    share, conflict = plot_phases(run, backend="none").axes
    levels = [line for line in share.called("line") if line["label"] == "level"]
    assert len(levels) == 2
    broken = np.flatnonzero(np.isnan(levels[0]["y"]))
    assert levels[0]["x"][broken].tolist() == [120]
    known = np.isfinite(levels[0]["y"])
    np.testing.assert_array_equal(levels[0]["y"][known], found["level"].sel(task="price")[:, 0])
    (change,) = (line for line in share.called("line") if line["label"] == "change")
    assert change["x"] == [120, 120]
    assert [line["label"] for line in conflict.called("line")] == ["", "level"]


def test_layers_and_tasks_are_chosen_and_axes_given():
    run = planted_run(steps=40, tasks=("a", "b", "c"))
    plot = plot_phases(run, layers="trunk.1", tasks=["a", "c"], backend="none")
    assert len(plot.axes) == 2
    assert len([line for line in plot.axes[1].called("line") if line["label"] == "level"]) == 1
    drawn = plot_phases(phases(run, by="layer"), layers="each", backend="none")
    assert len(drawn.axes) == 4
