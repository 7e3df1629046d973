"""TCI by hand, its sign, its interval, and the errors that say what to do."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import stats
from studies import DIRECTIONS, scored, small_study

from dominance.analyse.study.repeats import difference
from dominance.analyse.study.tci import tci, tci_over_epochs
from dominance.errors import BadOption, NothingRecorded

SAME: dict[str, Any] = {"directions": DIRECTIONS, "benchmark": "toy", "architecture": "hps"}


def joint(error: float, auc: float, seed: int | None = None, **attrs: Any) -> Any:
    return scored({"a": {"error": error}, "b": {"auc": auc}}, method="pub", seed=seed, **SAME, **attrs)


def alone(task: str, value: float, seed: int | None = None) -> Any:
    metric = {"a": "error", "b": "auc"}[task]
    return scored({task: {metric: value}}, method="stl", seed=seed, **SAME)


def test_positive_is_conflict_in_both_directions() -> None:
    worse = tci(joint(0.5, 0.6), {"a": alone("a", 0.4), "b": alone("b", 0.75)})
    assert worse.tci.sel(task="a", metric="error") == pytest.approx(0.1)
    assert worse.tci.sel(task="b", metric="auc") == pytest.approx(0.15)
    assert worse.relative.sel(task="a", metric="error") == pytest.approx(0.25)
    assert worse.relative.sel(task="b", metric="auc") == pytest.approx(0.2)
    better = tci(joint(0.3, 0.9), {"a": alone("a", 0.4), "b": alone("b", 0.75)})
    assert better.tci.sel(task="a", metric="error") < 0
    assert better.tci.sel(task="b", metric="auc") < 0
    assert np.isnan(better.tci.sel(task="a", metric="auc"))


def test_a_negative_loss_is_relative_to_its_size() -> None:
    run, single = scored({"a": {"error": -2.0}, "b": {}}, **SAME), scored({"a": {"error": -4.0}}, **SAME)
    found = tci(run, {"a": single, "b": scored({"b": {"error": 1.0}}, **SAME)})
    assert found.relative.sel(task="a", metric="error") == 0.5


def test_one_run_has_no_interval() -> None:
    found = tci(joint(0.5, 0.6, seed=0), [alone("a", 0.4, 0), alone("b", 0.75, 0)])
    assert found.tci.sel(task="a", metric="error") == pytest.approx(0.1)
    assert np.isnan(found.low).all()
    assert np.isnan(found.high).all()


def test_same_seeds_are_pairs() -> None:
    joints = {f"r{seed}": joint(error, 0.7, seed) for seed, error in ((0, 0.5), (1, 0.8), (2, 0.6))}
    singles = [alone("a", v, s) for s, v in ((2, 0.4), (0, 0.2), (1, 0.6))] + [alone("b", 0.7, s) for s in (0, 1, 2)]
    found = tci(joints, singles).sel(task="a", metric="error")
    assert found.tci == pytest.approx((0.3 + 0.2 + 0.2) / 3)
    np.testing.assert_allclose(found.tci_by_run, [0.3, 0.2, 0.2])
    limits = stats.ttest_1samp([0.3, 0.2, 0.2], 0).confidence_interval()
    assert (found.low.item(), found.high.item()) == pytest.approx((limits.low, limits.high))
    assert bool(found.paired)
    assert (found.n_joint, found.n_single) == (3, 3)


def test_other_seeds_are_welchs() -> None:
    errors, others = [0.5, 0.8, 0.6], [0.4, 0.2]
    joints = {f"r{seed}": joint(error, 0.7, seed) for seed, error in enumerate(errors)}
    found = tci(joints, [*(alone("a", v, 10 + i) for i, v in enumerate(others)), alone("b", 0.7)], level=0.9)
    of_a = found.sel(task="a", metric="error")
    theirs = stats.ttest_ind(errors, others, equal_var=False).confidence_interval(0.9)
    assert (of_a.low.item(), of_a.high.item()) == pytest.approx((theirs.low, theirs.high))
    assert not bool(of_a.paired)
    np.testing.assert_allclose(of_a.tci_by_run, np.array(errors) - 0.3)
    assert (of_a.n_joint, of_a.n_single) == (3, 2)
    assert np.isnan(found.low.sel(task="b", metric="auc"))  # one run of b alone


def test_order_does_not_matter() -> None:
    study = small_study()
    backwards = {name: study["joint"][name] for name in reversed(study["joint"])}
    one = tci(study["joint"], study["single"])
    other = tci(backwards, {task: runs[::-1] for task, runs in reversed(study["single"].items())})
    for name in ("tci", "low", "high", "relative"):
        np.testing.assert_array_equal(one[name], other[name])


def test_a_task_that_was_not_trained_alone() -> None:
    with pytest.raises(
        NothingRecorded, match=r"no run of b alone, only of a; .*train toy --method stl --tasks b --seed 7"
    ):
        tci(joint(0.5, 0.6, seed=7), {"a": alone("a", 0.4)})


def test_directions_are_declared() -> None:
    run, single = scored({"a": {"x": 1.0, "y": 1.0}, "b": {"x": 1.0}}), {t: scored({t: {"x": 0.5}}) for t in "ab"}
    with pytest.raises(BadOption, match="higher_is_better"):
        tci(run, single)
    found = tci(run, single, higher_is_better={"x": False})
    assert found.tci.values.ravel().tolist() == [0.5, 0.5]
    single = {t: scored({t: {"x": 0.5, "y": 0.5}}) for t in "ab"}
    assert tci(run, single, higher_is_better={"x": True}).attrs["left_out_no_direction"] == ["y"]
    with pytest.raises(BadOption, match="direction of y"):
        tci(run, single, metric="y", higher_is_better={"x": True})
    with pytest.raises(NothingRecorded, match="no z in both runs; choose from x, y"):
        tci(run, single, metric="z", higher_is_better={"x": True})


def test_repeats_only() -> None:
    other = joint(0.5, 0.6)
    other.attrs["architecture"] = "ple"
    with pytest.raises(BadOption, match="differ in their architecture"):
        tci({"one": joint(0.5, 0.6), "other": other}, small_study()["single"])


def test_intervals_hold_what_they_promise() -> None:
    """300 studies with three seeds a side and a true difference of 0.1: 90 % intervals, paired and not."""
    rng = np.random.default_rng(0)
    inside = {True: 0, False: 0}
    for _ in range(150):
        for paired in inside:
            luck = rng.normal(size=3) * 0.1
            errors = 0.5 + luck + rng.normal(size=3) * 0.05
            others = 0.4 + (luck if paired else rng.normal(size=3) * 0.1) + rng.normal(size=3) * 0.05
            low, high = difference(errors, others, np.arange(3) if paired else None).interval(0.9)
            inside[paired] += low <= 0.1 <= high
    assert 0.84 <= inside[True] / 150 <= 0.96
    assert 0.84 <= inside[False] / 150 <= 0.98


def epochs(values: Any, numbers: Any = None, seed: int | None = None, **attrs: Any) -> Any:
    tables = [{"a": {"error": v}, "b": {"auc": 0.5}} for v in values]
    return scored(tables, split="test", epochs=numbers, seed=seed, directions=DIRECTIONS, **attrs)


def alone_epochs(task: str, values: Any, numbers: Any = None, seed: int | None = None) -> Any:
    metric = {"a": "error", "b": "auc"}[task]
    return scored([{task: {metric: v}} for v in values], split="test", epochs=numbers, seed=seed, directions=DIRECTIONS)


def test_over_epochs() -> None:
    run = epochs([1.0, 0.8, 0.7], [0, 1, 2])
    single = {"a": alone_epochs("a", [0.5, 0.4, 0.3], [1, 2, 3]), "b": alone_epochs("b", [0.6] * 3)}
    found = tci_over_epochs(run, single)
    of_a = found.tci.sel(task="a", metric="error").isel(run=0).dropna("epoch")
    assert of_a.epoch.values.tolist() == [1, 2]
    np.testing.assert_allclose(of_a, [0.3, 0.3])
    np.testing.assert_allclose(found.relative.sel(task="a", metric="error").isel(run=0).dropna("epoch"), [0.6, 0.75])
    np.testing.assert_allclose(found.tci.sel(task="b", metric="auc").isel(run=0).dropna("epoch"), [0.1] * 3)
    assert found.attrs["values_of_one_side_only"] == 2


def test_over_epochs_the_partner_has_the_same_seed() -> None:
    joints = {f"r{s}": epochs([1.0, 1.0], seed=s) for s in (0, 1, 9)}
    single = {
        "a": [alone_epochs("a", [0.1, 0.2], seed=0), alone_epochs("a", [0.5, 0.6], seed=1)],
        "b": alone_epochs("b", [0.5, 0.5], seed=0),
    }
    found = tci_over_epochs(joints, single).tci.sel(task="a", metric="error")
    np.testing.assert_allclose(found, [[0.9, 0.8], [0.5, 0.4], [0.7, 0.6]])  # seed 9 has none: the mean of both


def test_no_epoch_in_common() -> None:
    single = {"a": alone_epochs("a", [0.5], [7]), "b": alone_epochs("b", [0.5], [7])}
    with pytest.raises(NothingRecorded, match="no epoch has a metric with a direction under 'test'"):
        tci_over_epochs(epochs([1.0], [0]), single)
    with pytest.raises(NothingRecorded, match="no epoch has a recall"):
        tci_over_epochs(epochs([1.0], [7]), single, metric="recall")
