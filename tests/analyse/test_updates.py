from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from runs import brute_force_au, make_run, planted_rows, planted_run, write_run

from dominance import au, open_run, open_runs, rau, rau_buckets
from dominance.analyse.rau_buckets import EDGES
from dominance.errors import BadOption, NothingRecorded
from dominance.schema import Parameter

SOME = [float(np.float32(size)) for size in (1e-25, -3e-4, 0.5, 2)]
UPDATE = st.one_of(st.just(0.0), st.sampled_from(SOME), st.floats(-(2**20), 2**20, width=32))


def buckets_by_definition(ratio: np.ndarray, edges: tuple[float, ...] = EDGES) -> np.ndarray:
    """(task, bucket) shares of the touched coordinates; ``ratio`` is (task, coord), NaN where untouched."""
    touched = [i for i in range(ratio.shape[1]) if not np.isnan(ratio[0, i])]
    shares = np.full((len(ratio), len(edges) - 1), np.nan)
    for task in range(len(ratio)):
        for b, (lo, hi) in enumerate(pairwise(edges)):
            inside = [i for i in touched if lo < ratio[task, i] <= hi or (b == 0 and ratio[task, i] == 0)]
            if touched:
                shares[task, b] = len(inside) / len(touched)
    return shares


def test_au_by_hand() -> None:
    run = make_run([[[3.0], [0.0]], [[1.0], [2.0]]])
    found = au(run, decay=0.75, at=[0, 1])
    # 0.25 * 9, 0; then 0.75 * 2.25 + 0.25 * 1, 0.25 * 4
    np.testing.assert_allclose(found.au[:, :, 0], [[2.25, 0], [1.9375, 1.0]])
    np.testing.assert_allclose(rau(run, decay=0.75).rau[:, 0], [1.9375 / 2.9375, 1 / 2.9375])
    assert au(run).step == 1


@given(st.integers(2, 5).flatmap(lambda k: arrays(np.float32, (7, k, 3), elements=UPDATE)), st.floats(0.05, 0.999))
@settings(deadline=None, max_examples=40)
def test_against_the_definition(updates: np.ndarray, decay: float) -> None:
    run = make_run(updates)
    truth = brute_force_au(updates, decay)
    at = list(range(7))
    np.testing.assert_allclose(au(run, decay=decay, at=at).au, truth, rtol=1e-12, atol=0)
    total = truth.sum(axis=1, keepdims=True)
    with np.errstate(invalid="ignore"):
        ratio = truth / total
    np.testing.assert_allclose(rau(run, decay=decay, at=at).rau, ratio, rtol=1e-12, atol=0)
    near_an_edge = np.abs(ratio[..., None] - np.array(EDGES[1:-1])).min(initial=1) < 1e-9
    if not near_an_edge:
        found = rau_buckets(run, decay=decay, by="all")
        for i in range(7):
            np.testing.assert_allclose(found.share[i, 0], buckets_by_definition(ratio[i]))
            assert found.untouched[i, 0] == pytest.approx(np.isnan(ratio[i, 0]).mean())


def test_what_is_recorded_does_not_change_what_a_late_step_says() -> None:
    """Task a moves everything in the first 600 steps, task b in the last 400; recorded are all, or bursts of 20."""
    updates = np.random.default_rng(0).standard_normal((1000, 2, 40)).astype(np.float32)
    updates[:600, 1] *= 0.1
    updates[600:, 0] *= 0.1
    whole = make_run(updates)
    bursts = whole.isel(step=[step for step in range(1000) if step % 100 < 20])
    for step in (219, 419, 819):
        every, some = (rau(run, at=[step]).rau[0].mean("coord") for run in (whole, bursts))
        np.testing.assert_allclose(some, every, atol=0.1)
    sizes = [float(au(run, at=[819]).au.sel(task="b").mean()) for run in (whole, bursts)]
    assert sizes[1] == pytest.approx(sizes[0], rel=0.1)


@pytest.mark.parametrize("k", [2, 3, 5])
def test_alike_tasks_share_alike(k: int) -> None:
    one = np.random.default_rng(k).standard_normal((30, 1, 50)).astype(np.float32)
    found = rau_buckets(make_run(np.repeat(one, k, axis=1)), by="all").isel(step=-1, layer=0)
    assert float(found.effective_tasks) == pytest.approx(k, rel=1e-6)
    bucket = {2: "(40, 60]", 3: "(20, 40]", 5: "[0, 20]"}[k]  # 1/5 is an edge, and belongs below
    np.testing.assert_array_equal(found.share.sel(bucket=bucket), np.ones(k))


def test_four_to_one_lies_on_an_edge_at_every_step() -> None:
    one = np.random.default_rng(0).standard_normal((200, 1, 40)).astype(np.float32)
    found = rau_buckets(make_run(np.concatenate([2 * one, one], axis=1)), by="all")
    assert (found.share.sel(task="a", bucket="(60, 80]") == 1).all()
    assert (found.share.sel(task="b", bucket="[0, 20]") == 1).all()


def test_untouched_coordinates_count_apart() -> None:
    updates = np.zeros((4, 2, 10), dtype=np.float32)
    updates[2:, 0, :6] = 1  # nobody moves anything before the third step; four coordinates are never moved
    found = rau_buckets(make_run(updates), by="all").isel(layer=0)
    np.testing.assert_allclose(found.untouched, [1, 1, 0.4, 0.4])
    assert np.isnan(found.share[:2]).all()
    assert np.isnan(found.effective_tasks[:2]).all()
    np.testing.assert_array_equal(found.share[3].sel(task="a"), [0, 0, 0, 0, 1])
    assert (found.effective_tasks[2:] == 1).all()
    assert np.isnan(rau(make_run(updates)).rau[:, 6:]).all()
    np.testing.assert_array_equal(rau_buckets(make_run(np.zeros((3, 2, 4))), by="all").untouched, np.ones((3, 1)))


def test_a_coordinate_moved_once_long_ago_keeps_its_ratio() -> None:
    updates = np.zeros((600, 2, 1), dtype=np.float32)
    updates[0, :, 0] = [3e-20, 1e-20]
    found = rau_buckets(make_run(updates), by="all", decay=0.01)  # 0.01^600 is 1e-1200
    assert (found.share.sel(task="a", bucket="(80, 100]") == 1).all()
    assert float(rau(make_run(updates), decay=0.01).rau[0, 0]) == pytest.approx(0.9)


def test_effective_tasks_is_the_mean_over_coordinates() -> None:
    # half of the coordinates belong to one task, half to the other: each is dominated, though the layer is shared
    updates = np.zeros((1, 2, 10), dtype=np.float32)
    updates[0, 0, :5] = updates[0, 1, 5:] = 1
    assert rau_buckets(make_run(updates), by="all").effective_tasks == 1


# Steps that are left out


def test_skipped_steps_leave_no_trace() -> None:
    updates = np.random.default_rng(0).standard_normal((6, 2, 5)).astype(np.float32)
    wild = updates.copy()
    wild[[1, 4]] = 1e6
    found = rau(make_run(wild, skipped=[0, 1, 0, 0, 1, 0]))
    xr.testing.assert_allclose(found.rau, rau(make_run(updates[[0, 2, 3, 5]], steps=[0, 2, 3, 5])).rau)
    assert (found.attrs["steps_used"], found.attrs["left_out_skipped"]) == (4, 2)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("statistics_know", [True, False])
def test_a_step_that_is_not_finite_is_left_out_and_counted(bad: float, statistics_know: bool) -> None:
    updates = np.random.default_rng(0).standard_normal((70, 2, 5)).astype(np.float32)
    wild = updates.copy()
    wild[3, 1, 2] = wild[65, 0, 0] = bad
    run = make_run(wild, gradients=updates)
    if not statistics_know:
        run["layer/update_sq"][:] = 1.0
    kept = np.delete(np.arange(70), [3, 65])
    found = rau_buckets(run, by="all")
    truth = rau_buckets(make_run(updates[kept], steps=kept), by="all")
    assert found.attrs["left_out_non_finite"] == 2
    xr.testing.assert_allclose(found, truth)


def test_a_non_finite_task_specific_parameter_does_no_harm() -> None:
    updates = np.ones((5, 2, 6), dtype=np.float32)
    updates[2, 0, 2:4] = np.nan
    run = make_run(updates, layers={"a": 2, "head": 2, "b": 2}, private={"head": "a"})
    assert rau(run).attrs["steps_used"] == 5
    assert (rau(run).rau == 0.5).all()


def test_a_task_that_took_no_part_has_update_zero() -> None:
    updates = np.ones((3, 2, 2), dtype=np.float32)
    updates[1:, 1] = np.nan
    weight = np.array([[1, 1], [1, np.nan], [1, np.nan]])
    found = au(make_run(updates, weight=weight), decay=0.5)
    np.testing.assert_allclose(found.au, [[0.875, 0.875], [0.125, 0.125]])
    assert found.attrs["steps_used"] == 3


def test_momentum_of_an_absent_task_still_counts() -> None:
    found = au(make_run(np.ones((2, 2, 1)), weight=[[1, 1], [1, np.nan]]), decay=0.5)
    np.testing.assert_allclose(found.au, [[0.75], [0.75]])


def test_steps_with_much_unattributed_momentum_are_left_out() -> None:
    updates = np.ones((4, 2, 8), dtype=np.float32)
    unattributed = np.full((4, 8), 1.0) * np.array([[2.0], [1.0], [0.45], [0.0]])
    run = make_run(updates, unattributed=unattributed)
    # share: u² / (2 + u²) = 0.67, 0.33, 0.09, 0
    assert [rau(run, max_unattributed=bound).attrs["steps_used"] for bound in (0.0, 0.1, 0.4, 1.0)] == [1, 2, 3, 4]
    assert rau(run).attrs["left_out_unattributed"] == 2
    np.testing.assert_array_equal(rau_buckets(run).step, [2, 3])


def test_a_resumed_run_counts_the_later_rows() -> None:
    updates = np.random.default_rng(0).standard_normal((7, 2, 4)).astype(np.float32)
    found = rau(make_run(updates, steps=[0, 1, 2, 3, 2, 3, 4]))
    xr.testing.assert_allclose(found.rau, rau(make_run(updates[[0, 1, 4, 5, 6]])).rau)
    assert found.attrs["left_out_superseded"] == 2


# Groups


def test_groups() -> None:
    parameters = [
        Parameter("enc.weight", "enc", (2, 2), ("a", "b")),
        Parameter("enc.bias", "enc", (2,), ("a", "b")),
        Parameter("head.weight", "head", (3,), ("a",)),
        Parameter("dec.weight", "dec", (3,), ("a", "b")),
    ]
    updates = np.zeros((1, 2, 12), dtype=np.float32)
    updates[0, 0, :4] = updates[0, 1, 4:6] = updates[0, 1, 9:] = 1
    run = make_run(updates, parameters=parameters)

    def owned(**options: Any) -> dict[str, float]:
        found = rau_buckets(run, **options)
        return found.share.sel(step=0, task="a", bucket="(80, 100]").to_series().round(6).to_dict()

    assert owned() == {"enc": pytest.approx(4 / 6, abs=1e-6), "dec": 0}
    assert owned(by="parameter") == {"enc.weight": 1, "enc.bias": 0, "dec.weight": 0}
    assert owned(by="all") == {"all shared": pytest.approx(4 / 9, abs=1e-6)}
    assert owned(by=lambda name: name.split(".")[1]) == {"weight": pytest.approx(4 / 7, abs=1e-6), "bias": 0}
    assert owned(by={"enc.bias": "x", "dec.weight": "x"}) == {"x": 0}
    assert rau(run).coord_layer.values.tolist() == ["enc"] * 6 + ["dec"] * 3


def test_sampled_coordinates_stand_for_many() -> None:
    parameters = [Parameter("x", "x", (1000,), ("a", "b")), Parameter("y", "y", (10,), ("a", "b"))]
    updates = np.zeros((1, 2, 20), dtype=np.float32)
    updates[0, 0, :10] = updates[0, 1, 10:] = 1  # all of x is a's, all of y is b's
    run = make_run(updates, parameters=parameters, coord_weight=np.repeat([100.0, 1.0], 10))
    found = rau_buckets(run, by="all").isel(step=0, layer=0)
    assert float(found.share.sel(task="a", bucket="(80, 100]")) == pytest.approx(1000 / 1010)
    assert found.share_se.max() > 0
    by_layer = rau_buckets(run).share_se.isel(step=0).sel(layer="y")
    assert (by_layer == 0).all()


def test_share_se_is_the_spread_over_samples() -> None:
    full = np.random.default_rng(0).standard_normal((8, 2, 1200)).astype(np.float32)
    full[:, 0, :600] *= 2
    truth = rau_buckets(make_run(full), by="all", points=1).share[0, 0]
    parameters = [Parameter("x", "x", (900,), ("a", "b")), Parameter("y", "x", (300,), ("a", "b"))]
    estimates, errors = [], []
    rng = np.random.default_rng(1)
    for _ in range(120):
        kept = np.r_[np.sort(rng.choice(900, 90, replace=False)), 900 + np.sort(rng.choice(300, 100, replace=False))]
        run = make_run(full[..., kept], parameters=parameters, coord_weight=np.repeat([10.0, 3.0], [90, 100]))
        found = rau_buckets(run, points=1)
        estimates.append(found.share[0, 0].values)
        errors.append(found.share_se[0, 0].values)
    spread = np.std(estimates, axis=0)
    likely = truth.values > 0.05
    assert likely.sum() >= 6
    np.testing.assert_allclose(np.sqrt(np.mean(np.square(errors), axis=0))[likely], spread[likely], rtol=0.2)
    assert (np.abs(np.mean(estimates, axis=0) - truth) < 4 * spread / 120**0.5 + 1e-3).all()


def test_points() -> None:
    run = planted_run(steps=50)
    np.testing.assert_array_equal(rau_buckets(run, points=1).step, [49])
    np.testing.assert_array_equal(rau_buckets(run, points=2).step, [0, 49])
    np.testing.assert_array_equal(rau_buckets(run, points=500).step, np.arange(50))
    few = rau_buckets(run, points=5)
    xr.testing.assert_identical(few, rau_buckets(run).sel(step=few.step))


def test_planted_share_is_found() -> None:
    found = rau_buckets(planted_run(steps=300, share=0.9), by="all").isel(step=-1, layer=0)
    assert found.share.sel(task="price", bucket="(80, 100]") > 0.97
    assert found.share.sel(task="rating", bucket="[0, 20]") > 0.97


# Two attributions, several runs


def test_solo_updates() -> None:
    _, rows = planted_rows(steps=4)
    solo = make_run(rows["update/update"], solo=2 * rows["update/update"])
    np.testing.assert_allclose(au(solo, attribution="solo").au, 4 * au(solo).au)


def test_both_attributions_side_by_side() -> None:
    updates = np.random.default_rng(0).standard_normal((9, 2, 30)).astype(np.float32)
    run = make_run(updates, solo=updates[:, ::-1] * 2)
    for analyse in (au, rau, lambda run, **options: rau(run, at=[2, 8], **options), rau_buckets):
        found = analyse(run, attribution="both")
        assert found.attrs["attribution"] == "both"
        for part in ("additive", "solo"):
            alone = analyse(run, attribution=part)
            for name, values in alone.items():
                assert found[name].dims == ("attribution", *values.dims)
                xr.testing.assert_identical(found[name].sel(attribution=part, drop=True), values)


def test_both_are_compared_over_the_same_steps() -> None:
    updates = np.random.default_rng(0).standard_normal((6, 2, 10)).astype(np.float32)
    solo = 2 * updates
    unattributed = np.zeros((6, 10), dtype=np.float32)
    unattributed[1] = 100
    run = make_run(updates, solo=solo, unattributed=unattributed)
    run["layer/solo_sq"][4] = np.nan  # at coordinates that were not kept
    found = rau(run, attribution="both", at=5)
    counts = {key: found.attrs[f"left_out_{key}"] for key in ("unattributed", "non_finite")}
    assert (counts, found.attrs["steps_used"]) == ({"unattributed": 1, "non_finite": 1}, 4)
    kept = [0, 2, 3, 5]
    for part, values in (("additive", updates), ("solo", solo)):
        truth = rau(make_run(values[kept], steps=kept)).rau
        np.testing.assert_array_equal(found.rau.sel(attribution=part)[0], truth)


def test_several_runs(tmp_path: Any) -> None:
    paths = [write_run(tmp_path / name, *planted_rows(seed, steps=20)) for seed, name in enumerate("xy")]
    alone = {path.name: open_run(path) for path in paths}
    for runs in (alone, list(alone.values()), open_runs(paths)):
        found, buckets = rau(runs), rau_buckets(runs, by="all")
        assert found.rau.dims == ("run", "task", "coord")
        for name, run in alone.items():
            xr.testing.assert_identical(found.rau.sel(run=name, drop=True), rau(run).rau)
            xr.testing.assert_identical(buckets.share.sel(run=name, drop=True), rau_buckets(run, by="all").share)


def test_several_runs_of_other_coordinates() -> None:
    parameters = [Parameter("x", "x", (40,), ("a", "b"))]
    updates = np.ones((2, 2, 4))
    one = make_run(updates, parameters=parameters, coord_weight=[10, 10, 10, 10])
    other = one.copy()
    other.coords["index"] = ("coord", [0, 1, 2, 7])
    with pytest.raises(BadOption, match="the runs keep different coordinates"):
        rau({"one": one, "other": other})
    with pytest.raises(BadOption, match="the runs hold different numbers of coord"):
        au({"one": one, "other": make_run(updates[..., :3])})
    assert rau_buckets({"one": one, "other": other}).sizes["run"] == 2


# What cannot be done


def test_without_solo_updates() -> None:
    for attribution in ("solo", "both"):
        with pytest.raises(NothingRecorded, match=f"recorded with attribution additive, not {attribution}") as caught:
            rau(planted_run(steps=4), attribution=attribution)
        assert f"--attribution {attribution}" in caught.value.fix


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"edges": (0, 0.5)}, "no buckets"),
        ({"edges": (0, 0.5, 0.5, 1)}, "no buckets"),
        ({"by": "module"}, "unknown"),
        ({"by": {"nonsense": "x"}}, "no shared parameter"),
        ({"by": lambda name: None}, "leaves no parameter"),
        ({"decay": 1.0}, "no decay"),
        ({"decay": 0.0}, "no decay"),
        ({"attribution": "fair"}, "unknown"),
        ({"points": 0}, "counts nothing"),
        ({"max_unattributed": 2}, "no share"),
    ],
)
def test_bad_options(options: dict[str, Any], message: str) -> None:
    with pytest.raises(BadOption, match=message):
        rau_buckets(planted_run(steps=3), **options)


def test_a_step_that_was_not_recorded() -> None:
    with pytest.raises(BadOption, match="step 25 was not recorded; the nearest recorded one is 20"):
        au(make_run(np.ones((3, 2, 2)), steps=[10, 20, 40]), at=25)


def test_nothing_recorded() -> None:
    with pytest.raises(NothingRecorded, match="no step was recorded"):
        rau(make_run(np.zeros((0, 2, 3))))
    with pytest.raises(NothingRecorded, match="reached by two tasks"):
        rau(make_run(np.ones((2, 2, 3)), private={"trunk": "a"}))
    with pytest.raises(
        NothingRecorded, match=r"none of 2 recorded steps can be used \(2 non-finite\); the training diverged"
    ):
        rau_buckets(make_run(np.full((2, 2, 3), np.inf)))
    with pytest.raises(NothingRecorded, match=r"2 unattributed.*burst"):
        rau_buckets(make_run(np.ones((2, 2, 3)), unattributed=np.full((2, 3), 9)))
