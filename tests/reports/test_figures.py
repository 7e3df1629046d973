"""The figures of a report by name."""

from __future__ import annotations

import pytest
import xarray as xr
from runs import planted_run

from dominance.errors import BadOption
from dominance.reports.figures import FIGURES, select


def test_a_glob_chooses_in_the_order_of_the_report():
    assert [spec.name for spec in select("rau*")] == ["rau_buckets", "rau_buckets_layers"]
    assert [spec.name for spec in select("*")] == list(FIGURES)
    assert [spec.name for spec in select("losses")] == ["losses"]


def test_no_match_is_answered_with_the_names():
    with pytest.raises(BadOption) as caught:
        select("tci*")
    assert str(caught.value).startswith("no figure is called 'tci*'; choose from overview, verdict, rau_buckets,")


def test_every_figure_says_what_it_shows():
    for name, spec in FIGURES.items():
        assert name == spec.name
        assert spec.title
        assert spec.shows.endswith(".")


def test_figures_of_a_probe_need_the_probe_or_their_name():
    run = planted_run(steps=2)
    assert "noise_importance" not in [spec.name for spec in select("*", run)]
    assert [spec.name for spec in select("noise_importance", run)] == ["noise_importance"]
    run["probe/noise"] = xr.DataTree()
    assert "noise_importance" in [spec.name for spec in select("*", run)]
