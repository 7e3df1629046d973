from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from runs import make_run, planted_run

from dominance import ownership, rau_buckets
from dominance.analyse.ownership import owned, owners, since
from dominance.errors import BadOption, NothingRecorded
from dominance.schema import Parameter


def moved(*owners_by_step: list[int], tasks: int = 3) -> np.ndarray:
    """(step, task, coord) updates in which each coordinate is moved by one task alone, -1: by none."""
    updates = np.zeros((len(owners_by_step), tasks, len(owners_by_step[0])))
    for step, each in enumerate(owners_by_step):
        for coord, task in enumerate(each):
            if task >= 0:
                updates[step, task, coord] = 10.0**step  # outweighs what was before
    return updates


def test_by_hand() -> None:
    run = make_run(
        moved([0, 0, 1, 2, 2, -1], [0, 1, 1, 2, 2, -1], [1, 1, 1, 2, 0, -1], [1, 1, 0, 2, 2, -1]),
        layers={"x": 3, "y": 2, "z": 1},
        steps=[0, 10, 20, 30],
    )
    found = ownership(run, decay=0.5)
    assert found.owner_at.sel(layer="x").values.tolist() == ["a", "b", "b", "b"]
    assert found.owner_at.sel(layer="y").values.tolist() == ["c", "c", "", "c"]
    assert found.owner_at.sel(layer="z").values.tolist() == [""] * 4
    assert found.owner.values.tolist() == ["b", "c", ""]
    assert found.since.values.tolist() == [10, 30, -1]
    assert found.share.dims == ("step", "layer", "task")
    np.testing.assert_allclose(found.share.sel(layer="x", step=10), [1 / 3, 2 / 3, 0])
    np.testing.assert_allclose(found.share.sel(layer="y", step=20), [0.5, 0, 0.5])
    assert np.isnan(found.share.sel(layer="z")).all()
    assert (found.untouched.sel(layer="z") == 1).all()
    assert (found.attrs["owns"], found.attrs["threshold"]) == (0.5, 0.8)


def test_the_share_is_that_of_the_last_bucket() -> None:
    run = planted_run(steps=40, share=0.85)
    found, buckets = ownership(run), rau_buckets(run)
    np.testing.assert_array_equal(found.share, buckets.share.sel(bucket="(80, 100]"))
    xr.testing.assert_equal(found.effective_tasks, buckets.effective_tasks)
    from_buckets = owners(buckets)
    xr.testing.assert_equal(found, from_buckets)
    assert from_buckets.attrs["threshold"] == 0.8


def test_an_owner_from_its_onset_on() -> None:
    found = ownership(planted_run(steps=120, share=0.95, onset=50), decay=0.9)
    assert found.owner.values.tolist() == ["price", "price"]
    assert ((found.since > 50) & (found.since < 90)).all()
    assert (found.owner_at.sel(step=slice(0, 49)) == "").all()
    assert (ownership(planted_run(steps=60, share=0.5)).owner == "").all()


def test_thresholds() -> None:
    updates = np.zeros((1, 2, 10))
    updates[0, 0], updates[0, 1] = 3, 1  # rAU of a: 0.9 everywhere
    updates[0, :, 7:] = 1
    run = make_run(updates)
    assert ownership(run).owner == "a"
    assert ownership(run, owns=0.7).owner == ""  # 0.7 is not above 0.7
    assert ownership(run, owns=0.69).owner == "a"
    assert ownership(run, threshold=0.9).owner == ""
    assert ownership(run, threshold=0.5).owner == "a"


def test_a_sample_must_be_clear() -> None:
    """56 of 100 sampled coordinates that stand for 10,000: 0.56 - 2 * 0.05 is below a half."""
    updates = np.zeros((1, 2, 100), dtype=np.float32)
    updates[0, 0, :56] = updates[0, 1, 56:] = 1

    def owner(count: int, weight: float) -> str:
        each = Parameter("w", "w", (round(count * weight),), ("a", "b"))
        run = make_run(np.tile(updates, count // 100), parameters=[each], coord_weight=np.full(count, weight))
        return str(ownership(run, by="all").owner.item())

    assert owner(100, 1.0) == "a"
    assert owner(100, 100.0) == ""
    assert owner(1500, 100.0) == "a"  # 0.56 - 2 * 0.013


@given(arrays(np.int64, (6, 4), elements=st.integers(-1, 2)))
@settings(deadline=None, max_examples=60)
def test_since_against_the_definition(mine: np.ndarray) -> None:
    steps = np.array([3, 4, 8, 10, 20, 21])
    for layer, found in enumerate(since(mine, steps)):
        held = mine[:, layer].tolist()
        truth = -1 if held[-1] < 0 else min(steps[i] for i in range(6) if set(held[i:]) == {held[-1]})
        assert found == truth


@given(arrays(np.float64, (5, 3), elements=st.floats(0, 0.5)), st.floats(0.5, 0.99), st.floats(0, 0.2))
@settings(deadline=None, max_examples=60)
def test_at_most_one_owner(parts: np.ndarray, owns: float, error: float) -> None:
    share = parts.cumsum(axis=1)[:, ::-1] / np.maximum(parts.sum(axis=1, keepdims=True) * 1.5, 1e-9)
    share = share / np.maximum(share.sum(axis=1, keepdims=True), 1)  # a coordinate has one owner: the sum is at most 1
    for row, found in zip(share, owned(share[:, None], np.full((5, 1, 3), error), owns)[:, 0], strict=True):
        clear = [task for task in range(3) if row[task] - 2 * error > owns]
        assert clear == ([found] if found >= 0 else [])


def test_the_order_of_tasks_changes_nothing() -> None:
    updates = moved([0, 0, 1, 2, 2], [0, 1, 1, 2, 2])
    usual = ownership(make_run(updates))
    other = ownership(make_run(updates[:, [2, 0, 1]], tasks=["c", "a", "b"]))
    xr.testing.assert_allclose(usual, other.sel(task=["a", "b", "c"]))
    assert other.owner.values.tolist() == usual.owner.values.tolist()


def test_groups() -> None:
    run = planted_run(steps=30, share=0.97)
    assert ownership(run, by="all").layer.values.tolist() == ["all shared"]
    assert ownership(run, by={"early": "trunk.0*"}).owner.values.tolist() == ["price"]


def test_several_runs() -> None:
    runs = {"mine": planted_run(steps=30, share=0.97), "ours": planted_run(steps=20, share=0.5)}
    found = ownership(runs)
    assert found.owner.dims == ("run", "layer")
    assert found.owner.values.tolist() == [["price", "price"], ["", ""]]
    assert found.since.values.tolist() == [[0, 0], [-1, -1]]
    assert (found.owner_at.sel(run="ours", step=25) == "").all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"owns": 0.4}, "owns=0.4 allows two owners"),
        ({"owns": 1.0}, "owns=1.0"),
        ({"threshold": 0.3}, "threshold=0.3"),
        ({"threshold": 1}, "threshold=1"),
        ({"by": "module"}, "unknown"),
        ({"points": 0}, "counts nothing"),
    ],
)
def test_bad_options(options: dict[str, Any], message: str) -> None:
    with pytest.raises(BadOption, match=message):
        ownership(planted_run(steps=3), **options)


def test_nothing_recorded() -> None:
    with pytest.raises(NothingRecorded, match="no step was recorded"):
        ownership(make_run(np.zeros((0, 2, 3))))
