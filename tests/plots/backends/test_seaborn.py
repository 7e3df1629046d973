"""The look of seaborn: its grid and ticks, our places, fonts and colours; and nothing of it stays."""

from __future__ import annotations

import matplotlib
import pytest
from runs import planted_run

from dominance.plots.gcd import plot_gcd
from dominance.plots.losses import plot_losses


@pytest.mark.parametrize("plot", [plot_gcd, plot_losses])
def test_seaborn_has_a_grid_and_no_ticks_where_matplotlib_has_ticks_and_no_grid(plot):
    run = planted_run()
    plain, other = (plot(run, backend=backend) for backend in ("matplotlib", "seaborn"))
    for drawn, grid in ((plain, False), (other, True)):
        axis = drawn.axes[0].xaxis
        axis.get_figure().canvas.draw()
        assert all(tick.gridline.get_visible() is grid for tick in axis.get_major_ticks())
        assert all(tick.tick1line.get_visible() is not grid for tick in axis.get_major_ticks())
    assert [axes.get_position().bounds for axes in plain.axes] == [axes.get_position().bounds for axes in other.axes]
    words = [[text.get_text() for text in drawn.figure.texts] for drawn in (plain, other)]
    assert words[0] == words[1]


def test_the_users_settings_are_as_before():
    before = dict(matplotlib.rcParams)
    plot_gcd(planted_run(), backend="seaborn")
    assert dict(matplotlib.rcParams) == before
