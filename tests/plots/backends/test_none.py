"""The backend that draws nothing says so when a file is wanted."""

from __future__ import annotations

import pytest
from plots.shares import buckets

from dominance.errors import BadOption
from dominance.plots.rau_buckets import plot_rau_buckets


def test_nothing_can_be_saved_or_shown(tmp_path):
    plot = plot_rau_buckets(buckets(), backend="none")
    with pytest.raises(BadOption, match="backend='matplotlib'"):
        plot.savefig(tmp_path / "plot.pdf")
    with pytest.raises(BadOption, match="backend='matplotlib'"):
        plot._repr_html_()
    assert not list(tmp_path.iterdir())
