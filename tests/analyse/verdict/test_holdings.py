"""Who holds what, since when and how surely, against updates made by hand."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from runs import make_run

from dominance.analyse.summary import overview
from dominance.analyse.verdict.holdings import holdings, minor


def held(run: xr.DataTree) -> xr.Dataset:
    return holdings(run, overview(run), np.arange(run.sizes["step"]))


def test_shares_of_squares_leave_the_first_quarter_out() -> None:
    updates = np.ones((40, 2, 4))
    updates[10:, 0, :2] = 3.0  # layer x: 9 to 1 from step 10 on; y: even
    found = held(make_run(updates, layers={"x": 2, "y": 2}))
    assert found.held.sel(layer="x").values == pytest.approx([0.9, 0.1])
    assert found.held.sel(layer="y").values == pytest.approx([0.5, 0.5])
    assert found.held.sel(layer="all shared").values == pytest.approx([20 / 24, 4 / 24])
    assert found.held_probability.sel(layer="x").values.tolist() == [1.0, 0.0]
    assert found.held_probability.sel(layer="y").values.tolist() == [0.0, 0.0]


def test_since_when() -> None:
    updates = np.ones((400, 2, 4))
    updates[100:, 0] = 100.0
    found = held(make_run(updates))
    since = int(found.since.sel(layer="all shared", task="a"))
    assert 100 <= since <= 104  # counted at 200 of 400 steps
    assert int(found.since.sel(layer="all shared", task="b")) == -1
    assert float(found.owned_probability.sel(layer="all shared", task="a")) == 1.0


def test_one_that_seldom_takes_part_may_lose_by_squares_alone() -> None:
    """Once in 50 steps b moves all by 3: rAU wavers, while a holds all the other steps."""
    rng = np.random.default_rng(0)
    updates = rng.standard_normal((400, 2, 30))
    updates[:, 1] = 0
    updates[::50, 1] = 3 * rng.standard_normal((8, 30))
    found = held(make_run(updates)).sel(layer="all shared")
    assert float(found.owned.sel(task="a")) < 0.8
    assert float(found.held_probability.sel(task="a")) > 0.9
    assert int(found.since.sel(task="a")) >= 0


def test_hardly_heard_is_under_a_fourth_of_the_others_mean() -> None:
    for size, quiet in ((0.4, True), (0.6, False)):  # squares 0.16 and 0.36 of the others'
        updates = np.ones((60, 3, 4))
        updates[:, 2] = size
        found = held(make_run(updates)).unheard_probability.sel(layer="all shared")
        assert found.values == pytest.approx([0.0, 0.0, float(quiet)])


def test_the_order_of_the_tasks_makes_no_difference() -> None:
    updates = np.random.default_rng(1).standard_normal((80, 3, 12)) * np.array([1, 4, 0.3])[:, None]
    one = held(make_run(updates, tasks=["a", "b", "c"]))
    other = held(make_run(updates[:, [2, 0, 1]], tasks=["c", "a", "b"])).sel(task=["a", "b", "c"])
    xr.testing.assert_allclose(one, other)


def test_a_layer_that_nobody_moved_has_no_holder() -> None:
    updates = np.ones((30, 2, 4))
    updates[:, :, 2:] = 0
    found = held(make_run(updates, layers={"live": 2, "dead": 2}))
    assert np.isnan(found.held.sel(layer="dead")).all()
    assert (found.since.sel(layer="dead") == -1).all()


def test_little_layers_are_minor() -> None:
    run = make_run(np.ones((3, 2, 100)), layers={"a": 3, "b": 3, "big": 94})
    assert minor(run, ["a"])
    assert not minor(run, ["a", "b"])
    assert not minor(run, ["big"])
