"""What AU, rAU and buckets may not depend on: how a run is cut up, where it lies, the order of what is in it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import xarray as xr
from runs import make_rows, make_run, planted_run, write_run

from dominance import open_run, rau, rau_buckets
from dominance.analyse import averages
from dominance.analyse.rau_buckets import bucket_tables
from dominance.analyse.tiling import TilePlan


@pytest.mark.parametrize(
    "plan",
    [
        TilePlan(steps=1, coords=1000, threads=1),
        TilePlan(steps=7, coords=13, threads=2),
        TilePlan(memory=50_000, threads=3),
    ],
)
def test_the_plan_changes_nothing(plan: TilePlan) -> None:
    run = planted_run(steps=40, share=0.7)
    for usual, other in zip(
        bucket_tables(run, ["layer", "all"]), bucket_tables(run, ["layer", "all"], plan=plan), strict=True
    ):
        xr.testing.assert_identical(usual, other)


def test_nor_do_tiles_of_one_coordinate(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of eight and more numbers in a row numpy adds up the halves first."""
    run = make_run(np.random.default_rng(0).standard_normal((6, 9, 40)).astype(np.float32), layers={"a": 7, "b": 33})
    usual, ratios = rau_buckets(run), rau(run)
    monkeypatch.setattr(averages, "PIECE", 1)
    xr.testing.assert_identical(usual, rau_buckets(run))
    xr.testing.assert_identical(ratios, rau(run))


def test_the_size_of_a_piece_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    run = planted_run(steps=20, share=0.7)
    usual, ratios = rau_buckets(run), rau(run, at=[3, 19])
    monkeypatch.setattr(averages, "PIECE", 2 * 17)
    xr.testing.assert_identical(usual, rau_buckets(run))
    xr.testing.assert_identical(ratios, rau(run, at=[3, 19]))


def test_the_order_of_tasks_changes_nothing() -> None:
    updates = np.random.default_rng(0).standard_normal((20, 3, 60)).astype(np.float32) * np.array([[1], [2], [3]])
    order = [2, 0, 1]
    usual = rau_buckets(make_run(updates, tasks=["a", "b", "c"]))
    other = rau_buckets(make_run(updates[:, order], tasks=["c", "a", "b"]))
    xr.testing.assert_allclose(usual, other.sel(task=["a", "b", "c"]))


def test_the_order_of_coordinates_changes_nothing() -> None:
    run = planted_run(steps=20, share=0.6)
    order = np.random.default_rng(0).permutation(run.sizes["coord"])
    other = run.map_over_datasets(lambda group: group.isel(coord=order, missing_dims="ignore"))
    xr.testing.assert_allclose(rau_buckets(run), rau_buckets(other))
    back = np.argsort(order[run["shared"].values[order]])
    np.testing.assert_array_equal(rau(run).rau, rau(other).rau.isel(coord=back))


@pytest.mark.parametrize("coords", [60_000, 130_000])
def test_from_the_store(tmp_path: Any, coords: int) -> None:
    """In memory and from disk, over chunks of steps and coordinates with ragged ends."""
    rng = np.random.default_rng(0)
    updates = rng.standard_normal((9, 2, coords)).astype(np.float32)
    layout, rows = make_rows(updates, layers={"a": 1000, "head": 500, "b": coords - 1500}, private={"head": "a"})
    run = open_run(write_run(tmp_path / "run", layout, rows))
    memory = make_run(updates, layers={"a": 1000, "head": 500, "b": coords - 1500}, private={"head": "a"})
    np.testing.assert_array_equal(rau(run).rau, rau(memory).rau)
    xr.testing.assert_identical(rau_buckets(run), rau_buckets(memory))
    part = run.isel(step=slice(3, 8))  # a selection is read through xarray
    np.testing.assert_array_equal(rau(part).rau, rau(memory.isel(step=slice(3, 8))).rau)
